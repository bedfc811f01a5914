//! A stream on its way through the filters.

mod answering;
mod holding;
mod passing;

use crate::filter_chain::flow::Flow;
use crate::filter_chain::local_reply::HostReply;
use crate::wasm::{Access, Direction, Guest, Plugin, Stream};
use answering::Answer;
use bytes::Bytes;
use smallvec::SmallVec;
use std::rc::Rc;
use std::task::Waker;

/// What comes out of the filters; headers and trailers are in the stream's state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The headers, and whether they are all.
    Headers {
        /// No body follows.
        end: bool,
    },
    /// A part of the body.
    Data {
        /// May be empty when it is the end.
        bytes: Bytes,
        /// Nothing follows.
        end: bool,
    },
    /// The trailers: the end.
    Trailers,
}

/// What waits to be taken: at most the three kinds, unless a body is on its way.
type Events = SmallVec<[Event; 3]>;

/// What has been decided about a stream, beside going on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Fate {
    /// Nothing.
    #[default]
    Open,
    /// The proxy answers it: what the upstream says no longer matters.
    Replied,
    /// It is to be cut off.
    Reset,
}

/// The plugins of a filter chain, on one worker.
pub struct FilterChain {
    plugins: Vec<Rc<Plugin>>,
    edits_bodies: bool,
}

impl FilterChain {
    /// A chain, in request order.
    pub fn new(plugins: Vec<Rc<Plugin>>) -> Self {
        let edits_bodies = plugins.iter().any(|plugin| plugin.edits_bodies());
        Self { plugins, edits_bodies }
    }

    /// The plugins, in request order.
    pub fn plugins(&self) -> &[Rc<Plugin>] {
        &self.plugins
    }
}

/// One stream and its filters.
pub struct FilteredStream {
    chain: Rc<FilterChain>,
    stream: Rc<Stream>,
    filters: Vec<Filter>,
    out: [Events; 2],
    fate: Fate,
    /// Slots up to this one have seen the request.
    reached: Option<usize>,
    response_started: bool,
    response_headers_out: bool,
    held_bytes: [usize; 2],
    body_edited: [bool; 2],
    /// Local replies so far: what was on its way when one was made goes no further.
    replies: u32,
}

#[derive(Default)]
struct Filter {
    guest: Option<Guest>,
    /// It has failed, or cannot be had, and the stream goes on without it.
    bypassed: bool,
    flows: [Flow; 2],
}

const DIRECTIONS: [Direction; 2] = [Direction::Request, Direction::Response];

impl FilteredStream {
    /// A stream at its start.
    pub fn new(chain: Rc<FilterChain>, stream: Rc<Stream>) -> Self {
        let filters = std::iter::repeat_with(Filter::default).take(chain.plugins.len()).collect();
        Self {
            chain,
            stream,
            filters,
            out: Default::default(),
            fate: Fate::Open,
            reached: None,
            response_started: false,
            response_headers_out: false,
            held_bytes: [0; 2],
            body_edited: [false; 2],
            replies: 0,
        }
    }

    /// The stream's state, as guests see it.
    pub fn stream(&self) -> &Rc<Stream> {
        &self.stream
    }

    /// What has been decided about it.
    pub fn fate(&self) -> Fate {
        self.fate
    }

    /// Headers have come; they are in the stream's state.
    pub fn headers(&mut self, direction: Direction, end: bool) {
        if direction == Direction::Response {
            self.response_started = true;
        }
        self.pass_headers(direction, 0, end);
    }

    /// A part of a body has come.
    pub fn data(&mut self, direction: Direction, bytes: Bytes, end: bool) {
        self.pass_data(direction, 0, bytes.into(), end);
    }

    /// Trailers have come; they are in the stream's state.
    pub fn trailers(&mut self, direction: Direction) {
        self.pass_trailers(direction, 0);
    }

    /// What comes out next of a direction.
    pub fn next(&mut self, direction: Direction) -> Option<Event> {
        if self.headers_wait(direction) {
            return None;
        }
        let out = self.out.get_mut(direction as usize)?;
        let event = (!out.is_empty()).then(|| out.remove(0))?;
        if event == (Event::Headers { end: false }) && self.body_edited.get(direction as usize) == Some(&true) {
            self.stream.state.borrow_mut().headers(direction).retain(|name, _| name != b"content-length");
        }
        if direction == Direction::Response && matches!(event, Event::Headers { .. }) {
            self.response_headers_out = true;
        }
        Some(event)
    }

    /// Whether more of a body is welcome: not while a filter holds as much as it may.
    pub fn wants(&self, direction: Direction) -> bool {
        let waiting = self.out.get(direction as usize).map_or(0, Events::len);
        waiting < 8 && self.held_bytes.get(direction as usize).is_some_and(|held| *held < self.buffer_limit())
    }

    /// Whether everything that has passed the filters has been taken, as far as it can be without more of the body.
    pub fn is_drained(&self, direction: Direction) -> bool {
        self.out.get(direction as usize).is_none_or(|out| out.is_empty()) || self.headers_wait(direction)
    }

    /// Whether headers wait for the first part of their body, which may change what they say of its length.
    fn headers_wait(&self, direction: Direction) -> bool {
        let alone =
            self.out.get(direction as usize).is_some_and(|out| out.as_slice() == [Event::Headers { end: false }]);
        alone && self.chain.edits_bodies && waits_for_body(&mut self.stream.state.borrow_mut(), direction)
    }

    /// Whether a filter holds the stream.
    pub fn is_held(&self) -> bool {
        self.fate != Fate::Reset && self.filters.iter().any(|filter| filter.flows.iter().any(Flow::is_held))
    }

    /// Who is to be woken when a filter asks for something between its callbacks.
    pub fn set_waker(&self, waker: &Waker) {
        if !self.filters.is_empty() {
            self.stream.set_waker(waker);
        }
    }

    /// Heeds what filters have asked for between their callbacks.
    pub fn heed(&mut self) {
        for index in 0..self.filters.len() {
            // A filter that has failed and holds nothing is asked no more before its next callback.
            let holds = self.filters.get(index).is_some_and(|filter| filter.flows.iter().any(Flow::is_held));
            let asked = self.stream.state.borrow().slots.get(index).is_some_and(|slot| {
                slot.failed && holds || slot.reply.is_some() || slot.close || slot.resume.contains(&true)
            });
            if !asked || self.fate == Fate::Reset {
                continue;
            }
            let direction = self.held_direction(index);
            if matches!(self.settle(index, direction, Ok(0)), Answer::Settled) {
                continue;
            }
            for direction in DIRECTIONS {
                if self.take_resume(index, direction) || self.is_bypassed(index) {
                    self.resume(direction, index);
                }
            }
        }
    }

    /// Answers the stream in place of an upstream, through the filters that have seen it.
    pub fn reply(&mut self, reply: HostReply) {
        self.local_reply(reply.into(), self.reached);
    }

    /// The stream is to be cut off.
    pub fn cut(&mut self) {
        self.fate = Fate::Reset;
    }

    /// The stream has ended: every filter logs it, then each context ends. Those that never saw it as well.
    pub fn finish(mut self) {
        {
            let mut state = self.stream.state.borrow_mut();
            state.slots.iter_mut().for_each(|slot| slot.access = Access::LOG);
        }
        for index in 0..self.filters.len() {
            self.ensure_guest(index);
            let Some(filter) = self.filters.get_mut(index) else { continue };
            if filter.guest.as_ref().is_some_and(|guest| guest.log().is_err()) {
                filter.guest = None;
            }
        }
        if let Ok(mut state) = self.stream.state.try_borrow_mut() {
            state.slots.iter_mut().for_each(|slot| slot.access = Access::NONE);
        }
        for guest in self.filters.into_iter().filter_map(|filter| filter.guest) {
            // A guest that traps at the end has harmed only itself.
            let _ = guest.end();
        }
    }

    /// The slot at a place of a direction's order.
    fn slot(&self, direction: Direction, place: usize) -> Option<usize> {
        let count = self.filters.len();
        match direction {
            Direction::Request => Some(place).filter(|place| *place < count),
            Direction::Response => count.checked_sub(place + 1),
        }
    }

    /// The place in a direction's order after a slot.
    fn after(&self, direction: Direction, index: usize) -> usize {
        match direction {
            Direction::Request => index + 1,
            Direction::Response => self.filters.len() - index,
        }
    }

    /// Makes the filter's context if it has none: whether it has one then.
    fn ensure_guest(&mut self, index: usize) -> bool {
        let Some(filter) = self.filters.get_mut(index) else { return false };
        if filter.guest.is_none() && !filter.bypassed {
            filter.guest = self.chain.plugins.get(index).and_then(|plugin| plugin.context(&self.stream, index).ok());
            filter.bypassed = filter.guest.is_none();
        }
        filter.guest.is_some()
    }

    fn guest(&self, index: usize) -> Option<&Guest> {
        self.filters.get(index)?.guest.as_ref()
    }

    fn is_bypassed(&self, index: usize) -> bool {
        self.filters.get(index).is_some_and(|filter| filter.bypassed)
    }

    fn filter_setting(&self, index: usize) -> bool {
        self.chain.plugins.get(index).is_some_and(|plugin| plugin.settings().allow_on_headers_stop_iteration)
    }

    fn flow(&mut self, index: usize, direction: Direction) -> Option<&mut Flow> {
        self.filters.get_mut(index)?.flows.get_mut(direction as usize)
    }

    fn with_flow(&mut self, index: usize, direction: Direction, change: impl FnOnce(&mut Flow)) {
        if let Some(flow) = self.flow(index, direction) {
            change(flow);
        }
    }

    /// Sets what a filter may edit of a direction.
    fn allow(&mut self, index: usize, direction: Direction, access: Access) {
        let Some(filter) = self.filters.get_mut(index) else { return };
        let [request, response] = &mut filter.flows;
        match direction {
            Direction::Request => request.access = access,
            Direction::Response => response.access = access,
        }
        let both = request.access.and(response.access);
        if let Some(slot) = self.stream.state.borrow_mut().slots.get_mut(index) {
            slot.access = both;
        }
    }

    /// Headers that a filter still holds can be edited from its body callbacks.
    fn held_headers_access(&self, index: usize, direction: Direction) -> Access {
        let held = self.filters.get(index).and_then(|filter| filter.flows.get(direction as usize)?.headers);
        match direction {
            _ if held.is_none() => Access::NONE,
            Direction::Request => Access::REQUEST_HEADERS,
            Direction::Response => Access::RESPONSE_HEADERS,
        }
    }

    fn take_resume(&self, index: usize, direction: Direction) -> bool {
        let mut state = self.stream.state.borrow_mut();
        let resume = state.slots.get_mut(index).and_then(|slot| slot.resume.get_mut(direction as usize));
        resume.is_some_and(std::mem::take)
    }

    /// The direction that a filter holds, or the request.
    fn held_direction(&self, index: usize) -> Direction {
        let response = self.filters.get(index).is_some_and(|filter| filter.flows[1].is_held());
        if response { Direction::Response } else { Direction::Request }
    }

    fn note_edits(&mut self, index: usize, direction: Direction) {
        let state = self.stream.state.borrow();
        let edited = state.slots.get(index).and_then(|slot| slot.body_edited.get(direction as usize));
        if edited == Some(&true)
            && let Some(noted) = self.body_edited.get_mut(direction as usize)
        {
            *noted = true;
        }
    }
}

/// Whether headers are to wait for the first part of their body: they state its length, and nobody waits for them.
fn waits_for_body(state: &mut crate::wasm::StreamState, direction: Direction) -> bool {
    let headers = state.headers(direction);
    headers.get("content-length").is_some() && headers.get("expect").is_none()
}
