//! Phase → decision → edits.

use crate::action::{Ending, OperationsId, rewrite_path};
use crate::compile::{Compiled, Decision};
use crate::control_edits;
use crate::redirect::Redirect;
use crate::route::{Route, UnknownAuthority};
use crate::rule::Rule;
use filter_api::{
    Action, Captured, Filter, HostError, IdMap, LocalReply, Metric, ROUTE_PROPERTY, Root, Stream, StreamId,
    destination_port,
};
use http_match::{Found, MatchedUri, Request};
use std::borrow::Cow;

/// The filter over one compiled configuration.
pub(crate) struct HeaderRules {
    compiled: Compiled,
    counters: Counters,
    /// What the responses of streams in hand need: only of those whose rules or route change responses.
    pending: IdMap<StreamId, Vec<(OperationsId, Captured)>>,
}

#[derive(Clone, Copy)]
struct Counters {
    redirects: Metric,
    replies: Metric,
    not_found: Metric,
    unknown_authorities: Metric,
    errors: Metric,
}

/// What becomes of a request.
enum Outcome<'c> {
    Forward,
    Reply(Cow<'c, LocalReply>, Metric),
}

impl HeaderRules {
    pub(crate) fn new(compiled: Compiled, root: &mut Root<'_>) -> Self {
        let counters = Counters {
            redirects: root.counter("outrigger.header_rules.redirects"),
            replies: root.counter("outrigger.header_rules.replies"),
            not_found: root.counter("outrigger.header_rules.not_found"),
            unknown_authorities: root.counter("outrigger.header_rules.unknown_authorities"),
            errors: root.counter("outrigger.header_rules.errors"),
        };
        Self { compiled, counters, pending: IdMap::new() }
    }

    fn request(&mut self, stream: &mut Stream<'_>) -> Result<Outcome<'_>, HostError> {
        let mut turn = Turn { compiled: &self.compiled, counters: self.counters, responses: Vec::new() };
        let outcome = turn.request(stream)?;
        if !turn.responses.is_empty() {
            let pending = turn.capture(stream)?;
            self.pending.insert(stream.id(), pending);
        }
        Ok(outcome)
    }

    fn response(&self, stream: &mut Stream<'_>) -> Result<(), HostError> {
        let of = |id: OperationsId| self.compiled.operations.get(id);
        if let Some(constant) = &self.compiled.constant {
            let nothing = Captured::default();
            return constant.iter().filter_map(|id| of(*id)).try_for_each(|o| o.apply_response(&nothing, stream));
        }
        let pending = self.pending.get(stream.id()).into_iter().flatten();
        pending
            .filter_map(|(id, captured)| Some((of(*id)?, captured)))
            .try_for_each(|(operations, captured)| operations.apply_response(captured, stream))
    }
}

impl Filter for HeaderRules {
    fn on_request_headers(&mut self, stream: &mut Stream<'_>) -> Action {
        if self.compiled.constant.is_some() {
            return Action::Continue;
        }
        let errors = self.counters.errors;
        match self.request(stream) {
            Ok(Outcome::Forward) => Action::Continue,
            Ok(Outcome::Reply(reply, counter)) => {
                stream.root().add(counter, 1);
                stream.reply(&reply);
                Action::Pause
            }
            Err(error) => {
                log::warn!("a request passes unrouted: its headers or properties are {error}");
                stream.root().add(errors, 1);
                Action::Continue
            }
        }
    }

    fn on_response_headers(&mut self, stream: &mut Stream<'_>) {
        if let Err(error) = self.response(stream) {
            log::warn!("a response keeps its headers: they are {error}");
            stream.root().add(self.counters.errors, 1);
        }
    }

    fn on_stream_end(&mut self, stream: StreamId, _root: &mut Root<'_>) {
        self.pending.remove(stream);
    }
}

/// One request's way through the rules and the routes.
struct Turn<'c> {
    compiled: &'c Compiled,
    counters: Counters,
    /// The operations that will act on the response.
    responses: Vec<OperationsId>,
}

impl<'c> Turn<'c> {
    fn request(&mut self, stream: &mut Stream<'_>) -> Result<Outcome<'c>, HostError> {
        if self.compiled.strip {
            control_edits::strip(&self.compiled.cluster_header, stream)?;
        }
        match self.rules(stream)? {
            Outcome::Forward => self.route(stream),
            reply => Ok(reply),
        }
    }

    /// Every rule sees the request as the rules before it left it.
    fn rules(&mut self, stream: &mut Stream<'_>) -> Result<Outcome<'c>, HostError> {
        let table = &self.compiled.rules.table;
        let port = if table.needs_port() { self.addressed_port(stream)? } else { None };
        let mut next = 0;
        while let Some(found) = match table.fixed_from(next) {
            Some(found) => found,
            None => table.find_from(next, &view(stream, port)?),
        } {
            let Some(rule) = self.compiled.rules.rules.get(found.entry) else {
                break;
            };
            match self.rule(rule, found, stream)? {
                Outcome::Forward if !rule.stops => next = found.entry + 1,
                outcome => return Ok(outcome),
            }
        }
        Ok(Outcome::Forward)
    }

    fn rule(&mut self, rule: &'c Rule, found: Found, stream: &mut Stream<'_>) -> Result<Outcome<'c>, HostError> {
        for (name, value) in &rule.tags {
            let value = value.render_request(stream)?;
            tag(name.clone(), &value, stream);
        }
        self.operations(rule.operations, stream)?;
        let outcome = self.end(&rule.ending, found.uri, stream)?;
        rule.cluster.iter().try_for_each(|edit| stream.edit_request(edit))?;
        Ok(outcome)
    }

    fn route(&mut self, stream: &mut Stream<'_>) -> Result<Outcome<'c>, HostError> {
        let decision = match self.compiled.fixed_decision() {
            Some(decision) => decision,
            None => self.decide(stream)?,
        };
        match decision {
            Decision::Unrouted => Ok(Outcome::Forward),
            Decision::UnknownAuthority => self.unknown_authority(stream),
            Decision::NoRoute(_) => {
                Ok(Outcome::Reply(Cow::Borrowed(&self.compiled.routes.no_route), self.counters.not_found))
            }
            Decision::Route(_, route, found) => self.follow(route, found, stream),
        }
    }

    /// Asks for the port only where the authority's virtual host or one of its routes needs it.
    fn decide(&self, stream: &mut Stream<'_>) -> Result<Decision<'c>, HostError> {
        let routes = &self.compiled.routes;
        let mut port = if routes.needs_port() { self.addressed_port(stream)? } else { None };
        let authority = stream.request_headers()?.get(":authority").unwrap_or_default();
        let Some(host) = routes.find(authority, port) else {
            return Ok(Decision::UnknownAuthority);
        };
        if host.needs_port() && !routes.needs_port() {
            port = self.addressed_port(stream)?;
        }
        Ok(host.decide(&view(stream, port)?))
    }

    fn addressed_port(&self, stream: &mut Stream<'_>) -> Result<Option<u16>, HostError> {
        let port = destination_port(stream)?;
        let authority = stream.request_headers()?.get(":authority").unwrap_or_default();
        Ok(self.compiled.addressed_port(port, authority))
    }

    fn unknown_authority(&self, stream: &mut Stream<'_>) -> Result<Outcome<'c>, HostError> {
        let counter = self.counters.unknown_authorities;
        match &self.compiled.routes.unknown {
            UnknownAuthority::Reply(reply) => Ok(Outcome::Reply(Cow::Borrowed(reply), counter)),
            UnknownAuthority::Forward(cluster) => {
                stream.root().add(counter, 1);
                cluster.iter().try_for_each(|edit| stream.edit_request(edit))?;
                Ok(Outcome::Forward)
            }
        }
    }

    fn follow(&mut self, route: &'c Route, found: Found, stream: &mut Stream<'_>) -> Result<Outcome<'c>, HostError> {
        if let Some(id) = &route.id {
            tag(ROUTE_PROPERTY, id.as_bytes(), stream);
        }
        if matches!(route.ending, Ending::Forward(_)) {
            self.operations(route.operations, stream)?;
        } else {
            self.respond_with(route.operations);
        }
        let outcome = self.end(&route.ending, found.uri, stream)?;
        route.edits.iter().try_for_each(|edit| stream.edit_request(edit))?;
        Ok(outcome)
    }

    /// Changes the request, and remembers what will change the response.
    fn operations(&mut self, id: Option<OperationsId>, stream: &mut Stream<'_>) -> Result<(), HostError> {
        self.respond_with(id);
        match id.and_then(|id| self.compiled.operations.get(id)) {
            Some(operations) => operations.apply_request(stream),
            None => Ok(()),
        }
    }

    fn respond_with(&mut self, id: Option<OperationsId>) {
        let responds = |id: &OperationsId| self.compiled.operations.get(*id).is_some_and(|o| o.has_response());
        self.responses.extend(id.filter(responds));
    }

    fn end(&self, ending: &'c Ending, matched: MatchedUri, stream: &mut Stream<'_>) -> Result<Outcome<'c>, HostError> {
        match ending {
            Ending::Forward(None) => Ok(Outcome::Forward),
            Ending::Forward(Some(rewrite)) => rewrite_path(rewrite, matched, stream).map(|()| Outcome::Forward),
            Ending::Redirect(redirect) => self.redirect(redirect, matched, stream),
            Ending::Reply(reply) => Ok(Outcome::Reply(Cow::Borrowed(reply), self.counters.replies)),
        }
    }

    fn redirect(
        &self,
        redirect: &Redirect,
        matched: MatchedUri,
        stream: &mut Stream<'_>,
    ) -> Result<Outcome<'c>, HostError> {
        let port = if redirect.needs_port() { self.addressed_port(stream)? } else { None };
        let reply = redirect.reply(&view(stream, port)?, matched);
        Ok(Outcome::Reply(Cow::Owned(reply), self.counters.redirects))
    }

    /// Keeps what the response needs of the request, as it leaves this filter.
    fn capture(&self, stream: &mut Stream<'_>) -> Result<Vec<(OperationsId, Captured)>, HostError> {
        let mut captured = Vec::with_capacity(self.responses.len());
        for id in &self.responses {
            if let Some(operations) = self.compiled.operations.get(*id) {
                captured.push((*id, operations.capture(stream)?));
            }
        }
        Ok(captured)
    }
}

/// Sets a property. Routing does not depend on it, so it goes on where a host refuses.
fn tag(name: impl Into<Cow<'static, str>>, value: &[u8], stream: &mut Stream<'_>) {
    if let Err(error) = stream.set_property(name, value) {
        log::warn!("later filters do not learn the route of a request: {error}");
    }
}

/// The request as it is now.
fn view<'s>(stream: &'s mut Stream<'_>, port: Option<u16>) -> Result<Request<'s>, HostError> {
    let mut request = Request::new(stream.request_headers()?);
    request.port = port;
    Ok(request)
}
