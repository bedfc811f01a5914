//! The filter: asks providers, decides, answers, counts.

use crate::attributes::{Attributes, Surroundings, Unavailable};
use crate::audit::Audit;
use crate::compile::Compiled;
use crate::config::Config;
use crate::decision::{Decision, Policies, RuleId};
use crate::ext_authz::{Change, Changes, Outcome, Provider, edited_target};
use filter_api::{
    Action, CallEvent, CallId, Filter, HeaderEdit, HostError, IdMap, LocalReply, Metric, Root, Stream, StreamId,
};
use plugin_config::{At, Faults};

/// Makes the filter from its plugin configuration.
///
/// # Errors
/// Every fault of the configuration.
pub fn configure(configuration: &[u8], root: &mut Root<'_>) -> Result<Vec<Box<dyn Filter>>, Faults> {
    let mut at = At::root();
    let compiled = Compiled::read(&plugin_config::parse(configuration)?, &mut at);
    match compiled {
        Some(compiled) if at.is_good() => Ok(vec![Box::new(Authz::new(compiled, root))]),
        _ => Err(at.into_faults()),
    }
}

/// Makes the filter from a configuration that was read; faults are recorded in `at`.
pub fn build(config: &Config, at: &mut At, root: &mut Root<'_>) -> Option<Box<dyn Filter>> {
    Some(Box::new(Authz::new(Compiled::of(config, at)?, root)))
}

/// Only the policies of a configuration, for whoever explains decisions without a proxy.
pub fn policies(config: &Config, at: &mut At) -> Option<Policies> {
    Compiled::of(config, at).map(|mut compiled| compiled.take_policies())
}

struct Authz {
    policies: Policies,
    providers: Vec<Provider>,
    surroundings: Surroundings,
    judges_connections: bool,
    /// Whether some policy decides nothing and is noted only.
    notes: bool,
    audit: Audit,
    metrics: Metrics,
    /// Streams that providers are, or were, asked about.
    asked: IdMap<StreamId, Asked>,
    /// Whose answer each call will bring.
    calls: IdMap<CallId, StreamId>,
}

/// What is remembered about a stream that providers are asked about.
#[derive(Default)]
struct Asked {
    /// The provider it waits for.
    held: Option<Held>,
    /// What providers add to the response.
    response: Vec<Change>,
}

/// A stream that waits for a provider.
struct Held {
    /// Which of [`Policies::custom`] it is about.
    custom: usize,
    rule: RuleId,
    call: CallId,
    outcome: Option<Outcome>,
}

/// Counters, by name under `outrigger.authz.`.
struct Metrics {
    allowed: Metric,
    denied: Metric,
    shadow_allowed: Metric,
    shadow_denied: Metric,
    audit_matched: Metric,
    ext_authz_ok: Metric,
    ext_authz_denied: Metric,
    ext_authz_error: Metric,
    ext_authz_failure_allowed: Metric,
}

impl Metrics {
    fn define(root: &mut Root<'_>) -> Self {
        Self {
            allowed: root.counter("outrigger.authz.allowed"),
            denied: root.counter("outrigger.authz.denied"),
            shadow_allowed: root.counter("outrigger.authz.shadow_allowed"),
            shadow_denied: root.counter("outrigger.authz.shadow_denied"),
            audit_matched: root.counter("outrigger.authz.audit_matched"),
            ext_authz_ok: root.counter("outrigger.authz.ext_authz.ok"),
            ext_authz_denied: root.counter("outrigger.authz.ext_authz.denied"),
            ext_authz_error: root.counter("outrigger.authz.ext_authz.error"),
            ext_authz_failure_allowed: root.counter("outrigger.authz.ext_authz.failure_mode_allowed"),
        }
    }
}

impl Filter for Authz {
    fn on_request_headers(&mut self, stream: &mut Stream<'_>) -> Action {
        if self.policies.is_empty() {
            return Action::Continue;
        }
        self.ask_from(0, stream)
    }

    fn on_new_connection(&mut self, connection: &mut Stream<'_>) -> Action {
        match self.judge(connection) {
            Ok(()) => {
                connection.root().add(self.metrics.allowed, 1);
                return Action::Continue;
            }
            Err(Refused::By(rule)) => {
                let id = self.id(rule);
                self.audit.closed(connection, &id);
                let details = format!("rbac_access_denied_matched_policy[{id}]");
                // The log has the rule all the same.
                let _ = connection.set_property("outrigger.termination_details", details.as_bytes());
            }
            Err(Refused::TooEarly) => {
                log::error!("a connection is closed because this proxy knows who its client is only later");
            }
            Err(Refused::Undecided(error)) => {
                log::error!("a connection is closed because an attribute is unavailable: {error}");
            }
        }
        connection.root().add(self.metrics.denied, 1);
        connection.close();
        Action::Pause
    }

    fn on_wake(&mut self, stream: &mut Stream<'_>) -> Action {
        let held = self.asked.get_mut(stream.id()).and_then(|asked| asked.held.take_if(|held| held.outcome.is_some()));
        match held {
            Some(Held { custom, rule, outcome: Some(outcome), .. }) => self.apply(custom, rule, outcome, stream),
            _ => Action::Pause,
        }
    }

    fn on_response_headers(&mut self, stream: &mut Stream<'_>) {
        if self.asked.is_empty() {
            return;
        }
        let changes = self.asked.get_mut(stream.id()).map(|asked| std::mem::take(&mut asked.response));
        for change in changes.unwrap_or_default() {
            let exists = stream.response_headers().is_ok_and(|headers| headers.get(&change.name).is_some());
            let edited = change.edit(exists).map_or(Ok(()), |edit| stream.edit_response(&edit));
            if let Err(error) = edited {
                log::warn!("the response header {} of a provider cannot be set: {error}", change.name);
            }
        }
    }

    fn on_stream_end(&mut self, stream: StreamId, _root: &mut Root<'_>) {
        if let Some(held) = self.asked.remove(stream).and_then(|asked| asked.held) {
            self.calls.remove(held.call);
        }
    }

    fn on_call(&mut self, call: CallId, event: CallEvent, root: &mut Root<'_>) {
        // A stream that has ended meanwhile took its entry along.
        let Some(stream) = self.calls.remove(call) else {
            return;
        };
        let Some(held) = self.asked.get_mut(stream).and_then(|asked| asked.held.as_mut()) else {
            return;
        };
        let provider = self.policies.custom.get(held.custom).and_then(|custom| self.providers.get(custom.provider?));
        if let Some(provider) = provider {
            held.outcome = Some(provider.outcome(call, event, root));
            root.wake(stream);
        }
    }
}

impl Authz {
    fn new(mut compiled: Compiled, root: &mut Root<'_>) -> Self {
        let policies = compiled.take_policies();
        Self {
            notes: policies.notes(),
            policies,
            providers: compiled.providers,
            surroundings: Surroundings { peer_address: compiled.peer_address, ..Surroundings::default() },
            judges_connections: compiled.judges_connections,
            audit: Audit { log_denials: compiled.log_denials },
            metrics: Metrics::define(root),
            asked: IdMap::new(),
            calls: IdMap::new(),
        }
    }

    /// Goes through the CUSTOM rules from those of the `first` provider on, then through the others.
    fn ask_from(&mut self, first: usize, stream: &mut Stream<'_>) -> Action {
        for custom in first..self.policies.custom.len() {
            match self.asks(custom, stream) {
                Err(error) => return self.refuse_undecided(error, stream),
                Ok(None) => {}
                Ok(Some(rule)) => {
                    if let Some(action) = self.ask(custom, rule, stream) {
                        return action;
                    }
                }
            }
        }
        self.decide(stream)
    }

    /// The CUSTOM rule for which a provider must be asked.
    fn asks(&mut self, custom: usize, stream: &mut Stream<'_>) -> Result<Option<RuleId>, Unavailable> {
        let Self { policies, surroundings, .. } = self;
        let Some(custom) = policies.custom.get(custom) else {
            return Ok(None);
        };
        let rule = custom.rules.first_match(&mut Attributes::new(stream, surroundings))?;
        Ok(rule.map(RuleId::from))
    }

    /// Asks a provider. `None`: it could not be asked, and that lets requests pass.
    fn ask(&mut self, custom: usize, rule: RuleId, stream: &mut Stream<'_>) -> Option<Action> {
        let position = self.policies.custom.get(custom).and_then(|custom| custom.provider);
        let Some(provider) = position.and_then(|position| self.providers.get(position)) else {
            return Some(self.refuse_unaskable(custom, rule, stream));
        };
        match provider.call(stream, &self.surroundings) {
            Ok(call) => {
                let id = stream.id();
                self.calls.insert(call, id);
                if let Some(asked) = self.asked.get_or_default(id) {
                    asked.held = Some(Held { custom, rule, call, outcome: None });
                }
                Some(Action::Pause)
            }
            Err(error) => self.failed(custom, rule, &error.to_string(), stream),
        }
    }

    /// Does what a provider decided, and goes on.
    fn apply(&mut self, custom: usize, rule: RuleId, outcome: Outcome, stream: &mut Stream<'_>) -> Action {
        let refused = match outcome {
            Outcome::Allow(changes) => {
                stream.root().add(self.metrics.ext_authz_ok, 1);
                match self.change(changes, stream) {
                    Ok(()) => None,
                    Err(error) => {
                        let error = format!("the request cannot be changed as the provider wants: {error}");
                        self.failed(custom, rule, &error, stream)
                    }
                }
            }
            Outcome::Deny(reply) => {
                stream.root().add(self.metrics.ext_authz_denied, 1);
                let name = self.policies.custom.get(custom).map_or("", |custom| &custom.name);
                let id = self.policies.id(rule);
                self.audit.provider(stream, "ext_authz_denied", name, &id, reply.status, "");
                Some(self.refuse(&reply, stream))
            }
            Outcome::Failed(reason) => self.failed(custom, rule, &reason, stream),
        };
        refused.unwrap_or_else(|| self.ask_from(custom.saturating_add(1), stream))
    }

    fn change(&mut self, changes: Changes, stream: &mut Stream<'_>) -> Result<(), HostError> {
        for edit in &changes.request {
            stream.edit_request(edit)?;
        }
        if !changes.query.is_empty() {
            let target = edited_target(stream.request_headers()?.get(":path").unwrap_or_default(), &changes.query);
            stream.edit_request(&HeaderEdit::Set(":path".to_owned(), target))?;
        }
        if !changes.response.is_empty()
            && let Some(asked) = self.asked.get_or_default(stream.id())
        {
            asked.response.extend(changes.response);
        }
        Ok(())
    }

    /// A provider failed. `None`: that lets requests pass.
    fn failed(&mut self, custom: usize, rule: RuleId, reason: &str, stream: &mut Stream<'_>) -> Option<Action> {
        stream.root().add(self.metrics.ext_authz_error, 1);
        let set = self.policies.custom.get(custom)?;
        let provider = self.providers.get(set.provider?)?;
        let id = self.policies.id(rule);
        if provider.fail_open {
            stream.root().add(self.metrics.ext_authz_failure_allowed, 1);
            self.audit.provider(stream, "ext_authz_failure_allowed", &set.name, &id, 200, reason);
            return None;
        }
        let reply = provider.error_reply();
        self.audit.provider(stream, "ext_authz_error", &set.name, &id, reply.status, reason);
        Some(self.refuse(&reply, stream))
    }

    /// AUDIT and dry runs, which never decide; then DENY and ALLOW, which do.
    fn decide(&mut self, stream: &mut Stream<'_>) -> Action {
        match self.evaluate(stream) {
            Ok(Decision::Allowed(_)) => {
                stream.root().add(self.metrics.allowed, 1);
                Action::Continue
            }
            Ok(Decision::Denied(rule)) => {
                let id = self.id(rule);
                self.audit.denied(stream, &id);
                self.refuse(&denial(&format!("rbac_access_denied_matched_policy[{id}]")), stream)
            }
            Err(error) => self.refuse_undecided(error, stream),
        }
    }

    /// About a connection. Providers are asked about requests only: where one would have to be, nothing passes.
    fn judge(&mut self, connection: &mut Stream<'_>) -> Result<(), Refused> {
        if !self.judges_connections && !self.policies.is_empty() {
            return Err(Refused::TooEarly);
        }
        for custom in 0..self.policies.custom.len() {
            if let Some(rule) = self.asks(custom, connection).map_err(Refused::Undecided)? {
                return Err(Refused::By(Some(rule)));
            }
        }
        match self.evaluate(connection).map_err(Refused::Undecided)? {
            Decision::Allowed(_) => Ok(()),
            Decision::Denied(rule) => Err(Refused::By(rule)),
        }
    }

    /// `none`: no ALLOW rule matches.
    fn id(&self, rule: Option<RuleId>) -> String {
        rule.map_or_else(|| "none".to_owned(), |rule| self.policies.id(rule))
    }

    fn evaluate(&mut self, stream: &mut Stream<'_>) -> Result<Decision, Unavailable> {
        if !self.notes {
            return self.policies.decide(&mut Attributes::new(stream, &mut self.surroundings));
        }
        let mut noted = Noted::default();
        let decision = {
            let mut attributes = Attributes::new(stream, &mut self.surroundings);
            noted.before(&self.policies, &mut attributes);
            match self.policies.denied(&mut attributes) {
                Ok(None) => {
                    noted.dry_allow = settled(self.policies.dry_allowed(&mut attributes)).flatten();
                    self.policies.allowed(&mut attributes)
                }
                Ok(rule) => Ok(Decision::Denied(rule)),
                Err(error) => Err(error),
            }
        };
        self.note(&noted, stream);
        decision
    }

    /// Counts and logs what decides nothing.
    fn note(&self, noted: &Noted, stream: &mut Stream<'_>) {
        if let Some(rule) = noted.audited {
            stream.root().add(self.metrics.audit_matched, 1);
            self.audit.matched(stream, "audit", "AUDIT", &self.policies.id(rule));
        }
        for (action, decision) in [("CUSTOM", noted.dry_custom), ("DENY", noted.dry_deny), ("ALLOW", noted.dry_allow)] {
            match decision {
                Some(Decision::Allowed(_)) => stream.root().add(self.metrics.shadow_allowed, 1),
                Some(Decision::Denied(rule)) => {
                    stream.root().add(self.metrics.shadow_denied, 1);
                    let id = self.id(rule);
                    self.audit.matched(stream, "dry_run_denied", action, &id);
                }
                None => {}
            }
        }
    }

    /// The rule matches, but its provider is unknown, or one of several.
    fn refuse_unaskable(&mut self, custom: usize, rule: RuleId, stream: &mut Stream<'_>) -> Action {
        let id = format!("{}-deny-due-to-bad-CUSTOM-action", self.policies.id(rule));
        let name = self.policies.custom.get(custom).map_or("", |custom| &custom.name);
        let reason = "no provider has this name, or policies name several";
        self.audit.provider(stream, "denied", name, &id, 403, reason);
        self.refuse(&denial(&format!("rbac_access_denied_matched_policy[{id}]")), stream)
    }

    /// What the decision needs cannot be told: nothing passes undecided.
    fn refuse_undecided(&mut self, error: Unavailable, stream: &mut Stream<'_>) -> Action {
        log::error!("a request is refused because an attribute is unavailable: {error}");
        self.refuse(&denial(&format!("rbac_access_denied_attribute_unavailable[{}]", error.what)), stream)
    }

    fn refuse(&mut self, reply: &LocalReply, stream: &mut Stream<'_>) -> Action {
        stream.root().add(self.metrics.denied, 1);
        stream.reply(reply);
        Action::Pause
    }
}

/// Why a connection is closed.
enum Refused {
    /// By a rule, or for want of one.
    By(Option<RuleId>),
    /// Stock Envoy accepts connections before their handshake: a rule that refuses an identity would let it in.
    TooEarly,
    /// What the decision needs cannot be told.
    Undecided(Unavailable),
}

/// What was found out without deciding anything.
#[derive(Default)]
struct Noted {
    audited: Option<RuleId>,
    dry_custom: Option<Decision>,
    dry_deny: Option<Decision>,
    dry_allow: Option<Decision>,
}

impl Noted {
    /// What comes before DENY is enforced.
    fn before(&mut self, policies: &Policies, attributes: &mut Attributes<'_>) {
        self.audited = settled(policies.audited(attributes)).flatten();
        self.dry_custom = settled(policies.dry_asked(attributes)).flatten().map(|rule| Decision::Denied(Some(rule)));
        self.dry_deny = settled(policies.dry_denied(attributes)).flatten();
    }
}

/// A result that decides nothing: when it cannot be had, that is said and nobody refused for it.
fn settled<T>(result: Result<T, Unavailable>) -> Option<T> {
    result.map_err(|error| log::error!("an audit or dry-run policy cannot be evaluated: {error}")).ok()
}

/// Envoy's and Istio's refusal.
fn denial(details: &str) -> LocalReply {
    LocalReply { grpc_status: Some(7), ..LocalReply::new(403, details).body("RBAC: access denied") }
}
