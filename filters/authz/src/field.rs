//! What a list of values in a policy is about, how it compiles to a test, and what an index can look up for it.

use crate::index::Attribute;
use crate::rule::{MetadataPattern, Named, Term, Test};
use http_match::{
    AddressBlocks, HostPattern, Key, NamespacePattern, PathPattern, PrincipalPattern, RequestPrincipalPattern,
    ServiceAccountPattern, StringPattern, TrustDomainPattern, TrustDomains,
};
use plugin_config::At;
use rustc_hash::FxHashSet;
use std::rc::Rc;

/// The subject of a field of a source or operation, or of a condition.
#[derive(Clone, Debug)]
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
    Header(Rc<str>),
    Claim(Rc<[String]>),
    Metadata(Rc<[String]>),
}

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
    /// Names met before: ten thousand rules about one header share its name.
    pub(crate) names: &'c mut Names,
}

/// Shared names of headers and claims.
#[derive(Debug, Default)]
pub(crate) struct Names {
    headers: FxHashSet<Rc<str>>,
    paths: FxHashSet<Rc<[String]>>,
}

impl Names {
    pub(crate) fn header(&mut self, name: &str) -> Rc<str> {
        let lower = name.to_ascii_lowercase();
        match self.headers.get(lower.as_str()) {
            Some(known) => known.clone(),
            None => {
                let name: Rc<str> = lower.into();
                self.headers.insert(name.clone());
                name
            }
        }
    }

    pub(crate) fn path(&mut self, path: Vec<String>) -> Rc<[String]> {
        match self.paths.get(path.as_slice()) {
            Some(known) => known.clone(),
            None => {
                let path: Rc<[String]> = path.into();
                self.paths.insert(path.clone());
                path
            }
        }
    }
}

/// The terms of one source, operation or `when`, with what an index can look up for the positive ones.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    pub(crate) terms: Vec<Term>,
    pub(crate) keys: Vec<http_match::Term<Attribute>>,
}

impl Terms {
    /// Adds the terms of a field and its `not…` twin, where they have values.
    pub(crate) fn field(
        &mut self,
        field: &Field,
        (name, values): (&'static str, &[String]),
        (not_name, not_values): (&'static str, &[String]),
        scope: &mut Scope<'_>,
        at: &mut At,
    ) -> Option<()> {
        let positive = at.field(name, |at| self.values(field, values, false, scope, at));
        let negative = at.field(not_name, |at| self.values(field, not_values, true, scope, at));
        positive.and(negative)
    }

    fn values(
        &mut self,
        field: &Field,
        values: &[String],
        negated: bool,
        scope: &mut Scope<'_>,
        at: &mut At,
    ) -> Option<()> {
        if values.is_empty() {
            return Some(());
        }
        if let Some(reason) = field.unusable(scope) {
            return at.fault(list(values), reason);
        }
        for (i, value) in values.iter().enumerate() {
            if value.is_empty() {
                at.index(i, |at| at.fault::<()>("\"\"", "an empty text matches nothing"));
            } else if let Some(hint) = field.never_matches(value) {
                log::warn!("policy {}: {value:?} never matches: {hint}", scope.policy);
            }
        }
        let test = field.test(values, scope, at)?;
        if !negated {
            self.keys.extend(field.keys(values, scope));
        }
        self.terms.push(Term { negated, test });
        values.iter().all(|value| !value.is_empty()).then_some(())
    }
}

/// A list of texts, for error messages.
fn list(values: &[String]) -> String {
    format!("{values:?}")
}

/// Each value read by `parse`, a refused one recorded at its index.
fn each<P>(values: &[String], at: &mut At, mut parse: impl FnMut(&str, &mut At) -> Option<P>) -> Option<Box<[P]>> {
    let parsed: Vec<Option<P>> =
        values.iter().enumerate().map(|(i, value)| at.index(i, |at| parse(value, at))).collect();
    parsed.into_iter().collect()
}

fn patterns(values: &[String]) -> Box<[StringPattern]> {
    values.iter().map(|value| StringPattern::parse(value)).collect()
}

impl Field {
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

    /// Why a value can never match, although it may be written.
    fn never_matches(&self, value: &str) -> Option<&'static str> {
        match self {
            Field::Principal if value.contains("spiffe://") => Some("principals are written without spiffe://"),
            Field::Path if value.contains(['?', '#']) => Some("paths are compared without query and fragment"),
            _ => None,
        }
    }

    fn test(&self, values: &[String], scope: &Scope<'_>, at: &mut At) -> Option<Test> {
        Some(match self {
            Field::Principal => Test::Principal(principals(values, scope).collect()),
            Field::Namespace => Test::Namespace(values.iter().map(|value| NamespacePattern::parse(value)).collect()),
            Field::ServiceAccount => Test::ServiceAccount(each(values, at, |value, at| {
                ServiceAccountPattern::parse(value, scope.namespace, at)
            })?),
            Field::TrustDomain => {
                each(values, at, TrustDomainPattern::parse)?;
                let expanded = values.iter().flat_map(|value| scope.domains.expand_trust_domain(value));
                Test::TrustDomain(expanded.map(|value| TrustDomainPattern::parse(&value, at)).collect::<Option<_>>()?)
            }
            Field::DirectAddress => Test::DirectAddress(AddressBlocks::parse(values, at)?.into()),
            Field::RemoteAddress => Test::RemoteAddress(AddressBlocks::parse(values, at)?.into()),
            Field::LocalAddress => Test::LocalAddress(AddressBlocks::parse(values, at)?.into()),
            Field::RequestPrincipal => {
                Test::RequestPrincipal(values.iter().map(|value| RequestPrincipalPattern::parse(value)).collect())
            }
            Field::Host => Test::Host(values.iter().map(|value| HostPattern::parse(value)).collect()),
            Field::Method => Test::Method(patterns(values)),
            Field::Path => Test::Path(each(values, at, PathPattern::parse)?),
            Field::Port => Test::Port(each(values, at, port)?),
            Field::ServerName => Test::ServerName(patterns(values)),
            Field::Header(name) => Test::Header(named(name, patterns(values))),
            Field::Claim(path) => Test::Claim(named(path, patterns(values))),
            Field::Metadata(path) => {
                Test::Metadata(named(path, values.iter().map(|value| metadata_pattern(value)).collect()))
            }
        })
    }

    /// What an index can look up for the values; `None` when for one of them it can look up nothing.
    fn keys(&self, values: &[String], scope: &Scope<'_>) -> Option<http_match::Term<Attribute>> {
        let attribute = match self {
            Field::Principal => Attribute::Principal,
            Field::Namespace => Attribute::Namespace,
            Field::ServiceAccount => Attribute::ServiceAccount,
            Field::RequestPrincipal => Attribute::RequestPrincipal,
            Field::Host => Attribute::Host,
            Field::Method => Attribute::Method,
            Field::Path => Attribute::Path,
            Field::Port => Attribute::Port,
            Field::ServerName => Attribute::ServerName,
            Field::Header(name) => Attribute::Header(name.clone()),
            Field::Claim(path) => Attribute::Claim(path.clone()),
            Field::TrustDomain
            | Field::DirectAddress
            | Field::RemoteAddress
            | Field::LocalAddress
            | Field::Metadata(_) => return None,
        };
        let keys = match self {
            Field::Principal => principals(values, scope).map(|pattern| pattern.key()).collect(),
            _ => values.iter().map(|value| self.key(value, scope)).collect::<Option<_>>(),
        };
        Some((attribute, keys?))
    }

    fn key(&self, value: &str, scope: &Scope<'_>) -> Option<Key> {
        let exact = |text: String| Some(Key::Exact(text.into_bytes().into()));
        match self {
            Field::Namespace => NamespacePattern::parse(value).key(),
            Field::ServiceAccount if value.contains('/') => exact(value.to_owned()),
            Field::ServiceAccount => exact(format!("{}/{value}", scope.namespace)),
            // Looked up as issuer/subject. Only an outer star is a wildcard, and two are more than one key can say.
            Field::RequestPrincipal if value.starts_with('*') && value.ends_with('*') => None,
            Field::RequestPrincipal if !value.contains('/') && !value.starts_with('*') && !value.ends_with('*') => {
                exact(format!("{value}/"))
            }
            Field::Host => HostPattern::parse(value).key(),
            // The template was read before: here it has no fault.
            Field::Path => PathPattern::parse(value, &mut At::root())?.key(),
            _ => StringPattern::parse(value).key(),
        }
    }
}

/// A principal's patterns: one for each trust domain that stands for its own.
fn principals(values: &[String], scope: &Scope<'_>) -> impl Iterator<Item = PrincipalPattern> {
    values.iter().flat_map(|value| scope.domains.expand_principal(value)).map(|value| PrincipalPattern::parse(&value))
}

fn named<N: ?Sized, P>(name: &Rc<N>, patterns: Box<[P]>) -> Box<Named<N, P>> {
    Box::new(Named { name: name.clone(), patterns })
}

fn metadata_pattern(value: &str) -> MetadataPattern {
    match value.strip_prefix('[').and_then(|value| value.strip_suffix(']')) {
        Some(item) => MetadataPattern { list: true, pattern: StringPattern::parse(item) },
        None => MetadataPattern { list: false, pattern: StringPattern::parse(value) },
    }
}

fn port(value: &str, at: &mut At) -> Option<u16> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse::<u16>() {
        Ok(port) if digits => Some(port),
        _ => at.fault(format_args!("{value:?}"), "expected a port from 0 to 65535"),
    }
}
