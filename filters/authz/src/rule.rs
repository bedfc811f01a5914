//! One compiled rule: who, to what, under which conditions; and the terms it is made of.

use crate::attributes::{Attributes, Unavailable};
use crate::claims::Value;
use crate::field::Field;
use crate::pattern::Pattern;
use std::net::IpAddr;

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

/// Holds when the field has a value that one of the patterns matches; an absent attribute has none.
#[derive(Debug)]
pub(crate) struct Term {
    /// Holds in the opposite case instead: the `not…` fields.
    pub(crate) negated: bool,
    /// What is compared.
    pub(crate) field: Field,
    /// What it is compared with.
    pub(crate) patterns: Box<[Pattern]>,
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
        if term.matches(attributes)? == term.negated {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Term {
    fn matches(&self, attributes: &mut Attributes<'_>) -> Result<bool, Unavailable> {
        Ok(match &self.field {
            // All URI SANs are the peer's identity, not only the first.
            Field::Principal | Field::Namespace | Field::ServiceAccount | Field::TrustDomain => {
                attributes.peer()?.is_some_and(|peer| peer.ids().any(|id| self.one_matches(id)))
            }
            Field::DirectAddress => self.contains(attributes.direct_address()?),
            Field::RemoteAddress => self.contains(attributes.remote_address()?),
            Field::LocalAddress => self.contains(attributes.local_address()?),
            Field::RequestPrincipal => attributes.request_principal()?.is_some_and(|(issuer, subject)| {
                self.patterns.iter().any(|pattern| pattern.matches_request_principal(issuer, subject))
            }),
            Field::Host => attributes.authority()?.is_some_and(|authority| self.one_matches(authority)),
            Field::Method => self.header_matches(":method", attributes)?,
            Field::Path => self.one_matches(attributes.path()?),
            Field::Port => {
                let port = attributes.local_port()?;
                port.is_some_and(|port| self.patterns.iter().any(|pattern| pattern.is_port(port)))
            }
            Field::ServerName => attributes.server_name()?.is_some_and(|name| self.one_matches(name)),
            Field::Header(name) => self.header_matches(name.first().map_or("", String::as_str), attributes)?,
            Field::Claim(path) => {
                let value = attributes.claims()?.and_then(|claims| claims.at(path));
                value.is_some_and(|value| value.any_text(&mut |text| self.one_matches(text.as_bytes())))
            }
            Field::Metadata(path) => {
                let value = attributes.metadata()?.and_then(|all| all.at(path));
                value.is_some_and(|value| self.metadata_matches(value))
            }
        })
    }

    fn one_matches(&self, value: &[u8]) -> bool {
        let empty_is_present = matches!(self.field, Field::Header(_) | Field::Method | Field::Host);
        self.patterns.iter().any(|pattern| pattern.matches(value, empty_is_present))
    }

    /// Each value is tested by itself: joined, `a` and `b` would be neither.
    fn header_matches(&self, name: &str, attributes: &mut Attributes<'_>) -> Result<bool, Unavailable> {
        Ok(attributes.headers()?.values(name).any(|value| self.one_matches(value)))
    }

    fn metadata_matches(&self, value: &Value) -> bool {
        self.patterns.iter().any(|pattern| match pattern {
            Pattern::Item(item) => value.any_item(&mut |text| item.matches(text.as_bytes(), false)),
            pattern => value.text().is_some_and(|text| pattern.matches(text.as_bytes(), false)),
        })
    }

    fn contains(&self, address: Option<IpAddr>) -> bool {
        address.is_some_and(|address| self.patterns.iter().any(|pattern| pattern.contains(address)))
    }
}
