//! Keys that are fetched: when, from where, and what becomes of the requests that wait for them.
//!
//! ```text
//! configure, tick, a request that needs keys → start ─▶ (discovery document ─▶) key set ─▶ ready, until it is due again
//!                                                └─ anything else ─▶ tried again, later each time; old keys stay
//! ```

use crate::jwks::KeySet;
use crate::token::object;
use crate::uri::Uri;
use filter_api::{CallEvent, CallId, HttpCall, Root, StreamId};
use http_match::HeaderList;
use plugin_config::{ListMap, Node, Quoted};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// Largest answer that is read, in bytes.
const LARGEST_ANSWER: usize = 1 << 20;
/// Requests that may wait for one answer; more are refused.
const MOST_WAITING: usize = 1_000;
/// How long after a failure the next try is, the first time; then twice as long, and so on.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// How often keys may be fetched because a token names one that is not there: issuers change theirs rarely, and anybody
/// can send such a token.
const REFETCH_INTERVAL: Duration = Duration::from_secs(10);

/// Where keys come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Origin {
    pub(crate) find: Find,
    pub(crate) timeout: Duration,
    pub(crate) cache_duration: Duration,
}

/// How keys are found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Find {
    /// They are there.
    At(Place),
    /// A document there says where they are.
    Discover {
        document: Place,
        /// What the document must say whose it is.
        issuer: String,
        /// Authority → cluster, for keys that are with somebody else.
        clusters: ListMap<String>,
    },
}

/// What is fetched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) uri: Uri,
    pub(crate) cluster: String,
}

/// What a call in flight will bring.
#[derive(Debug)]
enum Awaited {
    Document,
    Keys,
}

/// Keys that are fetched, and kept.
#[derive(Debug)]
pub(crate) struct KeySource {
    origin: Origin,
    keys: Option<Rc<KeySet>>,
    /// Grows with each set.
    generation: u64,
    call: Option<(CallId, Awaited)>,
    /// When to fetch next, since the Unix epoch.
    due: Duration,
    /// When they were last asked for.
    asked: Duration,
    /// Tries in a row that failed.
    failures: u32,
    waiting: Vec<StreamId>,
}

/// What can be done with a token now.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// It can be verified with these, of this generation.
    Ready(Rc<KeySet>, u64),
    /// Nobody has asked for the keys yet, or the answer is under way.
    Pending,
    /// The keys could not be had.
    Failed,
}

/// What has come of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Another call follows.
    Going,
    /// There are new keys.
    Fetched,
    /// There are none.
    Failed,
}

impl KeySource {
    pub(crate) fn new(origin: Origin) -> Self {
        Self {
            origin,
            keys: None,
            generation: 0,
            call: None,
            due: Duration::ZERO,
            asked: Duration::ZERO,
            failures: 0,
            waiting: Vec::new(),
        }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn state(&self) -> State {
        match &self.keys {
            Some(keys) => State::Ready(keys.clone(), self.generation),
            None if self.call.is_some() || self.failures == 0 => State::Pending,
            None => State::Failed,
        }
    }

    /// When something is to be done next; `None` while an answer is under way.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.call.is_none().then_some(self.due)
    }

    /// Whether a token that names a key which is not there is a reason to fetch.
    pub(crate) fn may_refetch(&self, now: Duration) -> bool {
        self.call.is_some() || now.saturating_sub(self.asked) >= REFETCH_INTERVAL
    }

    /// Lets a stream wait for the answer; whether there is a place, and an answer under way.
    pub(crate) fn wait(&mut self, stream: StreamId) -> bool {
        let waits = self.call.is_some() && self.waiting.len() < MOST_WAITING;
        if waits {
            self.waiting.push(stream);
        }
        waits
    }

    /// Asks for the keys, unless an answer is under way.
    pub(crate) fn start(&mut self, now: Duration, root: &mut Root<'_>) -> Result<(), String> {
        if self.call.is_some() {
            return Ok(());
        }
        let (place, awaited) = match &self.origin.find {
            Find::At(place) => (place.clone(), Awaited::Keys),
            Find::Discover { document, .. } => (document.clone(), Awaited::Document),
        };
        self.asked = now;
        self.ask(&place, awaited, root).inspect_err(|_| self.failed(now, root))
    }

    fn ask(&mut self, place: &Place, awaited: Awaited, root: &mut Root<'_>) -> Result<(), String> {
        let Place { uri, cluster } = place;
        let headers: HeaderList = [
            (":method", "GET"),
            (":scheme", uri.scheme),
            (":authority", &uri.authority),
            (":path", &uri.path),
            ("accept", "application/json"),
        ]
        .into_iter()
        .collect();
        let call = HttpCall { cluster, headers: &headers, body: b"", timeout: self.origin.timeout };
        match root.http_call(&call) {
            Ok(call) => {
                self.call = Some((call, awaited));
                Ok(())
            }
            Err(error) => {
                Err(format!("{uri} cannot be asked for ({error}): does the proxy have the cluster {cluster}?"))
            }
        }
    }

    /// Whether a call is of this source.
    pub(crate) fn awaits(&self, call: CallId) -> bool {
        self.call.as_ref().is_some_and(|(own, _)| *own == call)
    }

    /// Takes the answer to its call. With anything but [`Progress::Going`], the streams that waited are woken.
    ///
    /// # Errors
    /// Why there are no keys, or not all of those that the answer has.
    pub(crate) fn answered(&mut self, event: CallEvent, now: Duration, root: &mut Root<'_>) -> (Progress, Vec<String>) {
        let mut complaints = Vec::new();
        let progress = match self.take_answer(event, root, &mut complaints) {
            Ok(Some(keys)) => {
                self.keys = Some(Rc::new(keys));
                self.generation += 1;
                self.failures = 0;
                // A tenth before they are too old, so that no request has to wait for the next.
                self.due = now.saturating_add(self.origin.cache_duration - self.origin.cache_duration / 10);
                Progress::Fetched
            }
            Ok(None) => Progress::Going,
            Err(reason) => {
                complaints.push(reason);
                self.failed(now, root);
                Progress::Failed
            }
        };
        if progress != Progress::Going {
            self.waiting.drain(..).for_each(|stream| root.wake(stream));
        }
        (progress, complaints)
    }

    fn failed(&mut self, now: Duration, root: &mut Root<'_>) {
        let wait = FIRST_RETRY.saturating_mul(1 << self.failures.min(6)).min(LAST_RETRY);
        self.failures = self.failures.saturating_add(1);
        // Workers that fail together do not try again together: up to a quarter later.
        let spread = root.random().map_or(0, |draw| u32::try_from(draw % 256).unwrap_or_default());
        self.due = now.saturating_add(wait + wait / 4 * spread / 256);
    }

    /// The keys; `None` when they were asked for just now.
    fn take_answer(
        &mut self,
        event: CallEvent,
        root: &mut Root<'_>,
        complaints: &mut Vec<String>,
    ) -> Result<Option<KeySet>, String> {
        let Some((call, awaited)) = self.call.take() else {
            return Err("an answer that nobody asked for".into());
        };
        let body = body(call, event, root)?;
        match awaited {
            Awaited::Keys => {
                let mut faults = Vec::new();
                let keys = KeySet::read(&body, &mut faults);
                complaints.extend(faults.iter().map(|(i, reason)| format!("keys[{i}] cannot be used: {reason}")));
                keys.map(Some).map_err(|reason| format!("the answer is no JSON Web Key Set: {reason}"))
            }
            Awaited::Document => {
                let place = self.discovered(&body)?;
                self.ask(&place, Awaited::Keys, root).map(|()| None)
            }
        }
    }

    /// Where the keys are, as a discovery document says.
    fn discovered(&self, document: &[u8]) -> Result<Place, String> {
        let Find::Discover { document: own, issuer, clusters } = &self.origin.find else {
            return Err("nothing is to be discovered".into());
        };
        let document = object(document).ok_or("the discovery document is not a JSON object")?;
        // OpenID Connect Discovery 1.0, 4.3
        if !matches!(document.get("issuer"), Some(Node::String(name)) if name == issuer) {
            return Err(format!("the discovery document is not of the issuer {}", Quoted(issuer)));
        }
        let Some(Node::String(text)) = document.get("jwks_uri") else {
            return Err("the discovery document has no jwks_uri".into());
        };
        let uri = Uri::read(text).ok_or_else(|| format!("jwks_uri {} is no http or https URI", Quoted(text)))?;
        if uri.authority == own.uri.authority && uri.scheme == own.uri.scheme {
            return Ok(Place { uri, cluster: own.cluster.clone() });
        }
        match clusters.iter().find(|(authority, _)| authority.eq_ignore_ascii_case(&uri.authority)) {
            Some((_, cluster)) => Ok(Place { cluster: cluster.clone(), uri }),
            None => Err(format!("no cluster is known for the keys at {uri}: name them with jwksUri")),
        }
    }
}

/// The body of a good answer.
fn body(call: CallId, event: CallEvent, root: &mut Root<'_>) -> Result<Vec<u8>, String> {
    let CallEvent::HttpResponse { body_size } = event else {
        return Err("the answer is none to an HTTP request".into());
    };
    let headers = root.call_headers().map_err(|error| format!("there is no answer ({error})"))?;
    match headers.get(":status") {
        Some(b"200") => {}
        Some(status) => return Err(format!("the answer has status {}", status.escape_ascii())),
        None => return Err("there is no answer".into()),
    }
    if body_size > LARGEST_ANSWER {
        return Err(format!("the answer has {body_size} bytes, more than {LARGEST_ANSWER}"));
    }
    root.call_body(call, body_size).map_err(|error| format!("the answer cannot be read ({error})"))
}

/// For logs: what is fetched first.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.find {
            Find::At(place) => place.uri.fmt(f),
            Find::Discover { document, .. } => document.uri.fmt(f),
        }
    }
}
