//! Which rules a request can match at all: rules are filed by attributes, so that ten thousand cost no more than ten.

use crate::attributes::{Attributes, Unavailable};
use crate::claims::Value;
use crate::rule::Rule;
use http_match::{CandidateIndex, CandidateIndexBuilder, Term, namespaces};
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;

/// An attribute that rules are filed by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Attribute {
    Principal,
    Namespace,
    ServiceAccount,
    RequestPrincipal,
    Host,
    Method,
    Path,
    Port,
    ServerName,
    Header(Rc<str>),
    Claim(Rc<[String]>),
}

/// Rules of which any may match.
#[derive(Debug)]
pub(crate) struct RuleSet {
    rules: Box<[Rule]>,
    index: CandidateIndex<Attribute>,
}

/// Collects a [`RuleSet`].
#[derive(Debug, Default)]
pub(crate) struct RuleSetBuilder {
    rules: Vec<Rule>,
    index: CandidateIndexBuilder<Attribute>,
}

impl RuleSetBuilder {
    /// Adds a rule, with what an index can look up for it.
    pub(crate) fn push(&mut self, rule: Rule, mut keys: Vec<Term<Attribute>>) {
        // There are few methods and ports: filing by them helps only where there is nothing better, and costs memory.
        if keys.iter().any(|(attribute, _)| is_selective(attribute)) {
            keys.retain(|(attribute, _)| is_selective(attribute));
        }
        if let Ok(id) = u32::try_from(self.rules.len()) {
            self.index.add(id, keys);
            self.rules.push(rule);
        }
    }

    /// Builds the set.
    pub(crate) fn build(self) -> RuleSet {
        RuleSet { rules: self.rules.into(), index: self.index.build() }
    }
}

fn is_selective(attribute: &Attribute) -> bool {
    !matches!(attribute, Attribute::Method | Attribute::Port)
}

impl RuleSet {
    /// Whether there is no rule.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// All rules, in order.
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The first rule that matches.
    ///
    /// # Errors
    /// When an attribute that decides about one of the rules before it is unavailable.
    pub(crate) fn first_match(&self, attributes: &mut Attributes<'_>) -> Result<Option<&Rule>, Unavailable> {
        if self.is_empty() {
            return Ok(None);
        }
        let attributes = RefCell::new(attributes);
        let (failure, found) = (Cell::new(None), Cell::new(None));
        let lookup = |attribute: &Attribute, sink: &mut dyn FnMut(&[u8])| {
            if let Ok(mut attributes) = attributes.try_borrow_mut()
                && let Err(error) = values(attribute, &mut attributes, sink)
            {
                failure.set(Some(error));
            }
        };
        let visit = |id: u32| {
            let (Some(rule), None) = (self.rules.get(id as usize), failure.get()) else {
                return ControlFlow::Break(());
            };
            match attributes.try_borrow_mut().map(|mut attributes| rule.matches(&mut attributes)) {
                Ok(Ok(true)) => found.set(Some(rule)),
                Ok(Err(error)) => failure.set(Some(error)),
                _ => return ControlFlow::Continue(()),
            }
            ControlFlow::Break(())
        };
        let _ = self.index.candidates(lookup, visit);
        match failure.get() {
            Some(error) => Err(error),
            None => Ok(found.get()),
        }
    }
}

/// Hands every value that the request has for an attribute to `sink`.
fn values(
    attribute: &Attribute,
    attributes: &mut Attributes<'_>,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), Unavailable> {
    match attribute {
        Attribute::Principal => attributes.peer()?.into_iter().flat_map(|peer| peer.ids()).for_each(sink),
        Attribute::Namespace => {
            attributes.peer()?.into_iter().flat_map(|peer| peer.ids()).flat_map(namespaces).for_each(sink);
        }
        Attribute::ServiceAccount => {
            attributes.peer()?.into_iter().flat_map(|peer| peer.ids()).for_each(|id| service_accounts(id, sink));
        }
        Attribute::RequestPrincipal => {
            if let Some((issuer, subject)) = attributes.request_principal()? {
                sink([issuer, "/", subject].concat().as_bytes());
            }
        }
        Attribute::Host => attributes.authority()?.into_iter().for_each(sink),
        Attribute::Method => attributes.headers()?.values(":method").for_each(sink),
        Attribute::Path => sink(attributes.path()?),
        Attribute::Port => attributes.local_port()?.into_iter().for_each(|port| sink(port.to_string().as_bytes())),
        Attribute::ServerName => attributes.server_name()?.into_iter().for_each(sink),
        Attribute::Header(name) => attributes.headers()?.values(name).for_each(sink),
        Attribute::Claim(path) => {
            let value = attributes.claims()?.and_then(|claims| claims.at(path));
            value.into_iter().flat_map(Value::texts).for_each(|text| sink(text.as_bytes()));
        }
    }
    Ok(())
}

/// Every `namespace/account` that an id can be read to name.
fn service_accounts(id: &[u8], sink: &mut dyn FnMut(&[u8])) {
    const SEPARATOR: &[u8] = b"/sa/";
    for namespace in namespaces(id) {
        for (start, _) in id.windows(SEPARATOR.len()).enumerate().filter(|(_, window)| *window == SEPARATOR) {
            let account = id.get(start.saturating_add(SEPARATOR.len())..).unwrap_or_default();
            let account = account.split(|&byte| byte == b'/').next().unwrap_or_default();
            sink(&[namespace, b"/", account].concat());
        }
    }
}
