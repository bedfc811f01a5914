//! Carries requests through plugins.

use crate::local_reply;
use crate::native_host::NativeHost;
use crate::world::{Settings, StreamWorld, World};
use crate::{Recorded, RecordedCall, ScriptedRandom};
use filter_api::{Action, CallEvent, CallId, Chain, Configure, MetricKind, StreamId};
use http_match::HeaderList;
use plugin_config::Faults;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// A request or a response. `:status`, `:path` and the other pseudo-headers stand among the headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// All headers, in order.
    pub headers: HeaderList,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// How the body arrives: sizes of its pieces. Empty: in one piece.
    pub chunks: Vec<usize>,
    /// Trailers; empty for none.
    pub trailers: HeaderList,
}

/// A request that reached an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// The cluster it was sent to.
    pub cluster: String,
    /// The request.
    pub message: Message,
    /// Whether a plugin sent it by itself.
    pub by_plugin: bool,
}

/// What answers behind the proxy.
pub trait Upstreams {
    /// Answers a request; `None`: the connection is refused.
    fn http(&mut self, sent: &Sent) -> Option<Message>;

    /// Answers a unary gRPC call of a plugin with a message, or ends it with a status.
    fn grpc(&mut self, call: &RecordedCall) -> Result<Vec<u8>, u32>;
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// What the client got.
    pub response: Message,
    /// Everything that reached an upstream, the primary request first.
    pub sent: Vec<Sent>,
    /// How long plugins held the request.
    pub held: Duration,
    /// Whether a plugin held it for ever: nothing was left that could have woken it.
    pub hung: bool,
    /// The properties that plugins left on it, by path joined with `.`.
    pub properties: BTreeMap<String, Vec<u8>>,
}

/// A proxy with plugins, in memory.
pub struct NativeProxy {
    world: Rc<RefCell<World>>,
    plugins: Vec<(Chain, NativeHost)>,
    last_stream: u32,
}

/// Ticks after which a request that nothing else wakes counts as hung: a day of ticks of 10 ms.
const MOST_TICKS: u32 = 8_640_000;

impl NativeProxy {
    /// A proxy without plugins.
    pub fn new(settings: Settings) -> Self {
        let world = World { clock: settings.clock.clone(), settings, ..World::default() };
        Self { world: Rc::new(RefCell::new(world)), plugins: Vec::new(), last_stream: 0 }
    }

    /// Adds a plugin behind those it has.
    ///
    /// # Errors
    /// Every fault of the plugin configuration; the proxy is then as before.
    pub fn add_plugin(&mut self, configure: Configure, configuration: &[u8]) -> Result<(), Faults> {
        self.world.borrow_mut().ticks.push(None);
        let mut host = NativeHost { world: self.world.clone(), plugin: self.plugins.len(), current: None };
        match Chain::configure(configure, configuration, &mut host) {
            Ok(chain) => {
                self.plugins.push((chain, host));
                Ok(())
            }
            Err(faults) => {
                self.world.borrow_mut().ticks.pop();
                Err(faults)
            }
        }
    }

    /// The draws that plugins will take.
    pub fn with_random<T>(&mut self, change: impl FnOnce(&mut ScriptedRandom) -> T) -> T {
        change(&mut self.world.borrow_mut().random)
    }

    /// Takes what plugins asked of their host since the last call.
    pub fn take_recorded(&mut self) -> Vec<Recorded> {
        std::mem::take(&mut self.world.borrow_mut().recorded)
    }

    /// The value of a metric; 0 when nobody defined it.
    pub fn metric(&self, name: &str) -> i64 {
        let world = self.world.borrow();
        world.metrics.iter().find(|(_, known, _)| known == name).map_or(0, |(.., value)| *value)
    }

    /// All metrics: kind, name, value.
    pub fn metrics(&self) -> Vec<(MetricKind, String, i64)> {
        self.world.borrow().metrics.clone()
    }

    /// Carries one request from the client to the upstream and back.
    pub fn exchange(&mut self, request: Message, upstreams: &mut dyn Upstreams) -> Exchange {
        let start = self.world.borrow().clock.now();
        let id = self.open(&request);
        let mut sent = Vec::new();
        let mut reached = 0;
        let mut hung = false;
        while reached < self.plugins.len() && !self.replied(id) && !hung {
            let action = self.request_headers(id, reached, ends_with_headers(&request));
            reached += 1;
            if action == Action::Pause && !self.replied(id) {
                hung = !self.wait(id, upstreams, &mut sent);
            }
        }
        let held = self.world.borrow().clock.now().saturating_sub(start);
        let response = self.respond(id, &request, reached, hung, upstreams, &mut sent);
        let left = self.world.borrow_mut().streams.get_mut(&id).map(|stream| std::mem::take(&mut stream.properties));
        self.finish(id, upstreams, &mut sent);
        sent.sort_by_key(|sent| sent.by_plugin);
        Exchange { response, sent, held, hung, properties: left.unwrap_or_default() }
    }

    /// Starts a request and leaves it as the plugins leave it after its headers: continued, held, or answered.
    pub fn open_stream(&mut self, request: &Message) -> StreamId {
        let id = self.open(request);
        for plugin in 0..self.plugins.len() {
            if self.request_headers(id, plugin, ends_with_headers(request)) == Action::Pause {
                break;
            }
        }
        id
    }

    /// A connection that carries bytes is accepted; whether every plugin lets it pass. It ends with this.
    pub fn connect(&mut self) -> bool {
        self.last_stream += 1;
        let id = StreamId(self.last_stream);
        let world = StreamWorld { request_gone: true, ..StreamWorld::default() };
        self.world.borrow_mut().streams.insert(id, world);
        let passes = self.plugins.iter_mut().all(|(chain, host)| {
            host.current = Some(id);
            let action = chain.on_new_connection(id, host);
            host.current = None;
            action == Action::Continue
        });
        self.close_stream(id);
        passes
    }

    /// The client of a stream leaves: the plugins are told that it is over.
    pub fn close_stream(&mut self, id: StreamId) {
        for (chain, host) in &mut self.plugins {
            host.current = Some(id);
            chain.on_stream_end(id, host);
            host.current = None;
        }
        self.world.borrow_mut().streams.remove(&id);
    }

    /// Whether a stream goes on after having been held.
    pub fn resumed(&self, id: StreamId) -> bool {
        self.world.borrow().streams.get(&id).is_some_and(|stream| stream.resumed)
    }

    /// Whether a plugin has answered a stream.
    pub fn replied(&self, id: StreamId) -> bool {
        self.world.borrow().streams.get(&id).is_some_and(|stream| stream.reply.is_some())
    }

    /// Moves the clock on and gives plugins the ticks that fall due, in order.
    pub fn advance(&mut self, by: Duration) {
        let end = self.world.borrow().clock.now().saturating_add(by);
        while let Some((due, plugin)) = self.next_tick().filter(|(due, _)| *due <= end) {
            self.tick(due, plugin);
        }
        let mut world = self.world.borrow_mut();
        let rest = end.saturating_sub(world.clock.now());
        world.clock.advance(rest);
    }

    fn open(&mut self, request: &Message) -> StreamId {
        self.last_stream += 1;
        let id = StreamId(self.last_stream);
        let mut headers = request.headers.clone();
        if headers.get(":scheme").is_none() {
            headers.add(":scheme", b"http");
        }
        if headers.get("x-request-id").is_none() {
            headers.add("x-request-id", format!("00000000-0000-4000-8000-{:012x}", self.last_stream).as_bytes());
        }
        self.world.borrow_mut().streams.insert(id, StreamWorld { request: headers, ..StreamWorld::default() });
        id
    }

    fn request_headers(&mut self, id: StreamId, plugin: usize, end_of_stream: bool) -> Action {
        let Some((chain, host)) = self.plugins.get_mut(plugin) else {
            return Action::Continue;
        };
        host.current = Some(id);
        let action = chain.on_request_headers(id, end_of_stream, host);
        host.current = None;
        action
    }

    /// Until the held stream is resumed or answered: calls are answered first, then time passes. False: nothing is
    /// left that could wake it.
    fn wait(&mut self, id: StreamId, upstreams: &mut dyn Upstreams, sent: &mut Vec<Sent>) -> bool {
        for _ in 0..MOST_TICKS {
            if self.replied(id) || self.take_resumed(id) {
                return true;
            }
            if self.answer_call(upstreams, sent) {
                continue;
            }
            let Some((due, plugin)) = self.next_tick() else {
                return false;
            };
            self.tick(due, plugin);
        }
        false
    }

    fn take_resumed(&mut self, id: StreamId) -> bool {
        let mut world = self.world.borrow_mut();
        world.streams.get_mut(&id).is_some_and(|stream| std::mem::take(&mut stream.resumed))
    }

    fn next_tick(&self) -> Option<(Duration, usize)> {
        let world = self.world.borrow();
        let due = world.ticks.iter().enumerate().filter_map(|(plugin, tick)| tick.map(|(_, next)| (next, plugin)));
        due.min()
    }

    fn tick(&mut self, due: Duration, plugin: usize) {
        {
            let mut world = self.world.borrow_mut();
            let wait = due.saturating_sub(world.clock.now());
            world.clock.advance(wait);
            if let Some(Some((period, next))) = world.ticks.get_mut(plugin) {
                *next = due.saturating_add(*period);
            }
        }
        if let Some((chain, host)) = self.plugins.get_mut(plugin) {
            chain.on_tick(host);
            host.current = None;
        }
    }

    /// Answers the oldest call in flight; false when there is none.
    fn answer_call(&mut self, upstreams: &mut dyn Upstreams, sent: &mut Vec<Sent>) -> bool {
        let (plugin, call) = {
            let mut world = self.world.borrow_mut();
            if world.calls.is_empty() {
                return false;
            }
            world.calls.remove(0)
        };
        let (event, answer) = answer(&call, upstreams, sent);
        self.world.borrow_mut().answer = Some((call.id, answer.headers, answer.body));
        if let Some((chain, host)) = self.plugins.get_mut(plugin) {
            chain.on_call(call.id, event, host);
            host.current = None;
        }
        self.world.borrow_mut().answer = None;
        true
    }

    /// The upstream's or the proxy's own response, after the response callbacks of the plugins that saw the request.
    fn respond(
        &mut self,
        id: StreamId,
        request: &Message,
        reached: usize,
        hung: bool,
        upstreams: &mut dyn Upstreams,
        sent: &mut Vec<Sent>,
    ) -> Message {
        let (headers, reply) = {
            let mut world = self.world.borrow_mut();
            let Some(stream) = world.streams.get_mut(&id) else {
                return Message::default();
            };
            stream.request_gone = true;
            (stream.request.clone(), stream.reply.clone())
        };
        let mut response = match reply {
            Some(reply) => local_reply::message(&reply, &headers),
            None if hung => status_only(504),
            None => {
                self.request_body(id, request);
                self.forward(headers, request, upstreams, sent)
            }
        };
        self.response_headers(id, reached, &mut response);
        response
    }

    fn request_body(&mut self, id: StreamId, request: &Message) {
        let mut rest = request.body.as_slice();
        let mut chunks = request.chunks.iter().copied().filter(|size| *size > 0);
        while !rest.is_empty() {
            let size = chunks.next().unwrap_or(rest.len()).min(rest.len());
            let (chunk, after) = rest.split_at_checked(size).unwrap_or((rest, b""));
            self.body_chunk(id, chunk, false);
            rest = after;
        }
        if !request.trailers.is_empty() {
            self.each_plugin(id, |chain, host| chain.on_request_trailers(id, host));
        } else if !request.body.is_empty() {
            // As over HTTP/1 in Envoy: the end is a callback of its own, without bytes.
            self.body_chunk(id, b"", true);
        }
    }

    fn body_chunk(&mut self, id: StreamId, chunk: &[u8], end_of_stream: bool) {
        if let Some(stream) = self.world.borrow_mut().streams.get_mut(&id) {
            stream.body_chunk = chunk.to_vec();
        }
        self.each_plugin(id, |chain, host| chain.on_request_body(id, chunk.len(), end_of_stream, host));
    }

    fn each_plugin(&mut self, id: StreamId, mut callback: impl FnMut(&mut Chain, &mut NativeHost)) {
        for (chain, host) in &mut self.plugins {
            host.current = Some(id);
            callback(chain, host);
            host.current = None;
        }
    }

    fn forward(
        &mut self,
        headers: HeaderList,
        request: &Message,
        upstreams: &mut dyn Upstreams,
        sent: &mut Vec<Sent>,
    ) -> Message {
        let cluster = headers.get("x-outrigger-cluster").unwrap_or(b"upstream");
        let cluster = String::from_utf8_lossy(cluster).into_owned();
        if !self.world.borrow().settings.clusters.contains(&cluster) {
            return status_only(503);
        }
        let request = Sent { cluster, message: Message { headers, ..request.clone() }, by_plugin: false };
        let response = upstreams.http(&request).unwrap_or_else(|| status_only(503));
        sent.push(request);
        response
    }

    fn response_headers(&mut self, id: StreamId, reached: usize, response: &mut Message) {
        if let Some(stream) = self.world.borrow_mut().streams.get_mut(&id) {
            stream.response = Some(response.headers.clone());
        }
        for (chain, host) in self.plugins.iter_mut().take(reached).rev() {
            host.current = Some(id);
            chain.on_response_headers(id, response.body.is_empty(), host);
            host.current = None;
        }
        let edited = self.world.borrow_mut().streams.get_mut(&id).and_then(|stream| stream.response.take());
        response.headers = edited.unwrap_or_default();
    }

    /// Ends the stream, then answers the calls that outlive it.
    fn finish(&mut self, id: StreamId, upstreams: &mut dyn Upstreams, sent: &mut Vec<Sent>) {
        self.close_stream(id);
        while self.answer_call(upstreams, sent) {}
    }
}

fn ends_with_headers(request: &Message) -> bool {
    request.body.is_empty() && request.trailers.is_empty()
}

fn status_only(status: u16) -> Message {
    let headers = [(":status", status.to_string().as_str())].into_iter().collect();
    Message { headers, ..Message::default() }
}

/// Sends a call of a plugin, with what the plugin is told. A failure arrives as an answer, as in Envoy.
fn answer(call: &RecordedCall, upstreams: &mut dyn Upstreams, sent: &mut Vec<Sent>) -> (CallEvent, Message) {
    if let CallId::Grpc(_) = call.id {
        return match upstreams.grpc(call) {
            Ok(body) => (CallEvent::GrpcMessage { size: body.len() }, Message { body, ..Message::default() }),
            Err(status) => (CallEvent::GrpcClosed { status }, Message::default()),
        };
    }
    let message = Message { headers: call.headers.clone(), body: call.body.clone(), ..Message::default() };
    let request = Sent { cluster: call.cluster.clone(), message, by_plugin: true };
    let response = upstreams.http(&request).unwrap_or_else(|| status_only(503));
    sent.push(request);
    (CallEvent::HttpResponse { body_size: response.body.len() }, response)
}
