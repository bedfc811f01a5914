//! Which virtual host an authority belongs to.

use plugin_config::{At, Quoted};
use rustc_hash::FxHashMap;

/// Collects domains; see [`AuthorityTable`].
#[derive(Debug)]
pub struct AuthorityTableBuilder<T> {
    table: AuthorityTable<T>,
}

impl<T> Default for AuthorityTableBuilder<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> AuthorityTableBuilder<T> {
    /// Without domains.
    pub fn new() -> Self {
        Self {
            table: AuthorityTable {
                exact: FxHashMap::default(),
                suffixes: FxHashMap::default(),
                lengths: Vec::new(),
                any: None,
            },
        }
    }

    /// Adds a domain: `a.example.com`, `*.example.com`, or `*`; case does not count. A port, a wildcard anywhere else,
    /// and a domain that was added before are faults.
    pub fn insert(&mut self, domain: &str, value: T, at: &mut At) {
        if let Some(reason) = unusable(domain) {
            at.fault::<()>(Quoted(domain), reason);
            return;
        }
        let lower = domain.to_ascii_lowercase();
        let earlier = match lower.strip_prefix('*') {
            Some("") => self.table.any.replace(value),
            Some(suffix) => {
                if let Err(place) = self.table.lengths.binary_search_by(|length| suffix.len().cmp(length)) {
                    self.table.lengths.insert(place, suffix.len());
                }
                self.table.suffixes.insert(suffix.as_bytes().into(), value)
            }
            None => self.table.exact.insert(lower.as_bytes().into(), value),
        };
        if earlier.is_some() {
            at.fault::<()>(Quoted(domain), "another virtual host has this domain: each belongs to one");
        }
    }

    /// Builds the table.
    pub fn build(self) -> AuthorityTable<T> {
        self.table
    }
}

/// Why a domain cannot be used; `None` when it can.
fn unusable(domain: &str) -> Option<&'static str> {
    let name = domain.strip_prefix('*').unwrap_or(domain);
    if domain.is_empty() {
        Some("expected a domain, *.suffix or *")
    } else if name.len() > LONGEST {
        Some("longer than 255 bytes")
    } else if name.contains('*') || (domain.len() > name.len() && !name.is_empty() && !name.starts_with('.')) {
        Some("a wildcard must be the whole first label: *.example.com, or *")
    } else if without_port(domain.as_bytes()).len() < domain.len() {
        Some("a domain has no port (that of a request is ignored), and an IPv6 address stands in brackets")
    } else if name == "." || name.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control() || b == b'/') {
        Some("not a domain")
    } else {
        None
    }
}

/// Longest name that is looked up: DNS allows no longer one, and a longer one can only belong to `*`.
const LONGEST: usize = 255;

/// Domains of virtual hosts: exact before the longest `*.suffix` before `*`. The port of an authority is ignored, and
/// its case.
#[derive(Debug)]
pub struct AuthorityTable<T> {
    exact: FxHashMap<Box<[u8]>, T>,
    suffixes: FxHashMap<Box<[u8]>, T>,
    /// Distinct lengths of the suffixes, longest first.
    lengths: Vec<usize>,
    any: Option<T>,
}

impl<T> AuthorityTable<T> {
    /// Whether there is no domain.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffixes.is_empty() && self.any.is_none()
    }

    /// What `*` has, when it is the only domain: every authority finds it, unread.
    pub fn fixed(&self) -> Option<&T> {
        if self.exact.is_empty() && self.suffixes.is_empty() { self.any.as_ref() } else { None }
    }

    /// What the authority of a request belongs to.
    pub fn find(&self, authority: &[u8]) -> Option<&T> {
        let name = without_port(authority);
        let mut buffer = [0; LONGEST];
        let Some(lower) = buffer.get_mut(..name.len()) else {
            return self.any.as_ref();
        };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.exact.get(&*lower).or_else(|| self.by_suffix(lower)).or(self.any.as_ref())
    }

    fn by_suffix(&self, name: &[u8]) -> Option<&T> {
        // `*.example.com` needs at least one character for its star.
        let fitting = self.lengths.iter().filter(|length| **length < name.len());
        fitting.filter_map(|length| self.suffixes.get(name.get(name.len() - length..)?)).next()
    }
}

/// The name in an authority: what stands before the last colon, unless that is one of an IPv6 literal's, whose bracket
/// closes behind it. What follows the colon need not be a number, as in Envoy.
fn without_port(authority: &[u8]) -> &[u8] {
    let end = authority.iter().rposition(|&byte| byte == b':' || byte == b']');
    match end.and_then(|end| authority.split_at_checked(end)) {
        Some((name, [b':', ..])) => name,
        _ => authority,
    }
}
