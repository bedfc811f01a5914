//! What a policy says to an origin: functions of request values.

use crate::config::{CorsPolicy, UnmatchedPreflights};
use http_match::{Place, StringMatch, StringMatcher};
use plugin_config::{At, Quoted, joined};

/// A compiled policy. Header values are joined once, not per request.
#[derive(Debug)]
pub struct Policy {
    origins: Vec<StringMatcher>,
    /// Envoy asks each matcher about `*` too: not only an exact `*` is any origin, but a prefix or an expression that `*`
    /// satisfies.
    any_origin: bool,
    methods: List,
    headers: List,
    expose: Option<String>,
    max_age: Option<String>,
    credentials: bool,
    ignore_unmatched: bool,
}

/// A list of names as a header value.
#[derive(Debug)]
enum List {
    /// None: the header is left out.
    Absent,
    /// `*` alone: what the preflight asked for. Beside other names it is a name, as in Envoy.
    Echo,
    /// These.
    Names(String),
}

/// What becomes of a preflight.
#[derive(Debug, PartialEq, Eq)]
pub enum Preflight {
    /// It goes on to the upstream.
    Forward,
    /// It is answered with 200 and these headers.
    Answer(Vec<(String, Vec<u8>)>),
}

const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];

impl Policy {
    /// Compiles a policy; every fault is recorded in `at`.
    pub fn compile(written: &CorsPolicy, at: &mut At) -> Option<Self> {
        let origins = at.field("allowOrigins", |at| origins(&written.allow_origins, at));
        let deprecated: Vec<StringMatch> = written.allow_origin.iter().cloned().map(StringMatch::Exact).collect();
        let deprecated = at.field("allowOrigin", |at| self::origins(&deprecated, at));
        let known = |method: &str| METHODS.contains(&method);
        let methods =
            list("allowMethods", &written.allow_methods, known, "expected an HTTP method in capitals, or *", at);
        let name = "expected a header name, or *";
        let headers = list("allowHeaders", &written.allow_headers, is_header_name, name, at);
        let expose = list("exposeHeaders", &written.expose_headers, is_header_name, name, at);
        let max_age = match written.max_age {
            Some(age) if age.0.subsec_nanos() != 0 || age.0.as_secs() == 0 => {
                at.field("maxAge", |at| at.fault(age, "expected whole seconds, at least 1s"))
            }
            age => Some(age.map(|age| age.0.as_secs().to_string())),
        };
        let (origins, deprecated) = (origins?, deprecated?);
        // As in Istio the deprecated list counts only without the other.
        let origins = if origins.is_empty() { deprecated } else { origins };
        Some(Self {
            any_origin: origins.iter().any(|matcher| matcher.matches(b"*")),
            origins,
            methods: methods?,
            headers: headers?,
            expose: match expose? {
                List::Names(names) => Some(names),
                List::Echo => Some("*".into()),
                List::Absent => None,
            },
            max_age: max_age?,
            credentials: written.allow_credentials == Some(true),
            ignore_unmatched: written.unmatched_preflights == UnmatchedPreflights::Ignore,
        })
    }

    /// Whether an origin may read responses.
    pub fn allows(&self, origin: &[u8]) -> bool {
        self.any_origin || self.origins.iter().any(|matcher| matcher.matches(origin))
    }

    /// What becomes of a preflight; `origin` is `None` when it is not allowed. Method and headers asked for are not
    /// checked, only echoed for `*`.
    ///
    /// An ignored preflight is told the same, credentials too, but neither an origin nor what to expose: a browser takes
    /// it for a refusal. Names and order are those of Envoy's answer.
    pub fn preflight(&self, origin: Option<&[u8]>, method: &[u8], headers: &[u8]) -> Preflight {
        if origin.is_none() && !self.ignore_unmatched {
            return Preflight::Forward;
        }
        let credentials = self.credentials.then_some(&b"true"[..]);
        let expose = self.expose.as_ref().filter(|_| origin.is_some());
        let all = [
            ("access-control-allow-origin", origin),
            ("access-control-allow-credentials", credentials),
            ("access-control-allow-methods", self.methods.tell(method)),
            ("access-control-allow-headers", self.headers.tell(headers)),
            ("access-control-max-age", self.max_age.as_deref().map(str::as_bytes)),
            ("access-control-expose-headers", expose.map(String::as_bytes)),
        ];
        let told = all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_vec())));
        Preflight::Answer(told.collect())
    }

    /// What an actual response to an allowed origin is given, over what the upstream said.
    pub fn response(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let credentials = self.credentials.then_some(("access-control-allow-credentials", "true"));
        let expose = self.expose.as_deref().map(|value| ("access-control-expose-headers", value));
        credentials.into_iter().chain(expose)
    }
}

impl List {
    fn tell<'v>(&'v self, asked: &'v [u8]) -> Option<&'v [u8]> {
        match self {
            List::Absent => None,
            List::Echo => Some(asked),
            List::Names(names) => Some(names.as_bytes()),
        }
    }
}

fn origins(written: &[StringMatch], at: &mut At) -> Option<Vec<StringMatcher>> {
    let mut compiled = Vec::with_capacity(written.len());
    for (i, origin) in written.iter().enumerate() {
        compiled.extend(at.index(i, |at| match origin {
            StringMatch::Exact(text) if text.is_empty() => at.fault("\"\"", "an empty origin matches nothing"),
            origin => StringMatcher::compile(origin, Place::Value, at),
        }));
    }
    (compiled.len() == written.len()).then_some(compiled)
}

fn list(
    field: &'static str,
    written: &[String],
    accept: fn(&str) -> bool,
    reason: &'static str,
    at: &mut At,
) -> Option<List> {
    let mut good = true;
    at.field(field, |at| {
        for (i, name) in written.iter().enumerate().filter(|(_, name)| !accept(name)) {
            good = false;
            at.index(i, |at| at.refuse(Quoted(name), reason));
        }
    });
    match written {
        _ if !good => None,
        [] => Some(List::Absent),
        [name] if name == "*" => Some(List::Echo),
        names => Some(List::Names(joined(&mut names.iter().map(String::as_str), ","))),
    }
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(json: &str) -> Policy {
        let written = plugin_config::from_slice(json.as_bytes()).unwrap();
        let mut at = At::root();
        let policy = Policy::compile(&written, &mut at).unwrap();
        assert!(at.into_faults().is_empty());
        policy
    }

    fn told(policy: &Policy, origin: &str, method: &str, headers: &str) -> Option<Vec<String>> {
        let allowed = Some(origin.as_bytes()).filter(|origin| policy.allows(origin));
        match policy.preflight(allowed, method.as_bytes(), headers.as_bytes()) {
            Preflight::Forward => None,
            Preflight::Answer(answer) => Some(
                answer
                    .into_iter()
                    .map(|(name, value)| {
                        let name = name.trim_start_matches("access-control-").to_owned();
                        format!("{name}={}", String::from_utf8(value).unwrap())
                    })
                    .collect(),
            ),
        }
    }

    #[test]
    fn an_allowed_preflight_is_told_everything() {
        let policy = policy(
            r#"{"allowOrigins": [{"exact": "http://a"}], "allowMethods": ["GET", "POST"], "allowHeaders": ["x-a", "x-b"],
                "exposeHeaders": ["x-c"], "maxAge": "24h", "allowCredentials": true}"#,
        );
        let all = [
            "allow-origin=http://a",
            "allow-credentials=true",
            "allow-methods=GET,POST",
            "allow-headers=x-a,x-b",
            "max-age=86400",
            "expose-headers=x-c",
        ];
        // Neither the method nor the headers asked for are checked.
        assert_eq!(told(&policy, "http://a", "DELETE", "x-z").unwrap(), all);
        assert_eq!(told(&policy, "http://b", "GET", ""), None);
    }

    #[test]
    fn ignored_preflights_are_told_neither_origin_nor_what_to_expose() {
        let policy = policy(
            r#"{"allowOrigins": [{"exact": "http://a"}], "allowMethods": ["GET"], "unmatchedPreflights": "IGNORE",
                "allowCredentials": true, "exposeHeaders": ["x-c"], "maxAge": "1m"}"#,
        );
        let expected = ["allow-credentials=true", "allow-methods=GET", "max-age=60"];
        assert_eq!(told(&policy, "http://b", "GET", "").unwrap(), expected);
    }

    #[test]
    fn stars_echo() {
        let policy = policy(r#"{"allowOrigins": [{"exact": "*"}], "allowMethods": ["*"], "allowHeaders": ["*"]}"#);
        let expected = ["allow-origin=http://x", "allow-methods=PUT", "allow-headers=h1, h2"];
        assert_eq!(told(&policy, "http://x", "PUT", "h1, h2").unwrap(), expected);
        assert_eq!(told(&policy, "http://x", "PUT", "").unwrap()[2], "allow-headers=");
    }

    #[test]
    fn a_star_among_others_is_a_name() {
        let policy = policy(
            r#"{"allowOrigins": [{"exact": "*"}], "allowMethods": ["GET", "*"], "allowHeaders": ["*", "x-a"],
                "exposeHeaders": ["*"]}"#,
        );
        let expected = ["allow-origin=http://x", "allow-methods=GET,*", "allow-headers=*,x-a", "expose-headers=*"];
        assert_eq!(told(&policy, "http://x", "PUT", "h1").unwrap(), expected);
    }

    #[test]
    fn whatever_a_star_satisfies_is_any_origin() {
        for (origins, any) in [
            (r#"[{"exact": "*"}]"#, true),
            (r#"[{"prefix": "*"}]"#, true),
            (r#"[{"regex": ".*"}]"#, true),
            (r#"[{"regex": "[^a-z]"}, {"exact": "http://a"}]"#, true),
            (r#"[{"regex": ".+[.]example"}]"#, false),
            (r#"[{"exact": "http://a"}]"#, false),
            ("[]", false),
        ] {
            let policy = policy(&format!(r#"{{"allowOrigins": {origins}}}"#));
            assert_eq!(policy.allows(b"http://\xff"), any, "{origins}");
        }
    }

    #[test]
    fn the_deprecated_list_counts_alone() {
        let both = policy(r#"{"allowOrigin": ["http://old"], "allowOrigins": [{"exact": "http://new"}]}"#);
        assert!(both.allows(b"http://new") && !both.allows(b"http://old"));
        assert!(policy(r#"{"allowOrigin": ["http://old"]}"#).allows(b"http://old"));
        assert!(policy(r#"{"allowOrigin": ["*"]}"#).allows(b"http://any"));
    }

    #[test]
    fn origins_match_whole_and_by_case() {
        let policy =
            policy(r#"{"allowOrigins": [{"regex": "https://[a-z]+\\.example\\.com"}, {"prefix": "http://dev"}]}"#);
        for (origin, allowed) in [
            ("https://a.example.com", true),
            ("https://a.example.com.evil", false),
            ("https://A.example.com", false),
            ("http://dev.local:8080", true),
        ] {
            assert_eq!(policy.allows(origin.as_bytes()), allowed, "{origin}");
        }
        assert!(!policy.allows(b"https://\xff.example.com"));
    }

    #[test]
    fn bad_policies_are_refused_with_every_fault() {
        let json = r#"{"allowOrigins": [{"exact": ""}, {}, {"regex": "("}], "allowMethods": ["get", "GET"],
                       "allowHeaders": ["a b"], "exposeHeaders": [""], "maxAge": "1.5s"}"#;
        let written = plugin_config::from_slice(json.as_bytes()).unwrap();
        let mut at = At::root();
        assert!(Policy::compile(&written, &mut at).is_none());
        let faults = at.into_faults();
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        let expected = [
            "allowOrigins[0]",
            "allowOrigins[1]",
            "allowOrigins[2].regex",
            "allowMethods[0]",
            "allowHeaders[0]",
            "exposeHeaders[0]",
            "maxAge",
        ];
        assert_eq!(paths, expected);
    }
}
