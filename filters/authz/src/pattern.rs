//! One value of a policy, compiled.

use http_match::{
    AddressBlocks, HostPattern, NamespacePattern, PathPattern, PrincipalPattern, RequestPrincipalPattern,
    ServiceAccountPattern, StringPattern, TrustDomainPattern,
};
use std::net::IpAddr;

/// One value, or (addresses) one list of values. A single type for all, so that a module carries the code for lists of
/// them once.
#[derive(Debug)]
pub(crate) enum Pattern {
    Text(StringPattern),
    /// For an element of a list.
    Item(StringPattern),
    Host(HostPattern),
    Path(PathPattern),
    Principal(PrincipalPattern),
    Namespace(NamespacePattern),
    ServiceAccount(ServiceAccountPattern),
    TrustDomain(TrustDomainPattern),
    RequestPrincipal(Box<RequestPrincipalPattern>),
    Port(u16),
    Blocks(Box<AddressBlocks>),
}

impl Pattern {
    /// Whether a text matches; `empty_is_present` says whether `*` takes an empty one.
    pub(crate) fn matches(&self, value: &[u8], empty_is_present: bool) -> bool {
        match self {
            Pattern::Text(pattern) => pattern.matches(value, empty_is_present),
            Pattern::Host(pattern) => pattern.matches_lower(value),
            Pattern::Path(pattern) => pattern.matches(value),
            Pattern::Principal(pattern) => pattern.matches(value),
            Pattern::Namespace(pattern) => pattern.matches(value),
            Pattern::ServiceAccount(pattern) => pattern.matches(value),
            Pattern::TrustDomain(pattern) => pattern.matches(value),
            Pattern::Item(_) | Pattern::RequestPrincipal(_) | Pattern::Port(_) | Pattern::Blocks(_) => false,
        }
    }

    /// Whether a token's issuer and subject match.
    pub(crate) fn matches_request_principal(&self, issuer: &str, subject: &str) -> bool {
        matches!(self, Pattern::RequestPrincipal(pattern) if pattern.matches(issuer.as_bytes(), subject.as_bytes()))
    }

    /// Whether it is this port.
    pub(crate) fn is_port(&self, port: u16) -> bool {
        matches!(self, Pattern::Port(own) if *own == port)
    }

    /// Whether an address is in one of the blocks.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        matches!(self, Pattern::Blocks(blocks) if blocks.contains(address))
    }
}
