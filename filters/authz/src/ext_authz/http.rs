//! ext_authz over HTTP: the check request is the client's request without most of its headers; 200 allows.

use super::{Change, Changes, How, Outcome};
use filter_api::{HeaderEdit, LocalReply};
use http_match::{HeaderList, StringPattern};

/// What is sent to, and taken from, an HTTP provider.
#[derive(Debug, Default)]
pub(super) struct HttpCheck {
    pub(super) path_prefix: Box<str>,
    pub(super) included: Names,
    pub(super) added: Vec<(String, String)>,
    pub(super) to_upstream: Names,
    pub(super) to_client_on_deny: Names,
    pub(super) to_client_on_allow: Names,
}

/// A list of header names: exact, `pre*` or `*suf`, in any case.
#[derive(Debug, Default)]
pub(super) struct Names(pub(super) Vec<StringPattern>);

impl Names {
    fn contain(&self, name: &[u8]) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name, false))
    }
}

/// Headers that frame one message on one connection and mean nothing beyond it.
fn is_framing(name: &[u8]) -> bool {
    const FRAMING: [&[u8]; 7] =
        [b"connection", b"content-length", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"];
    name.starts_with(b":") || FRAMING.contains(&name)
}

/// What a refused client gets besides the listed headers, as Envoy documents.
const ALWAYS_TO_CLIENT: [&[u8]; 2] = [b"www-authenticate", b"location"];

impl HttpCheck {
    /// The headers of the check request.
    pub(super) fn request(&self, headers: &HeaderList) -> HeaderList {
        let first = |name| headers.get(name).unwrap_or_default();
        let mut check = HeaderList::new();
        check.add(":method", first(":method"));
        check.add(":scheme", first(":scheme"));
        check.add(":authority", first(":authority"));
        check.add(":path", &[self.path_prefix.as_bytes(), first(":path")].concat());
        check.add("content-length", b"0");
        for (name, value) in headers.iter() {
            let wanted = name == b"authorization" || self.included.contain(name);
            if let Ok(name) = std::str::from_utf8(name)
                && wanted
                && !is_framing(name.as_bytes())
                && name != "host"
            {
                check.add(name, value);
            }
        }
        for (name, value) in &self.added {
            check.set(name, value.as_bytes());
        }
        check
    }

    /// What an answer means. As in Envoy a 5xx is a failure of the provider, not its refusal.
    pub(super) fn outcome(&self, headers: &HeaderList, body: Vec<u8>) -> Outcome {
        let status = headers.get(":status").and_then(|status| std::str::from_utf8(status).ok()?.parse::<u16>().ok());
        match status {
            Some(200) => Outcome::Allow(self.changes(headers)),
            Some(status @ 201..=499) => Outcome::Deny(self.refusal(status, headers, body)),
            Some(status) => Outcome::Failed(format!("status {status}")),
            None => Outcome::Failed("an answer without status".into()),
        }
    }

    fn changes(&self, headers: &HeaderList) -> Changes {
        let mut changes = Changes::default();
        for (name, value) in headers.iter().filter(|(name, _)| !is_framing(name)) {
            let Ok(text) = std::str::from_utf8(name) else {
                continue;
            };
            if self.to_upstream.contain(name) {
                // Of several values the last one stands, as in Envoy.
                changes.request.push(HeaderEdit::Set(text.to_owned(), value.to_vec()));
            }
            if self.to_client_on_allow.contain(name) {
                changes.response.push(Change { name: text.to_owned(), value: value.to_vec(), how: How::Append });
            }
        }
        if let Some(names) = headers.get("x-envoy-auth-headers-to-remove") {
            changes.request.extend(removals(names));
        }
        changes
    }

    fn refusal(&self, status: u16, headers: &HeaderList, body: Vec<u8>) -> LocalReply {
        let mut reply = LocalReply::new(status, "ext_authz_denied").body(body);
        for (name, value) in headers.iter().filter(|(name, _)| !is_framing(name)) {
            let listed = self.to_client_on_deny.0.is_empty()
                || self.to_client_on_deny.contain(name)
                || ALWAYS_TO_CLIENT.contains(&name);
            if let Ok(name) = std::str::from_utf8(name)
                && listed
            {
                reply.headers.push((name.to_owned(), value.to_vec()));
            }
        }
        reply
    }
}

/// Removals of the headers in a comma-separated list. The host and pseudo-headers stay: without them a request is none.
fn removals(names: &[u8]) -> impl Iterator<Item = HeaderEdit> {
    let names = names.split(|&byte| byte == b',').filter_map(|name| std::str::from_utf8(name).ok());
    names.map(str::trim).filter(|name| super::removable(name)).map(|name| HeaderEdit::Remove(name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Names {
        Names(list.iter().map(|name| StringPattern::parse(&name.to_ascii_lowercase())).collect())
    }

    fn list(headers: &[(&str, &str)]) -> HeaderList {
        headers.iter().copied().collect()
    }

    #[test]
    fn sends_only_what_was_asked_for() {
        let check = HttpCheck {
            path_prefix: "/check".into(),
            included: names(&["X-Want-*", "*-id", "connection"]),
            added: vec![("x-add".into(), "new".into())],
            ..HttpCheck::default()
        };
        let request = list(&[
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "a.example:80"),
            (":path", "/p?q"),
            ("authorization", "Bearer x"),
            ("content-length", "12"),
            ("connection", "close"),
            ("cookie", "secret"),
            ("x-want-a", "1"),
            ("x-want-a", "2"),
            ("user-id", "u"),
            ("x-add", "old"),
        ]);
        let sent = check.request(&request);
        assert_eq!(
            sent,
            list(&[
                (":method", "POST"),
                (":scheme", "https"),
                (":authority", "a.example:80"),
                (":path", "/check/p?q"),
                ("content-length", "0"),
                ("authorization", "Bearer x"),
                ("x-want-a", "1"),
                ("x-want-a", "2"),
                ("user-id", "u"),
                ("x-add", "new"),
            ])
        );
    }

    #[test]
    fn an_allowing_answer_changes_what_is_listed() {
        let check = HttpCheck {
            to_upstream: names(&["x-user", "x-g-*"]),
            to_client_on_allow: names(&["set-cookie"]),
            ..HttpCheck::default()
        };
        let answer = list(&[
            (":status", "200"),
            ("x-user", "u"),
            ("x-g-a", "1"),
            ("x-g-a", "2"),
            ("x-other", "no"),
            ("set-cookie", "c"),
            ("x-envoy-auth-headers-to-remove", "Token, :path, host, , x-b"),
        ]);
        let Outcome::Allow(changes) = check.outcome(&answer, Vec::new()) else { panic!("refused") };
        let set = |name: &str, value: &str| HeaderEdit::Set(name.into(), value.into());
        assert_eq!(
            changes.request,
            [
                set("x-user", "u"),
                set("x-g-a", "1"),
                set("x-g-a", "2"),
                HeaderEdit::Remove("token".into()),
                HeaderEdit::Remove("x-b".into()),
            ]
        );
        assert_eq!(changes.response.len(), 1);
    }

    #[test]
    fn a_refusal_keeps_its_headers_and_body() {
        let answer = list(&[(":status", "401"), ("www-authenticate", "B"), ("x-a", "1"), ("content-length", "3")]);
        let reply = |check: HttpCheck| match check.outcome(&answer, b"no!".to_vec()) {
            Outcome::Deny(reply) => reply,
            other => panic!("{other:?}"),
        };
        let all = reply(HttpCheck::default());
        assert_eq!((all.status, all.body.as_slice(), all.headers.len()), (401, &b"no!"[..], 2));
        let listed = reply(HttpCheck { to_client_on_deny: names(&["x-b"]), ..HttpCheck::default() });
        assert_eq!(listed.headers, [("www-authenticate".to_owned(), b"B".to_vec())]);
    }

    #[test]
    fn whatever_else_is_a_failure() {
        for status in ["500", "503", "99", "100", "x", ""] {
            let outcome = HttpCheck::default().outcome(&list(&[(":status", status)]), Vec::new());
            assert!(matches!(outcome, Outcome::Failed(_)), "{status}");
        }
        assert!(matches!(HttpCheck::default().outcome(&HeaderList::new(), Vec::new()), Outcome::Failed(_)));
    }
}
