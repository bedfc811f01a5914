//! Whom the admin server listens to. Whoever reaches the port may ask; web pages may not make a browser ask for them.

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri, header};
use std::net::IpAddr;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// It names a host that is neither an address nor `localhost`: what a page does whose name was made to resolve to
    /// the proxy's address (DNS rebinding).
    Host,
    /// A page from elsewhere sent it.
    Origin,
}

impl Refusal {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Host => "the Host header is neither an IP address nor localhost",
            Self::Origin => "a page of another origin may not ask for this",
        }
    }
}

/// Judges a request by where it says it goes, and where it comes from.
pub(super) fn judge(uri: &Uri, headers: &HeaderMap, mutates: bool) -> Result<(), Refusal> {
    let named: Vec<_> = headers.get_all(header::HOST).iter().collect();
    // HTTP/1.0 has none, and browsers do not speak it.
    let hosts = named.iter().map(|host| authority(host)).chain(uri.authority().map(|host| Some(host.clone())));
    let hosts: Option<Vec<Authority>> = hosts.collect();
    let hosts = hosts.ok_or(Refusal::Host)?;
    if named.len() > 1 || !hosts.iter().all(is_literal) {
        return Err(Refusal::Host);
    }
    match headers.get(header::ORIGIN) {
        Some(origin) if mutates && !is_own(origin, hosts.first()) => Err(Refusal::Origin),
        _ => Ok(()),
    }
}

fn authority(value: &HeaderValue) -> Option<Authority> {
    value.to_str().ok()?.parse().ok()
}

fn is_literal(host: &Authority) -> bool {
    let name = host.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let user = host.as_str().contains('@');
    !user && (name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok())
}

fn is_own(origin: &HeaderValue, host: Option<&Authority>) -> bool {
    let named = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
    host.is_some_and(|host| named.is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(uri: &str, headers: &[(&'static str, &str)], mutates: bool) -> Result<(), Refusal> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            });
        judge(&uri.parse().unwrap(), &headers, mutates)
    }

    #[test]
    fn hosts() {
        let fine =
            ["127.0.0.1", "127.0.0.1:15000", "localhost", "LocalHost:15000", "[::1]:15000", "[fe80::1]", "10.1.2.3:1"];
        for host in fine {
            assert_eq!(judged("/", &[("host", host)], true), Ok(()), "{host}");
        }
        let foreign = [
            "evil.test",
            "evil.test:15000",
            "127.0.0.1.evil.test",
            "localhost.evil.test",
            "",
            "user@127.0.0.1",
            "1.2.3.4.5",
            "é",
        ];
        for host in foreign {
            assert_eq!(judged("/", &[("host", host)], false), Err(Refusal::Host), "{host}");
        }
        assert_eq!(judged("/", &[], false), Ok(()), "HTTP/1.0");
        assert_eq!(judged("http://evil.test/", &[("host", "127.0.0.1")], false), Err(Refusal::Host));
        assert_eq!(judged("/", &[("host", "127.0.0.1"), ("host", "evil.test")], false), Err(Refusal::Host));
        assert_eq!(judged("/", &[("host", "127.0.0.1"), ("host", "127.0.0.1")], false), Err(Refusal::Host));
    }

    #[test]
    fn origins() {
        let judged = |origin, mutates| judged("/", &[("host", "127.0.0.1:15000"), ("origin", origin)], mutates);
        assert_eq!(judged("http://127.0.0.1:15000", true), Ok(()));
        for origin in ["http://evil.test", "null", "http://127.0.0.1:8080", "https://127.0.0.1:15000", "\u{e9}"] {
            assert_eq!(judged(origin, true), Err(Refusal::Origin), "{origin}");
            assert_eq!(judged(origin, false), Ok(()), "{origin}");
        }
    }
}
