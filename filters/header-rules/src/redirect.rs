//! `redirect`: the address a client is sent to.

use crate::config::{DerivePort, RedirectConfig};
use crate::rewrite::{compile_path, replace_matched};
use filter_api::{LocalReply, check_authority};
use http_match::{HttpMatchRequest, MatchedUri, Request, StringMatch};
use plugin_config::{At, Quoted};

/// A compiled redirect.
#[derive(Debug)]
pub(crate) struct Redirect {
    status: u16,
    https: Option<bool>,
    authority: Option<Box<str>>,
    port: Port,
    path: Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Kept,
    Given(u16),
    OfListener,
}

#[derive(Debug)]
enum Path {
    Kept,
    /// The whole path; and the query, if this has one.
    Whole(Box<[u8]>),
    /// What the match spoke of.
    Matched(Box<[u8]>),
}

impl Redirect {
    /// Compiles; `matches` are the conditions it stands under. Faults are recorded in `at`.
    pub(crate) fn compile(written: &RedirectConfig, matches: &[HttpMatchRequest], at: &mut At) -> Option<Self> {
        let path = compile_target(written, matches, at);
        let authority = at.field("authority", |at| match &written.authority {
            Some(authority) => check_authority(authority, at).map(|()| Some(authority.as_str().into())),
            None => Some(None),
        });
        let https = at.field("scheme", |at| match written.scheme.as_deref() {
            None => Some(None),
            Some("http") => Some(Some(false)),
            Some("https") => Some(Some(true)),
            Some(other) => at.fault(Quoted(other), "expected http or https"),
        });
        let port = compile_port(written, at);
        let status = at.field("redirectCode", |at| match written.redirect_code.unwrap_or(301) {
            status @ (301 | 302 | 303 | 307 | 308) => Some(status),
            other => at.fault(other, "expected 301, 302, 303, 307 or 308"),
        });
        let redirect = Self { status: status?, https: https?, authority: authority?, port: port?, path: path? };
        if redirect.changes_nothing() {
            return at.fault("redirect", "leads back to where it came from: expected uri, authority, scheme or port");
        }
        Some(redirect)
    }

    fn changes_nothing(&self) -> bool {
        self.https.is_none() && self.authority.is_none() && self.port == Port::Kept && matches!(self.path, Path::Kept)
    }

    /// Whether [`Redirect::reply`] needs [`Request::port`].
    pub(crate) fn needs_port(&self) -> bool {
        self.port == Port::OfListener
    }

    /// The reply to a request.
    pub(crate) fn reply(&self, request: &Request<'_>, matched: MatchedUri) -> LocalReply {
        LocalReply::new(self.status, "direct_response").header("location", self.location(request, matched))
    }

    fn location(&self, request: &Request<'_>, matched: MatchedUri) -> Vec<u8> {
        let was_https = request.scheme == b"https";
        let https = self.https.unwrap_or(was_https);
        let port = match self.port {
            Port::Kept => None,
            Port::Given(port) => Some(port),
            Port::OfListener => request.port,
        };
        // As Istio compares: the scheme's own port is as good as none, and none leaves what the authority says.
        let port = port.filter(|port| *port != default_port(https));
        let mut location: Vec<u8> = if https { b"https://".to_vec() } else { b"http://".to_vec() };
        match &self.authority {
            Some(authority) => location.extend_from_slice(authority.as_bytes()),
            None => {
                let drop_port = port.is_some();
                let unneeded = (https != was_https).then(|| default_port(was_https));
                location.extend_from_slice(authority_for(request.authority, drop_port, unneeded));
            }
        }
        if let Some(port) = port {
            location.extend_from_slice(format!(":{port}").as_bytes());
        }
        location.extend_from_slice(&self.target(request, matched));
        location
    }

    fn target(&self, request: &Request<'_>, matched: MatchedUri) -> Vec<u8> {
        let query = request.query.map_or_else(Vec::new, |query| [b"?", query].concat());
        match &self.path {
            Path::Kept => [request.path, &query].concat(),
            Path::Whole(path) if path.contains(&b'?') => path.to_vec(),
            Path::Whole(path) => [path, query.as_slice()].concat(),
            Path::Matched(path) => replace_matched(path, request.path, &query, matched),
        }
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// The authority of a request without its port, if that is to go anyway or is `unneeded`.
fn authority_for(authority: &[u8], drop_port: bool, unneeded: Option<u16>) -> &[u8] {
    let colon = match authority.first() {
        // Of an IPv6 literal only a colon behind the bracket begins a port.
        Some(b'[') => authority.windows(2).rposition(|pair| pair == b"]:").map(|bracket| bracket + 1),
        _ => authority.iter().rposition(|&byte| byte == b':'),
    };
    let Some((name, port)) = colon.and_then(|colon| authority.split_at_checked(colon)) else {
        return authority;
    };
    let goes = drop_port
        || match unneeded {
            Some(80) => port == b":80",
            Some(_) => port == b":443",
            None => false,
        };
    if goes { name } else { authority }
}

fn has_port(authority: &str) -> bool {
    authority_for(authority.as_bytes(), true, None).len() < authority.len()
}

fn compile_target(written: &RedirectConfig, matches: &[HttpMatchRequest], at: &mut At) -> Option<Path> {
    match (&written.uri, &written.prefix_rewrite) {
        (Some(_), Some(_)) => at.fault("uri and prefixRewrite", "only one of them can be given"),
        (Some(uri), None) => at.field("uri", |at| compile_path(uri, at)).map(Path::Whole),
        (None, Some(prefix)) => at.field("prefixRewrite", |at| {
            let by_prefix = |one: &HttpMatchRequest| matches!(one.uri, None | Some(StringMatch::Prefix(_)));
            if !matches.iter().all(by_prefix) {
                return at.fault(Quoted(prefix), "needs uri.prefix in every match: there is no prefix to replace");
            }
            compile_path(prefix, at).map(Path::Matched)
        }),
        (None, None) => Some(Path::Kept),
    }
}

fn compile_port(written: &RedirectConfig, at: &mut At) -> Option<Port> {
    match (written.port, written.derive_port) {
        (Some(_), Some(_)) => at.fault("port and derivePort", "only one of them can be given"),
        (Some(0), None) => at.field("port", |at| at.fault(0, "expected 1 to 65535")),
        (Some(port), None) if written.authority.as_deref().is_some_and(has_port) => {
            at.field("port", |at| at.fault(port, "the authority has a port already"))
        }
        (Some(port), None) => Some(Port::Given(port)),
        (None, Some(DerivePort::FromRequestPort)) => Some(Port::OfListener),
        (None, Some(DerivePort::FromProtocolDefault) | None) => Some(Port::Kept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_match::HeaderList;

    fn location(written: &RedirectConfig, scheme: &str, authority: &str, path: &str, matched: MatchedUri) -> String {
        let mut at = At::root();
        let redirect = Redirect::compile(written, &[], &mut at).unwrap();
        let headers: HeaderList =
            [(":scheme", scheme), (":authority", authority), (":path", path)].into_iter().collect();
        let mut request = Request::new(&headers);
        request.port = Some(8080);
        String::from_utf8(redirect.location(&request, matched)).unwrap()
    }

    fn to(scheme: &str, port: Option<u16>) -> RedirectConfig {
        RedirectConfig { scheme: Some(scheme.into()), port, ..RedirectConfig::default() }
    }

    #[test]
    fn scheme_and_port() {
        let cases = [
            (to("https", None), "http", "h", "https://h/x"),
            (to("https", None), "http", "h:80", "https://h/x"),
            (to("https", None), "http", "h:443", "https://h:443/x"),
            (to("https", None), "http", "[::1]:80", "https://[::1]/x"),
            (to("https", None), "http", "[::80]", "https://[::80]/x"),
            (to("https", None), "https", "h:80", "https://h:80/x"),
            (to("http", None), "https", "h:443", "http://h/x"),
            (to("http", None), "https", "h:80", "http://h:80/x"),
            (to("https", Some(80)), "http", "h:8080", "https://h:80/x"),
            (to("https", Some(443)), "http", "h:80", "https://h/x"),
            // As good as no port: what the authority says stays.
            (to("https", Some(443)), "http", "h:8080", "https://h:8080/x"),
            (to("http", Some(80)), "http", "h", "http://h/x"),
            (to("http", Some(8443)), "http", "[::1]:80", "http://[::1]:8443/x"),
        ];
        for (written, scheme, authority, expected) in cases {
            assert_eq!(location(&written, scheme, authority, "/x", MatchedUri::Whole), expected, "{written:?}");
        }
        let listener = RedirectConfig { derive_port: Some(DerivePort::FromRequestPort), ..RedirectConfig::default() };
        assert_eq!(location(&listener, "http", "h:1", "/x", MatchedUri::Whole), "http://h:8080/x");
    }

    #[test]
    fn paths_and_queries() {
        let uri = |uri: &str| RedirectConfig { uri: Some(uri.into()), ..RedirectConfig::default() };
        let prefix = |prefix: &str| RedirectConfig { prefix_rewrite: Some(prefix.into()), ..RedirectConfig::default() };
        let cases = [
            (uri("/n"), "/x?y=1", MatchedUri::Whole, "/n?y=1"),
            (uri("/n?own"), "/x?y=1", MatchedUri::Whole, "/n?own"),
            (uri("/n?"), "/x?y=1", MatchedUri::Whole, "/n?"),
            (uri("/n"), "/x?", MatchedUri::Whole, "/n?"),
            (prefix("/n"), "/pre/x?y", MatchedUri::Prefix(4), "/n/x?y"),
            (prefix("/n/"), "/x", MatchedUri::Prefix(1), "/n/x"),
            (prefix("/n"), "/", MatchedUri::Prefix(9), "/n"),
        ];
        for (written, path, matched, expected) in cases {
            assert_eq!(location(&written, "http", "h", path, matched), format!("http://h{expected}"), "{written:?}");
        }
    }

    #[test]
    fn authorities() {
        let authority = RedirectConfig { authority: Some("o:9".into()), ..RedirectConfig::default() };
        assert_eq!(location(&authority, "http", "h:80", "/x?y", MatchedUri::Whole), "http://o:9/x?y");
        assert_eq!(location(&to("https", None), "", "h", "/x", MatchedUri::Whole), "https://h/x", "no scheme is http");
    }
}
