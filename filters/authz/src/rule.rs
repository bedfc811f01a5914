//! One compiled rule: who, to what, under which conditions; and the tests it is made of.

use crate::attributes::{Attributes, Unavailable};
use crate::claims::Value;
use http_match::{
    AddressBlocks, HostPattern, NamespacePattern, PathPattern, PrincipalPattern, RequestPrincipalPattern,
    ServiceAccountPattern, StringPattern, TrustDomainPattern,
};
use std::net::IpAddr;
use std::rc::Rc;

/// A compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Which policy it belongs to.
    pub(crate) policy: u32,
    /// Its place in the policy.
    pub(crate) number: u32,
    /// Alternatives; empty matches everyone.
    pub(crate) from: Box<[Clause]>,
    /// Alternatives; empty matches everything.
    pub(crate) to: Box<[Clause]>,
    /// Further conditions.
    pub(crate) when: Clause,
}

/// Terms that must all hold.
pub(crate) type Clause = Box<[Term]>;

/// One test, or its opposite.
#[derive(Debug)]
pub(crate) struct Term {
    /// Whether it holds when the test does not: the `not…` fields.
    pub(crate) negated: bool,
    /// The test.
    pub(crate) test: Test,
}

/// Whether an attribute matches one of several values. An absent attribute matches none.
#[derive(Debug)]
pub(crate) enum Test {
    Principal(Box<[PrincipalPattern]>),
    Namespace(Box<[NamespacePattern]>),
    ServiceAccount(Box<[ServiceAccountPattern]>),
    TrustDomain(Box<[TrustDomainPattern]>),
    DirectAddress(Box<AddressBlocks>),
    RemoteAddress(Box<AddressBlocks>),
    LocalAddress(Box<AddressBlocks>),
    RequestPrincipal(Box<[RequestPrincipalPattern]>),
    Host(Box<[HostPattern]>),
    Method(Box<[StringPattern]>),
    Path(Box<[PathPattern]>),
    Port(Box<[u16]>),
    ServerName(Box<[StringPattern]>),
    Header(Box<Named<str, StringPattern>>),
    Claim(Box<Named<[String], StringPattern>>),
    Metadata(Box<Named<[String], MetadataPattern>>),
}

/// Values of an attribute that has a name of its own.
#[derive(Debug)]
pub(crate) struct Named<N: ?Sized, P> {
    pub(crate) name: Rc<N>,
    pub(crate) patterns: Box<[P]>,
}

/// A value of a metadata condition: for a text, or (`[…]`) for the elements of a list.
#[derive(Debug)]
pub(crate) struct MetadataPattern {
    pub(crate) list: bool,
    pub(crate) pattern: StringPattern,
}

impl MetadataPattern {
    fn matches(&self, value: &Value) -> bool {
        let matches = |text: &str| self.pattern.matches(text.as_bytes(), false);
        match self.list {
            true => value.list().iter().filter_map(Value::text).any(matches),
            false => value.text().is_some_and(matches),
        }
    }
}

/// A part of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `from`: no source matches.
    From,
    /// `to`: no operation matches.
    To,
    /// `when`: a condition does not hold.
    When,
}

impl Rule {
    /// Whether the rule matches.
    ///
    /// # Errors
    /// When an attribute that decides it is unavailable.
    pub(crate) fn matches(&self, attributes: &mut Attributes<'_>) -> Result<bool, Unavailable> {
        // Operations first: they need only headers as a rule, the others properties.
        Ok(any(&self.to, attributes)? && all(&self.when, attributes)? && any(&self.from, attributes)?)
    }

    /// The parts that do not match.
    ///
    /// # Errors
    /// As [`Rule::matches`].
    pub(crate) fn misses(&self, attributes: &mut Attributes<'_>) -> Result<Vec<Part>, Unavailable> {
        let parts = [
            (Part::From, any(&self.from, attributes)?),
            (Part::To, any(&self.to, attributes)?),
            (Part::When, all(&self.when, attributes)?),
        ];
        Ok(parts.into_iter().filter(|(_, matches)| !matches).map(|(part, _)| part).collect())
    }
}

fn any(clauses: &[Clause], attributes: &mut Attributes<'_>) -> Result<bool, Unavailable> {
    for clause in clauses {
        if all(clause, attributes)? {
            return Ok(true);
        }
    }
    Ok(clauses.is_empty())
}

fn all(clause: &[Term], attributes: &mut Attributes<'_>) -> Result<bool, Unavailable> {
    for term in clause {
        if term.test.matches(attributes)? == term.negated {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Test {
    fn matches(&self, attributes: &mut Attributes<'_>) -> Result<bool, Unavailable> {
        Ok(match self {
            Test::Principal(values) => any_id(attributes, |id| values.iter().any(|value| value.matches(id)))?,
            Test::Namespace(values) => any_id(attributes, |id| values.iter().any(|value| value.matches(id)))?,
            Test::ServiceAccount(values) => any_id(attributes, |id| values.iter().any(|value| value.matches(id)))?,
            Test::TrustDomain(values) => any_id(attributes, |id| values.iter().any(|value| value.matches(id)))?,
            Test::DirectAddress(blocks) => contain(blocks, attributes.direct_address()?),
            Test::RemoteAddress(blocks) => contain(blocks, attributes.remote_address()?),
            Test::LocalAddress(blocks) => contain(blocks, attributes.local_address()?),
            Test::RequestPrincipal(values) => attributes.request_principal()?.is_some_and(|(issuer, subject)| {
                values.iter().any(|value| value.matches(issuer.as_bytes(), subject.as_bytes()))
            }),
            Test::Host(values) => {
                let authority = attributes.authority()?;
                authority.is_some_and(|authority| values.iter().any(|value| value.matches_lower(authority)))
            }
            Test::Method(values) => any_header(":method", values, attributes)?,
            Test::Path(values) => {
                let path = attributes.path()?;
                values.iter().any(|value| value.matches(path))
            }
            Test::Port(ports) => attributes.local_port()?.is_some_and(|port| ports.contains(&port)),
            Test::ServerName(values) => attributes.server_name()?.is_some_and(|name| any_text(values, name)),
            Test::Header(header) => any_header(&header.name, &header.patterns, attributes)?,
            Test::Claim(claim) => {
                let value = attributes.claims()?.and_then(|claims| claims.at(&claim.name));
                let mut texts = value.into_iter().flat_map(Value::texts);
                texts.any(|text| any_text(&claim.patterns, text.as_bytes()))
            }
            Test::Metadata(metadata) => {
                let value = attributes.metadata()?.and_then(|all| all.at(&metadata.name));
                value.is_some_and(|value| metadata.patterns.iter().any(|pattern| pattern.matches(value)))
            }
        })
    }
}

/// Whether one of the peer's ids matches: all URI SANs are its identity, not only the first.
fn any_id(attributes: &mut Attributes<'_>, matches: impl FnMut(&[u8]) -> bool) -> Result<bool, Unavailable> {
    Ok(attributes.peer()?.is_some_and(|peer| peer.ids().any(matches)))
}

/// Whether one value of a header matches. Each is tested by itself: joined, `a` and `b` would be neither.
fn any_header(
    name: &str,
    patterns: &[StringPattern],
    attributes: &mut Attributes<'_>,
) -> Result<bool, Unavailable> {
    let mut values = attributes.headers()?.values(name);
    Ok(values.any(|value| patterns.iter().any(|pattern| pattern.matches(value, true))))
}

fn any_text(patterns: &[StringPattern], text: &[u8]) -> bool {
    patterns.iter().any(|pattern| pattern.matches(text, false))
}

fn contain(blocks: &AddressBlocks, address: Option<IpAddr>) -> bool {
    address.is_some_and(|address| blocks.contains(address))
}
