//! What a list of values in a policy is about, how it compiles to a term, and what an index can look up for it.

use crate::pattern::Pattern;
use crate::rule::Term;
use http_match::{
    AddressBlocks, HostPattern, Key, NamespacePattern, PathPattern, PrincipalPattern, RequestPrincipalPattern,
    ServiceAccountPattern, StringPattern, TrustDomainPattern, TrustDomains,
};
use plugin_config::{At, Quoted};
use std::rc::Rc;

/// The subject of a field of a source or operation, or of a condition. Rules are filed by it as well.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Field {
    Principal,
    Namespace,
    ServiceAccount,
    TrustDomain,
    DirectAddress,
    RemoteAddress,
    LocalAddress,
    RequestPrincipal,
    Host,
    Method,
    Path,
    Port,
    ServerName,
    /// By name, lower-case: a path of one.
    Header(Rc<[String]>),
    /// By path.
    Claim(Rc<[String]>),
    /// By filter and key.
    Metadata(Rc<[String]>),
}

const SCHEME: &[u8] = b"spiffe://";

/// What a policy's values are read against.
pub(crate) struct Scope<'c> {
    /// The policy, for warnings.
    pub(crate) policy: &'c str,
    /// The policy's namespace: that of service accounts which name none.
    pub(crate) namespace: &'c str,
    /// Whether the policy is a CUSTOM one.
    pub(crate) custom: bool,
    /// The workload's trust domains.
    pub(crate) domains: &'c TrustDomains,
    /// Whether the host tells the direct peer's address.
    pub(crate) direct_address: bool,
    /// Names met before.
    pub(crate) names: &'c mut Names,
}

/// Names of headers, claims and metadata, sorted: ten thousand rules about one header share its name.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<Rc<[String]>>);

impl Names {
    /// The shared form of a name.
    pub(crate) fn share(&mut self, path: Vec<String>) -> Rc<[String]> {
        match self.0.binary_search_by(|known| known.as_ref().cmp(&path)) {
            Ok(place) => self.0.get(place).cloned().unwrap_or_else(|| path.into()),
            Err(place) => {
                let path: Rc<[String]> = path.into();
                self.0.insert(place, path.clone());
                path
            }
        }
    }
}

/// Terms that must all hold, with what an index can look up for the positive ones.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    pub(crate) terms: Vec<Term>,
    pub(crate) keys: Vec<http_match::Term<Field>>,
    /// Whether a value was refused.
    pub(crate) faulty: bool,
}

/// Records that `value`, at the field `name`, is refused.
pub(crate) fn refuse(name: &'static str, value: &str, reason: &'static str, at: &mut At) {
    at.field(name, |at| at.refuse(value, reason));
}

/// Records that `value`, at an index of a list, is refused.
pub(crate) fn refuse_at(index: usize, value: &str, reason: &'static str, at: &mut At) {
    at.index(index, |at| at.refuse(quoted(value), reason));
}

/// A text as it stands in a configuration, for faults.
pub(crate) fn quoted(text: &str) -> String {
    Quoted(text).to_string()
}

/// A list of texts as it stands in a configuration, for faults.
pub(crate) fn quoted_list(texts: &[String]) -> String {
    let mut out = String::from("[");
    for (i, text) in texts.iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        out.push_str(&quoted(text));
    }
    out.push(']');
    out
}

impl Terms {
    /// Adds the terms of a field and its `not…` twin, where they have values.
    pub(crate) fn field(
        &mut self,
        field: Field,
        (name, values): (&'static str, &[String]),
        (not_name, not_values): (&'static str, &[String]),
        scope: &Scope<'_>,
        at: &mut At,
    ) {
        for (name, values, negated) in [(name, values, false), (not_name, not_values, true)] {
            if !values.is_empty() {
                at.field(name, |at| self.values(&field, values, negated, scope, at));
            }
        }
    }

    fn values(&mut self, field: &Field, values: &[String], negated: bool, scope: &Scope<'_>, at: &mut At) {
        if let Some(reason) = field.unusable(scope) {
            at.refuse(quoted_list(values), reason);
            self.faulty = true;
            return;
        }
        let mut patterns = Patterns { patterns: Vec::with_capacity(values.len()), keys: Some(Vec::new()) };
        for (i, value) in values.iter().enumerate() {
            let read = match value.is_empty() {
                true => Err("an empty text matches nothing"),
                false => patterns.read(field, value, scope, (i, at)),
            };
            if let Err(reason) = read {
                self.faulty = true;
                // A matcher that says itself what is wrong has said so.
                if !reason.is_empty() {
                    refuse_at(i, value, reason, at);
                }
            }
        }
        if matches!(field, Field::DirectAddress | Field::RemoteAddress | Field::LocalAddress) {
            match AddressBlocks::parse(values, at) {
                Some(blocks) => patterns.patterns.push(Pattern::Blocks(blocks.into())),
                None => self.faulty = true,
            }
        }
        if let (false, Some(keys), true) = (negated, patterns.keys, field.is_indexed()) {
            self.keys.push((field.clone(), keys));
        }
        self.terms.push(Term { negated, field: field.clone(), patterns: patterns.patterns.into() });
    }
}

/// The patterns of one list, and the keys an index can look up for them; no keys when for one of them it can look up
/// nothing.
struct Patterns {
    patterns: Vec<Pattern>,
    keys: Option<Vec<Key>>,
}

/// The matcher has recorded the fault itself.
const RECORDED: &str = "";

impl Patterns {
    fn push(&mut self, pattern: Pattern, key: Option<Key>) -> Option<()> {
        self.patterns.push(pattern);
        match (&mut self.keys, key) {
            (Some(keys), Some(key)) => keys.push(key),
            _ => self.keys = None,
        }
        Some(())
    }

    /// Reads one value.
    fn read(
        &mut self,
        field: &Field,
        value: &str,
        scope: &Scope<'_>,
        (index, at): (usize, &mut At),
    ) -> Result<(), &'static str> {
        match field {
            Field::Principal
            | Field::Namespace
            | Field::ServiceAccount
            | Field::TrustDomain
            | Field::RequestPrincipal => at.index(index, |at| self.read_identity(field, value, scope, at)),
            // Compiled all together.
            Field::DirectAddress | Field::RemoteAddress | Field::LocalAddress => Some(()),
            Field::Host => {
                let pattern = HostPattern::parse(value);
                let key = pattern.key();
                self.push(Pattern::Host(pattern), key)
            }
            Field::Path => {
                let hint = "paths are compared without query and fragment";
                never_matches(value.contains(['?', '#']), value, hint, scope);
                at.index(index, |at| PathPattern::parse(value, at)).and_then(|pattern| {
                    let key = pattern.key();
                    self.push(Pattern::Path(pattern), key)
                })
            }
            Field::Port => {
                let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                let port: Option<u16> = value.parse().ok().filter(|_| digits);
                let port = port.ok_or("expected a port from 0 to 65535")?;
                self.push(Pattern::Port(port), Some(Key::Exact(port.to_string().into_bytes().into())))
            }
            Field::Method | Field::ServerName | Field::Header(_) | Field::Claim(_) => {
                let pattern = StringPattern::parse(value);
                let key = pattern.key();
                self.push(Pattern::Text(pattern), key)
            }
            Field::Metadata(_) => match value.strip_prefix('[').and_then(|value| value.strip_suffix(']')) {
                Some(item) => self.push(Pattern::Item(StringPattern::parse(item)), None),
                None => self.push(Pattern::Text(StringPattern::parse(value)), None),
            },
        }
        .ok_or(RECORDED)
    }

    /// Reads one value of who sends a request. `None`: it is refused, and that is recorded.
    fn read_identity(&mut self, field: &Field, value: &str, scope: &Scope<'_>, at: &mut At) -> Option<()> {
        match field {
            Field::Principal => {
                let with_scheme = value.as_bytes().windows(SCHEME.len()).any(|part| part == SCHEME);
                never_matches(with_scheme, value, "principals are written without spiffe://", scope);
                for value in scope.domains.expand_principal(value) {
                    let pattern = PrincipalPattern::parse(&value);
                    let key = pattern.key();
                    self.push(Pattern::Principal(pattern), key);
                }
            }
            Field::Namespace => {
                let pattern = NamespacePattern::parse(value);
                let key = pattern.key();
                self.push(Pattern::Namespace(pattern), key);
            }
            Field::ServiceAccount => {
                let pattern = ServiceAccountPattern::parse(value, scope.namespace, at)?;
                let key = match value.contains('/') {
                    true => value.to_owned(),
                    false => [scope.namespace, "/", value].concat(),
                };
                self.push(Pattern::ServiceAccount(pattern), Some(Key::Exact(key.into_bytes().into())));
            }
            Field::TrustDomain => {
                for value in scope.domains.expand_trust_domain(value) {
                    self.push(Pattern::TrustDomain(TrustDomainPattern::parse(&value, at)?), None);
                }
            }
            _ => {
                let pattern = RequestPrincipalPattern::parse(value);
                self.push(Pattern::RequestPrincipal(pattern.into()), request_principal_key(value));
            }
        }
        Some(())
    }
}

/// Says so when a value can never match: it may be written, but nobody means it.
fn never_matches(condition: bool, value: &str, hint: &str, scope: &Scope<'_>) {
    if condition {
        log::warn!("policy {}: {} never matches: {hint}", scope.policy, Quoted(value));
    }
}

/// What an index of `issuer/subject` can look up for a request principal. Only an outer star is a wildcard, and two are
/// more than one key can say.
fn request_principal_key(value: &str) -> Option<Key> {
    match (value.starts_with('*'), value.ends_with('*'), value.contains('/')) {
        (true, true, _) => None,
        (false, false, false) => Some(Key::Exact([value, "/"].concat().into_bytes().into())),
        _ => StringPattern::parse(value).key(),
    }
}

impl Field {
    /// Whether rules can be filed by it.
    fn is_indexed(&self) -> bool {
        !matches!(
            self,
            Field::TrustDomain | Field::DirectAddress | Field::RemoteAddress | Field::LocalAddress | Field::Metadata(_)
        )
    }

    /// Why the field cannot be used in this policy, or under this host.
    fn unusable(&self, scope: &Scope<'_>) -> Option<&'static str> {
        match self {
            Field::Principal
            | Field::Namespace
            | Field::ServiceAccount
            | Field::TrustDomain
            | Field::RequestPrincipal
            | Field::Claim(_)
                if scope.custom =>
            {
                Some("CUSTOM policies cannot use identities: Istio refuses that too; use addresses or operations")
            }
            Field::DirectAddress if !scope.direct_address => Some(
                "stock Envoy does not tell a Wasm filter the direct peer's address (its source.address follows \
                 X-Forwarded-For): use remoteIpBlocks or remote.ip; or have Envoy's set_filter_state filter store \
                 %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% and name that property in peerAddressProperty; or, \
                 under Outrigger's own host, set hostProperties: OUTRIGGER",
            ),
            _ => None,
        }
    }
}
