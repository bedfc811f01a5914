//! Who is calling: SPIFFE identities against AuthorizationPolicy's source fields, and request principals.

use crate::{Key, StringPattern};
use plugin_config::{At, Quoted};

/// What every SPIFFE id starts with.
const SCHEME: &[u8] = b"spiffe://";

/// The trust domains a workload counts as its own: MeshConfig's `trustDomain` first, then `trustDomainAliases`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomains(pub Vec<String>);

impl TrustDomains {
    fn has(&self, domain: &str) -> bool {
        self.0.iter().any(|own| own == domain || wildcard(own, domain) || wildcard(domain, own))
    }

    /// The principals that a policy's value stands for. A full one (`TD/ns/NS/sa/SA`) of an own trust domain, or of
    /// `cluster.local` (which in a policy means "ours"), stands for the same one in each own trust domain; any other
    /// for itself.
    pub fn expand_principal(&self, value: &str) -> Vec<String> {
        let Some((domain, rest)) = value.split_once('/') else {
            return vec![value.to_owned()];
        };
        let full = rest.split('/').count() == 4;
        // Without an own domain a value stays: one that stood for none would never match, and a DENY never deny.
        if self.0.is_empty() || !full || domain == "*" || !(domain == "cluster.local" || self.has(domain)) {
            return vec![value.to_owned()];
        }
        let mut expanded: Vec<String> = Vec::new();
        for own in &self.0 {
            // A leading star that covers an own domain stays as it is written. A trailing one cannot: in a principal
            // it would stand in the middle, where a star is a character.
            let covered = domain.strip_prefix('*').is_some_and(|suffix| own.ends_with(suffix));
            let domain = if covered { domain } else { own };
            let principal = format!("{domain}/{rest}");
            if !expanded.contains(&principal) {
                expanded.push(principal);
            }
        }
        expanded
    }

    /// The trust domains that a policy's value stands for: all own ones for an own one, else itself.
    pub fn expand_trust_domain(&self, value: &str) -> Vec<String> {
        if self.0.iter().any(|own| own == value) { self.0.clone() } else { vec![value.to_owned()] }
    }
}

/// Whether `pattern`, with a star at its start or end, covers `text`.
fn wildcard(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(suffix), _) => text.ends_with(suffix),
        (None, Some(prefix)) => text.starts_with(prefix),
        (None, None) => false,
    }
}

/// `principals`: a pattern over a SPIFFE id without its `spiffe://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalPattern(StringPattern);

impl PrincipalPattern {
    /// Reads a pattern. One that includes `spiffe://` can never match; Istio takes it as it is.
    pub fn parse(text: &str) -> Self {
        let with_scheme = |text: &[u8]| [SCHEME, text].concat().into();
        Self(match StringPattern::parse(text) {
            StringPattern::Exact(text) => StringPattern::Exact(with_scheme(&text)),
            StringPattern::Prefix(text) => StringPattern::Prefix(with_scheme(&text)),
            other => other,
        })
    }

    /// Whether an id, `spiffe://` included, matches. `*` is any certificate with an id; `*x` any SPIFFE id that ends so.
    pub fn matches(&self, id: &[u8]) -> bool {
        match &self.0 {
            StringPattern::Suffix(suffix) => id.strip_prefix(SCHEME).is_some_and(|id| id.ends_with(suffix)),
            pattern => pattern.matches(id, false),
        }
    }

    /// What an index of ids can look up for it.
    pub fn key(&self) -> Option<Key> {
        self.0.key()
    }
}

/// `namespaces`: every `*` is any text. Matches where `/ns/<namespace>/` stands, in whatever trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespacePattern {
    /// What must be found one after the other: `/ns/`, the text between stars, `/`.
    pieces: Vec<Box<[u8]>>,
}

impl NamespacePattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Self {
        Self { pieces: format!("/ns/{text}/").split('*').map(|piece| piece.as_bytes().into()).collect() }
    }

    /// Whether an id matches.
    pub fn matches(&self, id: &[u8]) -> bool {
        let mut rest = id;
        self.pieces.iter().all(|piece| match find(rest, piece) {
            Some(start) => {
                rest = rest.get(start + piece.len()..).unwrap_or_default();
                true
            }
            None => false,
        })
    }

    /// What an index of [`namespaces`] can look up for it; none when it has a star or a slash.
    pub fn key(&self) -> Option<Key> {
        match self.pieces.as_slice() {
            [only] => {
                let name = only.strip_prefix(b"/ns/")?.strip_suffix(b"/")?;
                (!name.contains(&b'/')).then(|| Key::Exact(name.into()))
            }
            _ => None,
        }
    }
}

/// Every namespace an id names: the segment behind each `/ns/` that a slash ends.
pub fn namespaces(id: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = id.windows(4).enumerate().filter(|(_, window)| *window == b"/ns/").map(|(i, _)| i + 4);
    starts.filter_map(|start| {
        let rest = id.get(start..)?;
        rest.get(..rest.iter().position(|&byte| byte == b'/')?)
    })
}

/// `serviceAccounts`: `namespace/name`, to the letter, in whatever trust domain. Further segments may stand between
/// namespace and account and behind the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccountPattern {
    /// `/ns/<namespace>/`
    namespace: Box<[u8]>,
    /// `sa/<name>`
    account: Box<[u8]>,
}

/// Longest `serviceAccounts` value: Istio's validation.
const LONGEST_SERVICE_ACCOUNT: usize = 320;

impl ServiceAccountPattern {
    /// Reads `namespace/name`, or `name` in the policy's own namespace.
    pub fn parse(text: &str, policy_namespace: &str, at: &mut At) -> Option<Self> {
        let (namespace, name) = text.split_once('/').unwrap_or((policy_namespace, text));
        let reason = if text.len() > LONGEST_SERVICE_ACCOUNT {
            "longer than 320 characters"
        } else if text.contains('*') {
            "a service account has no wildcard"
        } else if name.contains('/') || name.is_empty() || namespace.is_empty() {
            "expected a name, or namespace/name"
        } else {
            return Some(Self {
                namespace: format!("/ns/{namespace}/").into_bytes().into(),
                account: format!("sa/{name}").into_bytes().into(),
            });
        };
        at.fault(Quoted(text), reason)
    }

    /// Whether an id matches.
    pub fn matches(&self, id: &[u8]) -> bool {
        let Some(id) = id.strip_prefix(SCHEME) else {
            return false;
        };
        // The trust domain before it has at least one character.
        let starts = id.windows(self.namespace.len()).enumerate().skip(1).filter(|(_, part)| **part == *self.namespace);
        starts.filter_map(|(i, _)| id.get(i + self.namespace.len()..)).any(|rest| self.account_in(rest))
    }

    fn account_in(&self, rest: &[u8]) -> bool {
        let ends = |after: &[u8]| after.is_empty() || (after.first() == Some(&b'/') && after.len() > 1);
        let at = |start: usize| rest.get(start..).and_then(|rest| rest.strip_prefix(&*self.account)).is_some_and(ends);
        at(0) || rest.iter().enumerate().skip(1).any(|(i, &byte)| byte == b'/' && at(i + 1))
    }
}

/// `trustDomains`: the trust domain of a SPIFFE id, with one star at most, which does not cross a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomainPattern(StringPattern);

impl TrustDomainPattern {
    /// Reads a pattern.
    pub fn parse(text: &str, at: &mut At) -> Option<Self> {
        let inner = text.strip_prefix('*').or_else(|| text.strip_suffix('*')).unwrap_or(text);
        if text.is_empty() || inner.contains(['*', '/']) {
            return at.fault(Quoted(text), "expected a trust domain, with one star at most, at its start or end");
        }
        Some(Self(StringPattern::parse(text)))
    }

    /// Whether an id matches.
    pub fn matches(&self, id: &[u8]) -> bool {
        let Some(id) = id.strip_prefix(SCHEME) else {
            return false;
        };
        match (&self.0, id.iter().position(|&byte| byte == b'/')) {
            (StringPattern::Present, _) => true,
            (pattern, Some(end)) => id.get(..end).is_some_and(|domain| pattern.matches(domain, true)),
            (_, None) => false,
        }
    }
}

/// `requestPrincipals`: `<iss>/<sub>`, split at the last slash, each side with a star at its outer end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPrincipalPattern {
    issuer: StringPattern,
    subject: StringPattern,
}

impl RequestPrincipalPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Self {
        let (issuer, subject) = match text.rsplit_once('/') {
            // A leading star wins over a trailing one, which is then a character.
            Some((issuer, subject)) if issuer.starts_with('*') => (StringPattern::parse(issuer), exact(subject)),
            Some((issuer, subject)) => (exact(issuer), inner_star(subject)),
            None => match StringPattern::parse(text) {
                StringPattern::Present => (StringPattern::Present, StringPattern::Present),
                StringPattern::Prefix(prefix) => (StringPattern::Prefix(prefix), StringPattern::Present),
                StringPattern::Suffix(suffix) => (StringPattern::Present, StringPattern::Suffix(suffix)),
                // Without a slash there is no subject: only an empty one equals it.
                StringPattern::Exact(issuer) => (StringPattern::Exact(issuer), StringPattern::Exact(Box::default())),
            },
        };
        Self { issuer, subject }
    }

    /// Whether a verified token's `iss` and `sub` match; a star needs at least one character.
    pub fn matches(&self, issuer: &[u8], subject: &[u8]) -> bool {
        self.issuer.matches(issuer, false) && self.subject.matches(subject, false)
    }
}

fn exact(text: &str) -> StringPattern {
    StringPattern::Exact(text.as_bytes().into())
}

/// The subject's side: a star only at its end.
fn inner_star(text: &str) -> StringPattern {
    match text.strip_suffix('*') {
        Some("") => StringPattern::Present,
        Some(prefix) => StringPattern::Prefix(prefix.as_bytes().into()),
        None => exact(text),
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    text.windows(part.len()).position(|window| window == part)
}
