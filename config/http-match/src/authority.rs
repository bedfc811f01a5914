//! Which virtual host an authority belongs to.

use plugin_config::{At, Keys, Quoted};

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
        Self { table: AuthorityTable { domains: Domains::default(), values: Vec::new(), any: None } }
    }

    /// Adds a domain: `a.example.com`, `*.example.com`, or `*`; case does not count. A port, a wildcard anywhere else,
    /// and a domain that was added before are faults.
    pub fn insert(&mut self, domain: &str, value: T, at: &mut At) {
        if let Some(reason) = unusable(domain) {
            at.refuse(Quoted(domain), reason);
            return;
        }
        let new = match domain {
            "*" => self.table.any.replace(value).is_none(),
            domain => {
                self.table.values.push(value);
                self.table.domains.insert(domain)
            }
        };
        if !new {
            at.refuse(Quoted(domain), "another virtual host has this domain: each belongs to one");
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
    domains: Domains,
    /// What each of `domains` has.
    values: Vec<T>,
    any: Option<T>,
}

impl<T> AuthorityTable<T> {
    /// Whether there is no domain.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.any.is_none()
    }

    /// What `*` has, when it is the only domain: every authority finds it, unread.
    pub fn fixed(&self) -> Option<&T> {
        if self.values.is_empty() { self.any.as_ref() } else { None }
    }

    /// What the authority of a request belongs to.
    pub fn find(&self, authority: &[u8]) -> Option<&T> {
        let number = self.domains.find(without_port(authority));
        number.and_then(|number| self.values.get(number as usize)).or(self.any.as_ref())
    }
}

/// Domains but `*`, numbered.
#[derive(Debug, Default)]
struct Domains {
    keys: Keys,
    /// Distinct lengths of the suffixes, longest first.
    lengths: Vec<usize>,
}

/// Tags of [`Domains::keys`].
const EXACT: u32 = 0;
const SUFFIX: u32 = 1;

impl Domains {
    /// Adds a domain; whether it is new.
    fn insert(&mut self, domain: &str) -> bool {
        let lower = domain.to_ascii_lowercase();
        let Some(suffix) = lower.strip_prefix('*') else {
            return self.keys.insert(EXACT, lower.as_bytes()).1;
        };
        if let Err(place) = self.lengths.binary_search_by(|length| suffix.len().cmp(length)) {
            self.lengths.insert(place, suffix.len());
        }
        self.keys.insert(SUFFIX, suffix.as_bytes()).1
    }

    /// The number of the domain that a name belongs to.
    fn find(&self, name: &[u8]) -> Option<u32> {
        // Most authorities are in lower case, as the keys are.
        if let Some(number) = self.keys.find(EXACT, name) {
            return Some(number);
        }
        let mut buffer = [0; LONGEST];
        let lower = buffer.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let other_case = lower != name;
        let exact = if other_case { self.keys.find(EXACT, lower) } else { None };
        exact.or_else(|| self.by_suffix(lower))
    }

    fn by_suffix(&self, name: &[u8]) -> Option<u32> {
        // `*.example.com` needs at least one character for its star.
        let fitting = self.lengths.iter().filter(|length| **length < name.len());
        fitting.filter_map(|length| self.keys.find(SUFFIX, name.get(name.len() - length..)?)).next()
    }
}

/// The name in an authority: what stands before the last colon, unless that is one of an IPv6 literal's, whose bracket
/// closes behind it. What follows the colon need not be a number, as in Envoy.
fn without_port(authority: &[u8]) -> &[u8] {
    split_port(authority).map_or(authority, |(name, _)| name)
}

/// The port that an authority names, if it names one.
pub fn port_of(authority: &[u8]) -> Option<u16> {
    let (_, port) = split_port(authority)?;
    let digits = std::str::from_utf8(port).ok().filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

fn split_port(authority: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut name = authority;
    while let [before @ .., last] = name {
        match last {
            b':' => return Some((before, authority.get(name.len()..)?)),
            b']' => return None,
            _ => name = before,
        }
    }
    None
}
