//! Which rules a request can match at all: rules are filed by their fields, so that ten thousand cost no more than ten.

use crate::attributes::{Attributes, Unavailable};
use crate::field::Field;
use crate::rule::Rule;
use http_match::{CandidateIndex, CandidateIndexBuilder, Term, namespaces};
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

/// Rules of which any may match.
#[derive(Debug)]
pub(crate) struct RuleSet {
    rules: Vec<Rule>,
    index: CandidateIndex<Field>,
}

/// Collects a [`RuleSet`].
#[derive(Debug, Default)]
pub(crate) struct RuleSetBuilder {
    rules: Vec<Rule>,
    index: CandidateIndexBuilder<Field>,
}

impl RuleSetBuilder {
    /// Adds a rule, with what an index can look up for it.
    pub(crate) fn push(&mut self, rule: Rule, mut keys: Vec<Term<Field>>) {
        // There are few methods and ports: filing by them helps only where there is nothing better, and costs memory.
        let selective = |field: &Field| !matches!(field, Field::Method | Field::Port);
        if keys.iter().any(|(field, _)| selective(field)) {
            keys.retain(|(field, _)| selective(field));
        }
        keys.shrink_to_fit();
        if let Ok(id) = u32::try_from(self.rules.len()) {
            self.index.add(id, keys);
            self.rules.push(rule);
        }
    }

    /// Builds the set out of what was collected.
    pub(crate) fn build(&mut self) -> RuleSet {
        let Self { rules, index } = std::mem::take(self);
        RuleSet { rules, index: index.build() }
    }
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
        // The two closures never run within each other; the cells are for the compiler.
        let attributes = RefCell::new(attributes);
        let (failure, found) = (Cell::new(None), Cell::new(None));
        let lookup = |field: &Field, sink: &mut dyn FnMut(&[u8])| {
            if let Ok(mut attributes) = attributes.try_borrow_mut()
                && let Err(error) = values(field, &mut attributes, sink)
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

/// Hands every value that rules can be filed by, and that the request has for a field, to `sink`.
fn values(field: &Field, attributes: &mut Attributes<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Unavailable> {
    match field {
        Field::Principal | Field::Namespace | Field::ServiceAccount => {
            for id in attributes.peer()?.into_iter().flat_map(|peer| peer.ids()) {
                match field {
                    Field::Principal => sink(id),
                    Field::Namespace => namespaces(id).for_each(&mut *sink),
                    _ => service_accounts(id, sink),
                }
            }
        }
        Field::RequestPrincipal => {
            if let Some((issuer, subject)) = attributes.request_principal()? {
                sink([issuer, "/", subject].concat().as_bytes());
            }
        }
        Field::Host => attributes.authority()?.into_iter().for_each(sink),
        Field::Method => attributes.headers()?.values(":method").for_each(sink),
        Field::Path => sink(attributes.path()?),
        Field::Port => {
            if let Some(port) = attributes.local_port()? {
                sink(port.to_string().as_bytes());
            }
        }
        Field::ServerName => attributes.server_name()?.into_iter().for_each(sink),
        Field::Header(name) => {
            attributes.headers()?.values(name.first().map_or("", String::as_str)).for_each(sink);
        }
        Field::Claim(path) => {
            if let Some(value) = attributes.claims()?.and_then(|claims| claims.at(path)) {
                value.any_text(&mut |text| {
                    sink(text.as_bytes());
                    false
                });
            }
        }
        Field::TrustDomain | Field::DirectAddress | Field::RemoteAddress | Field::LocalAddress | Field::Metadata(_) => {
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
