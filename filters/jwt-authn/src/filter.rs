//! The filter: finds tokens, has them judged, fetches keys, answers, counts.

use crate::cache::Accepted;
use crate::compile::{Compiled, compile};
use crate::config::Config;
use crate::key_source::Progress;
use crate::locations::{Location, MOST_TOKENS, without_parameter};
use crate::status::{Class, Refusal};
use crate::verifier::{Cached, Verdict};
use filter_api::{
    Action, CallEvent, CallId, Filter, HeaderEdit, HostError, LocalReply, Metric, Root, Stream, configure_one,
    destination_port,
};
use http_match::{HeaderList, Request};
use plugin_config::{At, Faults, Quoted};
use std::time::Duration;

/// The property that `authz` reads the claims of a verified token from: a JSON object.
pub const CLAIMS_PROPERTY: &str = "outrigger.jwt";

/// Makes the filter from a plugin configuration.
///
/// # Errors
/// Every fault of the configuration.
pub fn configure(configuration: &[u8], root: &mut Root<'_>) -> Result<Vec<Box<dyn Filter>>, Faults> {
    configure_one(configuration, root, build)
}

/// Compiles a configuration; every fault is recorded in `at`.
pub fn build(config: &Config, at: &mut At, root: &mut Root<'_>) -> Option<Box<dyn Filter>> {
    let compiled = compile(config, at)?;
    let metrics = Metrics::define(root);
    let filter = JwtAuthn { compiled, metrics };
    // Proxies cannot be asked to send anything yet: the first tick asks, or the first request that needs keys.
    if !filter.compiled.sources.is_empty() {
        root.set_tick(Some(SHORTEST_TICK));
    }
    Some(Box::new(filter))
}

/// How soon a tick comes at the earliest, and at the latest while there are keys to be fetched.
const SHORTEST_TICK: Duration = Duration::from_millis(10);
const LONGEST_TICK: Duration = Duration::from_secs(3600);

struct JwtAuthn {
    compiled: Compiled,
    metrics: Metrics,
}

/// Counters, by name under `outrigger.jwt_authn.`.
struct Metrics {
    allowed: Metric,
    denied: Metric,
    malformed: Metric,
    unknown_issuer: Metric,
    time: Metric,
    audience: Metric,
    signature: Metric,
    keys: Metric,
    cache_hit: Metric,
    cache_miss: Metric,
    jwks_fetched: Metric,
    jwks_failed: Metric,
}

impl Metrics {
    fn define(root: &mut Root<'_>) -> Self {
        Self {
            allowed: root.counter("outrigger.jwt_authn.allowed"),
            denied: root.counter("outrigger.jwt_authn.denied"),
            malformed: root.counter("outrigger.jwt_authn.denied.malformed"),
            unknown_issuer: root.counter("outrigger.jwt_authn.denied.unknown_issuer"),
            time: root.counter("outrigger.jwt_authn.denied.time"),
            audience: root.counter("outrigger.jwt_authn.denied.audience"),
            signature: root.counter("outrigger.jwt_authn.denied.signature"),
            keys: root.counter("outrigger.jwt_authn.denied.keys"),
            cache_hit: root.counter("outrigger.jwt_authn.cache_hit"),
            cache_miss: root.counter("outrigger.jwt_authn.cache_miss"),
            jwks_fetched: root.counter("outrigger.jwt_authn.jwks_fetched"),
            jwks_failed: root.counter("outrigger.jwt_authn.jwks_failed"),
        }
    }

    fn of(&self, class: Class) -> Metric {
        match class {
            Class::Malformed => self.malformed,
            Class::UnknownIssuer => self.unknown_issuer,
            Class::Time => self.time,
            Class::Audience => self.audience,
            Class::Signature => self.signature,
            Class::Keys => self.keys,
        }
    }
}

/// What is decided about a request.
enum Decision {
    /// Its tokens, by location, are all good; or it has none.
    Allowed(Vec<(usize, Accepted)>),
    Refused(Refused),
    /// Nobody knows before the keys of these sources are here.
    Waits(Vec<usize>),
}

/// Why a request is refused.
struct Refused {
    refusal: Refusal,
    /// Where the token is, and whose provider was asked; for the log.
    place: String,
}

impl Filter for JwtAuthn {
    fn on_request_headers(&mut self, stream: &mut Stream<'_>) -> Action {
        let Compiled { verifier, outputs, .. } = &self.compiled;
        if verifier.providers.is_empty() && outputs.is_empty() {
            return Action::Continue;
        }
        match self.begin(stream) {
            Ok(true) => self.decide(stream),
            Ok(false) => self.allow(stream),
            Err(error) => self.refuse_undecided(error, stream),
        }
    }

    fn on_wake(&mut self, stream: &mut Stream<'_>) -> Action {
        self.decide(stream)
    }

    fn on_call(&mut self, call: CallId, event: CallEvent, root: &mut Root<'_>) {
        let now = root.now().unwrap_or_default();
        let Some(source) = self.compiled.sources.iter_mut().find(|source| source.awaits(call)) else {
            return;
        };
        let (progress, complaints) = source.answered(event, now, root);
        for complaint in complaints {
            log::warn!("keys of {}: {complaint}", source.origin());
        }
        match progress {
            Progress::Going => {}
            Progress::Fetched => root.add(self.metrics.jwks_fetched, 1),
            Progress::Failed => root.add(self.metrics.jwks_failed, 1),
        }
        self.set_tick(now, root);
    }

    fn on_tick(&mut self, root: &mut Root<'_>) {
        let now = root.now().unwrap_or_default();
        for source in 0..self.compiled.sources.len() {
            let is_due =
                self.compiled.sources.get(source).and_then(|source| source.due()).is_some_and(|due| due <= now);
            if is_due {
                self.fetch(source, now, root);
            }
        }
        self.set_tick(now, root);
    }
}

impl JwtAuthn {
    /// Takes out what clients may not set; whether the request is one whose tokens are looked at.
    fn begin(&mut self, stream: &mut Stream<'_>) -> Result<bool, HostError> {
        let Compiled { matches, outputs, .. } = &self.compiled;
        let headers = stream.request_headers()?;
        let forged: Vec<String> = headers
            .iter()
            .filter(|(name, _)| outputs.find(0, name).is_some())
            .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
            .collect();
        for name in forged {
            stream.remove_request_header(&name)?;
        }
        if let Some(matches) = matches {
            let port = if matches.needs_port() { destination_port(stream)? } else { None };
            let mut request = Request::new(stream.request_headers()?);
            request.port = port;
            if matches.find(&request).is_none() {
                return Ok(false);
            }
        }
        Ok(!is_preflight(stream.request_headers()?))
    }

    /// Decides about a request, and does what was decided.
    fn decide(&mut self, stream: &mut Stream<'_>) -> Action {
        let decided = match stream.root().now() {
            Ok(now) => self.judge(now, stream).map(|decision| (decision, now)),
            Err(error) => Err(error),
        };
        match decided {
            Err(error) => self.refuse_undecided(error, stream),
            Ok((Decision::Allowed(accepted), _)) => match self.apply(&accepted, stream) {
                Ok(()) => self.allow(stream),
                Err(error) => self.refuse_undecided(error, stream),
            },
            Ok((Decision::Refused(refused), _)) => self.refuse(&refused, stream),
            Ok((Decision::Waits(sources), now)) => self.hold(&sources, now, stream),
        }
    }

    /// What becomes of the tokens of a request: from the last to the first, as in Envoy, whose message is that of the
    /// last bad one.
    fn judge(&mut self, now: Duration, stream: &mut Stream<'_>) -> Result<Decision, HostError> {
        let Compiled { verifier, sources, .. } = &mut self.compiled;
        let found = match verifier.locations.find(stream.request_headers()?) {
            Ok(found) => found,
            Err(_) => {
                let place = format!("more than {MOST_TOKENS} tokens");
                return Ok(Decision::Refused(Refused { refusal: Refusal::NotVerified, place }));
            }
        };
        let (mut accepted, mut waits) = (Vec::with_capacity(found.len()), Vec::new());
        let (mut hits, mut misses) = (0, 0);
        let mut refused = None;
        for token in found.iter().rev() {
            match verifier.judge(token, sources, now) {
                Verdict::Accepted(known, cached) => {
                    match cached {
                        Cached::Hit => hits += 1,
                        Cached::Miss => misses += 1,
                    }
                    accepted.push((token.location, known));
                }
                Verdict::Refused(refusal, provider) => {
                    let provider = provider.and_then(|provider| verifier.providers.get(provider));
                    let provider = provider.map_or(String::new(), |provider| format!(" of {}", provider.name));
                    let place = verifier.locations.get(token.location).map(described).unwrap_or_default();
                    refused = Some(Refused { refusal, place: format!("the token at {place}{provider}") });
                    break;
                }
                Verdict::Waits(source) => waits.push(source),
            }
        }
        accepted.reverse();
        for (metric, count) in [(self.metrics.cache_hit, hits), (self.metrics.cache_miss, misses)] {
            if count > 0 {
                stream.root().add(metric, count);
            }
        }
        Ok(match refused {
            Some(refused) => Decision::Refused(refused),
            None if !waits.is_empty() => Decision::Waits(waits),
            None => Decision::Allowed(accepted),
        })
    }

    /// Holds a request until keys are here.
    fn hold(&mut self, sources: &[usize], now: Duration, stream: &mut Stream<'_>) -> Action {
        let id = stream.id();
        for &source in sources {
            self.fetch(source, now, stream.root());
            if !self.compiled.sources.get_mut(source).is_some_and(|source| source.wait(id)) {
                let place = "a token whose keys are not here".to_owned();
                return self.refuse(&Refused { refusal: Refusal::KeysNotFetched, place }, stream);
            }
        }
        Action::Pause
    }

    /// Asks for keys, unless an answer is under way.
    fn fetch(&mut self, source: usize, now: Duration, root: &mut Root<'_>) {
        let Some(source) = self.compiled.sources.get_mut(source) else {
            return;
        };
        if let Err(error) = source.start(now, root) {
            log::warn!("keys of {}: {error}", source.origin());
            root.add(self.metrics.jwks_failed, 1);
        }
        self.set_tick(now, root);
    }

    /// Has the next tick come when the next keys are due.
    fn set_tick(&self, now: Duration, root: &mut Root<'_>) {
        let due = self.compiled.sources.iter().filter_map(|source| source.due()).min();
        let wait = due.map(|due| due.saturating_sub(now).clamp(SHORTEST_TICK, LONGEST_TICK));
        if !self.compiled.sources.is_empty() {
            root.set_tick(Some(wait.unwrap_or(LONGEST_TICK)));
        }
    }

    /// Leaves the claims, sets headers, takes tokens out.
    fn apply(&self, accepted: &[(usize, Accepted)], stream: &mut Stream<'_>) -> Result<(), HostError> {
        let verifier = &self.compiled.verifier;
        let Some(winner) = verifier.winner(accepted) else {
            return Ok(());
        };
        stream.set_property(CLAIMS_PROPERTY, &winner.left.claims)?;
        for (name, value) in &winner.left.claim_headers {
            stream.edit_request(&HeaderEdit::Add(name.as_ref().to_owned(), value.clone()))?;
        }
        for (location, accepted) in accepted.iter().rev() {
            for (name, value) in &accepted.left.headers {
                stream.edit_request(&HeaderEdit::Add(name.as_ref().to_owned(), value.clone()))?;
            }
            let forward = verifier.providers.get(accepted.provider).is_some_and(|provider| provider.forward);
            match verifier.locations.get(*location).filter(|_| !forward) {
                Some(Location::Header { name, .. }) => stream.remove_request_header(name)?,
                Some(Location::Parameter(name)) => {
                    let target = stream.request_headers()?.get(":path").unwrap_or_default();
                    let target = without_parameter(target, name);
                    stream.set_request_header(":path", &target)?;
                }
                Some(Location::Cookie(_)) | None => {}
            }
        }
        Ok(())
    }

    fn allow(&mut self, stream: &mut Stream<'_>) -> Action {
        stream.root().add(self.metrics.allowed, 1);
        Action::Continue
    }

    fn refuse(&mut self, refused: &Refused, stream: &mut Stream<'_>) -> Action {
        let Refused { refusal, place } = refused;
        let message = refusal.message();
        log::info!("a request is refused: {message}: {place}");
        let reply =
            LocalReply::new(refusal.status(), format!("jwt_authn_access_denied{{{}}}", message.replace(' ', "_")));
        let challenge = challenge(stream);
        let reply = reply.body(message).header("www-authenticate", challenge);
        self.deny(Some(refusal.class()), &reply, stream)
    }

    /// What the decision needs cannot be told, or what was decided not be done: nothing passes so.
    fn refuse_undecided(&mut self, error: HostError, stream: &mut Stream<'_>) -> Action {
        log::error!("a request is refused because its token cannot be looked at: {error}");
        self.deny(None, &LocalReply::new(500, "jwt_authn_unavailable"), stream)
    }

    fn deny(&mut self, class: Option<Class>, reply: &LocalReply, stream: &mut Stream<'_>) -> Action {
        stream.root().add(self.metrics.denied, 1);
        if let Some(class) = class {
            stream.root().add(self.metrics.of(class), 1);
        }
        stream.reply(reply);
        Action::Pause
    }
}

/// A location, for the log.
fn described(location: &Location) -> String {
    match location {
        Location::Header { name, .. } => format!("header {name}"),
        Location::Parameter(name) => format!("query parameter {}", Quoted(name)),
        Location::Cookie(name) => format!("cookie {}", Quoted(name)),
    }
}

/// A CORS preflight carries no credentials (Fetch, 3.2.2), so none is looked for.
fn is_preflight(headers: &HeaderList) -> bool {
    let has = |name| headers.get(name).is_some_and(|value| !value.is_empty());
    headers.get(":method") == Some(b"OPTIONS") && has("origin") && has("access-control-request-method")
}

/// The challenge of RFC 6750, 3, as Envoy has it: the realm is the URI of the request, its path cut.
fn challenge(stream: &mut Stream<'_>) -> Vec<u8> {
    const LONGEST_PATH: usize = 256;
    let mut out = b"Bearer realm=\"".to_vec();
    if let Ok(headers) = stream.request_headers() {
        let first = |name| headers.get(name).unwrap_or_default();
        let scheme = headers.get("x-forwarded-proto").unwrap_or_else(|| first(":scheme"));
        let path = first(":path");
        let path = path.get(..LONGEST_PATH).unwrap_or(path);
        for part in [scheme, b"://", first(":authority"), path] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\", error=\"invalid_token\"");
    out
}
