//! What a policy says to an origin: functions of request values.

use crate::config::{CorsPolicy, UnmatchedPreflights};
use http_match::{Place, StringMatch, StringMatcher};
use plugin_config::{At, Quoted};

/// A compiled policy. Header values are joined once, not per request.
#[derive(Debug)]
pub struct Policy {
    origins: Vec<StringMatcher>,
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
    /// `*`: what the preflight asked for.
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
        let mut origins = at.field("allowOrigins", |at| origins(&written.allow_origins, at));
        let deprecated: Vec<StringMatch> = written.allow_origin.iter().cloned().map(StringMatch::Exact).collect();
        let deprecated_origins = at.field("allowOrigin", |at| self::origins(&deprecated, at));
        if let (Some(origins), Some(more)) = (&mut origins, deprecated_origins) {
            origins.extend(more);
        }
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
        Some(Self {
            any_origin: written.allow_origins.iter().any(|origin| *origin == StringMatch::Exact("*".into()))
                || written.allow_origin.iter().any(|origin| origin == "*"),
            origins: origins?,
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

    /// What becomes of a preflight of `origin`. Method and headers asked for are not checked, only echoed for `*`.
    pub fn preflight(&self, origin: &[u8], method: &[u8], headers: &[u8]) -> Preflight {
        let allowed = self.allows(origin);
        if !allowed && !self.ignore_unmatched {
            return Preflight::Forward;
        }
        let mut answer = Vec::new();
        let mut add = |name: &str, value: &[u8]| answer.push((name.to_owned(), value.to_vec()));
        if allowed {
            add("access-control-allow-origin", origin);
        }
        self.methods.tell(method).into_iter().for_each(|value| add("access-control-allow-methods", value));
        self.headers.tell(headers).into_iter().for_each(|value| add("access-control-allow-headers", value));
        self.max_age.iter().for_each(|value| add("access-control-max-age", value.as_bytes()));
        if allowed && self.credentials {
            add("access-control-allow-credentials", b"true");
        }
        self.expose.iter().for_each(|value| add("access-control-expose-headers", value.as_bytes()));
        Preflight::Answer(answer)
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

fn list(field: &'static str, written: &[String], accept: fn(&str) -> bool, reason: &str, at: &mut At) -> Option<List> {
    let mut good = true;
    at.field(field, |at| {
        for (i, name) in written.iter().enumerate().filter(|(_, name)| !accept(name)) {
            good = false;
            at.index(i, |at| at.fault::<()>(Quoted(name), reason));
        }
    });
    match written {
        _ if !good => None,
        [] => Some(List::Absent),
        names if names.iter().any(|name| name == "*") => Some(List::Echo),
        names => Some(List::Names(names.join(","))),
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
        match policy.preflight(origin.as_bytes(), method.as_bytes(), headers.as_bytes()) {
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
            "allow-methods=GET,POST",
            "allow-headers=x-a,x-b",
            "max-age=86400",
            "allow-credentials=true",
            "expose-headers=x-c",
        ];
        // Neither the method nor the headers asked for are checked.
        assert_eq!(told(&policy, "http://a", "DELETE", "x-z").unwrap(), all);
        assert_eq!(told(&policy, "http://b", "GET", ""), None);
    }

    #[test]
    fn ignored_preflights_are_told_all_but_the_origin() {
        let policy = policy(
            r#"{"allowOrigins": [{"exact": "http://a"}], "allowMethods": ["GET"], "unmatchedPreflights": "IGNORE",
                "allowCredentials": true}"#,
        );
        assert_eq!(told(&policy, "http://b", "GET", "").unwrap(), ["allow-methods=GET"]);
    }

    #[test]
    fn stars_echo() {
        let policy = policy(r#"{"allowOrigins": [{"exact": "*"}], "allowMethods": ["*"], "allowHeaders": ["*"]}"#);
        let expected = ["allow-origin=http://x", "allow-methods=PUT", "allow-headers=h1, h2"];
        assert_eq!(told(&policy, "http://x", "PUT", "h1, h2").unwrap(), expected);
        assert_eq!(told(&policy, "http://x", "PUT", "").unwrap()[2], "allow-headers=");
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
