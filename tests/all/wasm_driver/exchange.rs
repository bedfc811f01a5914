//! One request through a chain and back, as the router drives it: what the filters leave is checked before it is
//! written, and a message that its own head contradicts is cut.

use super::Worker;
use super::wire::{LIMITS, Read, Wire};
use bytes::Bytes;
use host::filter_chain::{Event, Fate, FilterChain, FilteredStream};
use host::http::{hygiene, validate};
use host::proxy_error::ProxyError;
use host::wasm::{ConnectionProperties, Direction, Services, Stream, StreamState};
use http_match::HeaderList;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// What a client sends.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    headers: HeaderList,
    body: Vec<Bytes>,
    trailers: Option<HeaderList>,
}

/// What the upstream answers, when the whole request has come.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    headers: HeaderList,
    body: Vec<Bytes>,
    trailers: Option<HeaderList>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// 0: the client saw no response.
    pub(crate) status: u16,
    /// The response as the client read it.
    pub(crate) response: Read,
    /// The client was cut off.
    pub(crate) cut: bool,
    /// Why, for the access log.
    pub(crate) details: String,
    /// The request as the upstream read it, if it came so far.
    pub(crate) upstream: Option<Read>,
    /// How long it took.
    pub(crate) held: Duration,
}

impl Request {
    /// A request without a body.
    pub(crate) fn get(path: &str) -> Self {
        let headers = [(":authority", "example.test"), (":path", path), (":method", "GET"), (":scheme", "http")];
        Self { headers: headers.into_iter().collect(), body: Vec::new(), trailers: None }
    }

    /// A request with a body of these chunks, whose length is known.
    pub(crate) fn post(chunks: &[&'static str]) -> Self {
        let mut request = Self::get("/");
        request.headers.replace_at(2, b"POST");
        request.body = chunks.iter().map(|chunk| Bytes::from(*chunk)).collect();
        let length: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        request.header("content-length", length.to_string().as_bytes())
    }

    /// To another path.
    pub(crate) fn path(mut self, path: &str) -> Self {
        self.headers.replace_at(1, path.as_bytes());
        self
    }

    /// With a further header.
    pub(crate) fn header(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.add(name, value);
        self
    }

    /// In chunks, with trailers.
    pub(crate) fn trailers(mut self, trailers: &[(&str, &str)]) -> Self {
        self.headers.remove("content-length");
        self.trailers = Some(trailers.iter().copied().collect());
        self
    }
}

impl Answer {
    /// A response with a body of these chunks, whose length is known.
    pub(crate) fn ok(chunks: &[&'static str]) -> Self {
        let length: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        let mut headers: HeaderList = [(":status", "200")].into_iter().collect();
        headers.add("content-length", length.to_string().as_bytes());
        Self { headers, body: chunks.iter().map(|chunk| Bytes::from(*chunk)).collect(), trailers: None }
    }

    /// In chunks, without trailers.
    pub(crate) fn chunked(mut self) -> Self {
        self.headers.remove("content-length");
        self
    }

    /// In chunks, with trailers.
    pub(crate) fn trailers(mut self, trailers: &[(&str, &str)]) -> Self {
        self.trailers = Some(trailers.iter().copied().collect());
        self.chunked()
    }

    /// With a further header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.add(name, value.as_bytes());
        self
    }
}

impl Outcome {
    /// Status and body, the usual question.
    pub(crate) fn seen(&self) -> (u16, &str) {
        (self.status, str::from_utf8(&self.response.body).unwrap_or("not text"))
    }
}

/// What is still to come of a message.
enum Part {
    Data(Bytes),
    Trailers(HeaderList),
    End,
}

fn parts(body: Vec<Bytes>, trailers: Option<HeaderList>) -> VecDeque<Part> {
    let mut parts: VecDeque<Part> = body.into_iter().map(Part::Data).collect();
    match trailers {
        Some(trailers) => parts.push_back(Part::Trailers(trailers)),
        None if parts.is_empty() => {}
        None => parts.push_back(Part::End),
    }
    parts
}

/// A request under way.
struct Exchange {
    filtered: FilteredStream,
    request: VecDeque<Part>,
    answer: Option<Answer>,
    response: VecDeque<Part>,
    upstream: Wire,
    routed: bool,
    uploaded: bool,
    client: Wire,
    head: bool,
    answered: bool,
    ended: bool,
    held: Option<Pin<Box<Sleep>>>,
    limit: Duration,
}

impl Worker {
    /// Sends a request through a chain to an upstream that answers it.
    pub(crate) async fn serve(&self, chain: &Rc<FilterChain>, request: Request, answer: Answer) -> Outcome {
        let began = Instant::now();
        let mut exchange = self.open(chain, request, answer);
        let cut = poll_fn(|cx| exchange.poll(cx)).await;
        exchange.outcome(cut, began)
    }

    /// As [`Self::serve`] of a request without a body, answered with `ok`.
    pub(crate) async fn get(&self, chain: &Rc<FilterChain>, path: &str) -> Outcome {
        self.serve(chain, Request::get(path), Answer::ok(&["ok"])).await
    }

    fn open(&self, chain: &Rc<FilterChain>, request: Request, answer: Answer) -> Exchange {
        let client = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 9), 40_000));
        let connection = ConnectionProperties {
            id: 7,
            source: client,
            direct_peer: client,
            destination: SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 8080)),
            redirected: false,
            requested_server_name: String::new(),
            tls_version: None,
            peer: None,
            local: None,
        };
        let head = request.headers.get(":method") == Some(b"HEAD");
        let count = chain.plugins().len();
        let mut state = StreamState::new(request.headers, count, Rc::new(connection), self.services.now());
        state.protocol = "HTTP/1.1";
        let pauses = chain.plugins().iter().map(|plugin| plugin.settings().limits.pause);
        let mut filtered = FilteredStream::new(chain.clone(), Stream::new(state));
        let request = parts(request.body, request.trailers);
        filtered.headers(Direction::Request, request.is_empty());
        Exchange {
            filtered,
            request,
            answer: Some(answer),
            response: VecDeque::new(),
            upstream: Wire::default(),
            routed: false,
            uploaded: false,
            client: Wire::default(),
            head,
            answered: false,
            ended: false,
            held: None,
            limit: pauses.min().unwrap_or(Duration::from_secs(15)),
        }
    }
}

impl Exchange {
    /// Moves everything that can move: whether the client was cut off, at the end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.filtered.set_waker(cx.waker());
        self.filtered.heed();
        if self.held.as_mut().is_some_and(|held| held.as_mut().poll(cx).is_ready()) {
            self.held = None;
            self.reply(ProxyError::HeldTooLong);
        }
        loop {
            if self.filtered.fate() == Fate::Reset {
                return Poll::Ready(true);
            }
            let moved = self.take_request() | self.give_request() | self.give_response() | self.take_response();
            if self.ended {
                return Poll::Ready(false);
            }
            if !moved {
                break;
            }
        }
        if !self.filtered.is_held() {
            self.held = None;
        } else if self.held.is_none() {
            let mut sleep = Box::pin(tokio::time::sleep(self.limit));
            if sleep.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.held = Some(sleep);
        }
        Poll::Pending
    }

    fn reply(&mut self, error: ProxyError) {
        self.filtered.reply(error.reply(false).0);
    }

    fn give_request(&mut self) -> bool {
        if self.filtered.fate() != Fate::Open || !self.filtered.wants(Direction::Request) {
            return false;
        }
        let Some(part) = self.request.pop_front() else { return false };
        give(&mut self.filtered, Direction::Request, part);
        true
    }

    fn give_response(&mut self) -> bool {
        if self.filtered.fate() != Fate::Open || !self.uploaded || !self.filtered.wants(Direction::Response) {
            return false;
        }
        if let Some(answer) = self.answer.take() {
            self.response = parts(answer.body, answer.trailers);
            let mut state = self.filtered.stream().state.borrow_mut();
            (state.cluster, state.attempts) = ("upstream".to_owned(), 1);
            (state.response, state.details) = (answer.headers, "via_upstream".into());
            drop(state);
            self.filtered.headers(Direction::Response, self.response.is_empty());
            return true;
        }
        let Some(part) = self.response.pop_front() else { return false };
        give(&mut self.filtered, Direction::Response, part);
        true
    }

    fn take_request(&mut self) -> bool {
        let mut moved = false;
        while let Some(event) = self.filtered.next(Direction::Request) {
            moved = true;
            let state = self.filtered.stream().clone();
            let mut state = state.state.borrow_mut();
            let written = match event {
                Event::Headers { end } => {
                    let valid = validate::request(&state.request, &LIMITS).is_ok();
                    self.routed = valid && self.upstream.request(&state.request, end).is_ok();
                    self.uploaded = end;
                    self.routed
                }
                Event::Data { bytes, end } => {
                    self.uploaded |= end;
                    self.upstream.data(&bytes, end).is_ok()
                }
                Event::Trailers => {
                    self.uploaded = true;
                    hygiene::strip_trailers(&mut state.request_trailers);
                    let valid = validate::trailers(&state.request_trailers, &LIMITS).is_ok();
                    valid && self.upstream.trailers(&state.request_trailers).is_ok()
                }
            };
            drop(state);
            if !written {
                self.uploaded = false;
                self.reply(ProxyError::InvalidRequest);
            }
        }
        moved
    }

    fn take_response(&mut self) -> bool {
        let mut moved = false;
        while !self.ended
            && let Some(event) = self.filtered.next(Direction::Response)
        {
            moved = true;
            let stream = self.filtered.stream().clone();
            let mut state = stream.state.borrow_mut();
            let written = match event {
                Event::Headers { end } => {
                    assert!(!self.answered, "a second head");
                    self.answered = true;
                    self.ended = end;
                    if validate::response(&state.response, &LIMITS).is_err() {
                        let (reply, _) = ProxyError::InvalidResponse.reply(false);
                        state.details = reply.details.clone().into();
                        state.response = host::filter_chain::to_events(reply.into(), false, true).0;
                        self.ended = true;
                    }
                    self.client.response(&state.response, self.ended, self.head).is_ok()
                }
                Event::Data { bytes, end } => {
                    self.ended = end;
                    self.client.data(&bytes, end).is_ok()
                }
                Event::Trailers => {
                    self.ended = true;
                    hygiene::strip_trailers(&mut state.response_trailers);
                    let valid = validate::trailers(&state.response_trailers, &LIMITS).is_ok();
                    valid && self.client.trailers(&state.response_trailers).is_ok()
                }
            };
            drop(state);
            if !written {
                self.ended = false;
                self.filtered.cut();
                return true;
            }
        }
        moved
    }

    fn outcome(self, cut: bool, began: Instant) -> Outcome {
        let response = match self.answered {
            true => self.client.read_response(if self.head { b"HEAD" } else { b"GET" }),
            false => Read::default(),
        };
        assert!(cut || response.whole, "a response without an end");
        let status = response.headers.get(":status").and_then(|status| str::from_utf8(status).ok()?.parse().ok());
        let details = self.filtered.stream().state.borrow().details.clone();
        self.filtered.stream().state.borrow_mut().duration = Some(began.elapsed());
        let upstream = self.routed.then(|| self.upstream.read_request());
        self.filtered.finish();
        Outcome {
            status: status.unwrap_or(0),
            response,
            cut,
            details: details.into_owned(),
            upstream,
            held: began.elapsed(),
        }
    }
}

fn give(filtered: &mut FilteredStream, direction: Direction, part: Part) {
    match part {
        Part::Data(bytes) => filtered.data(direction, bytes, false),
        Part::End => filtered.data(direction, Bytes::new(), true),
        Part::Trailers(trailers) => {
            *filtered.stream().state.borrow_mut().trailers(direction) = trailers;
            filtered.trailers(direction);
        }
    }
}
