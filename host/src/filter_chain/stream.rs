//! A stream on its way through the filters.

use crate::filter_chain::flow::{End, Flow, Hold};
use crate::filter_chain::local_reply::{HostReply, to_events};
use crate::wasm::{Access, BodyBuffer, Direction, FailStrategy, Guest, LocalReply, Plugin, Stream, Trapped};
use bytes::Bytes;
use http_match::HeaderList;
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

/// A filter's answer to a callback, once what it asked for besides has been heeded.
enum Answer {
    Action(u32),
    /// The stream goes on without the filter.
    Bypassed,
    /// The stream has been answered or reset: nothing more to do with this event.
    Settled,
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

    fn pass_headers(&mut self, direction: Direction, mut place: usize, end: bool) {
        while let Some(index) = self.slot(direction, place) {
            place += 1;
            if direction == Direction::Request {
                self.reached = Some(index);
            }
            if !self.ensure_guest(index) {
                if self.settled_unavailable(index) {
                    return;
                }
                continue;
            }
            let own = if direction == Direction::Request { Access::REQUEST_HEADERS } else { Access::RESPONSE_HEADERS };
            self.allow(index, direction, own);
            let count = self.stream.state.borrow_mut().headers(direction).len();
            let action = self.guest(index).map_or(Ok(0), |guest| guest.headers(direction, count, end));
            let action = match self.settle(index, direction, action) {
                Answer::Action(action) => action,
                Answer::Bypassed => continue,
                Answer::Settled => return,
            };
            let resumed = self.take_resume(index, direction);
            let iterating = self.filter_setting(index);
            let hold = match action {
                _ if resumed => Hold::Nothing,
                0 | 2 => Hold::Nothing,
                1 if iterating => Hold::Headers,
                3 => Hold::Everything { bounded: true },
                _ => Hold::Everything { bounded: false },
            };
            if hold != Hold::Nothing {
                self.with_flow(index, direction, |flow| {
                    flow.hold = hold;
                    flow.headers = Some(end);
                });
                return;
            }
            self.allow(index, direction, Access::NONE);
        }
        self.emit(direction, Event::Headers { end });
    }

    fn pass_data(&mut self, direction: Direction, mut place: usize, mut body: BodyBuffer, end: bool) {
        while let Some(index) = self.slot(direction, place) {
            place += 1;
            let Some(filter) = self.filters.get_mut(index) else { return };
            let Some(flow) = filter.flows.get_mut(direction as usize) else { return };
            if let Hold::Everything { bounded } = flow.hold {
                flow.waiting.append(body);
                flow.waiting_end = if end { Some(End::Stream) } else { None };
                self.count_held(direction, bounded);
                return;
            }
            let wanted = filter.guest.as_ref().is_some_and(|guest| guest.wants_body(direction));
            if !wanted && !flow.is_held() {
                continue;
            }
            match self.show(direction, index, body, end) {
                Some(released) => body = released,
                None => return,
            }
        }
        self.emit(direction, Event::Data { bytes: body.into_bytes(), end });
    }

    /// Shows a filter a part of a body: what it lets through, if anything.
    fn show(&mut self, direction: Direction, index: usize, part: BodyBuffer, end: bool) -> Option<BodyBuffer> {
        let readable = {
            let mut state = self.stream.state.borrow_mut();
            let body = state.slots.get_mut(index)?.bodies.get_mut(direction as usize)?;
            body.append(part);
            body.len()
        };
        let own = match direction {
            Direction::Request => Access::REQUEST_BODY,
            Direction::Response => Access::RESPONSE_BODY,
        };
        let trailers = match direction {
            _ if !end => Access::NONE,
            Direction::Request => Access::REQUEST_TRAILERS,
            Direction::Response => Access::RESPONSE_TRAILERS,
        };
        self.allow(index, direction, own.and(trailers).and(self.held_headers_access(index, direction)));
        let action = self.guest(index).map_or(Ok(0), |guest| guest.body(direction, readable, end));
        let action = match self.settle(index, direction, action) {
            Answer::Action(action) => action,
            Answer::Bypassed => 0,
            Answer::Settled => return None,
        };
        self.note_edits(index, direction);
        let resumed = self.take_resume(index, direction);
        let end_held = end.then_some(End::Stream);
        match action {
            1 if !resumed => self.keep(index, direction, Hold::Body, end_held),
            2 if !resumed => {
                self.unsee(index, direction);
                self.keep(index, direction, Hold::BodyUnseen, end_held);
            }
            3.. if !resumed => {
                drop(self.take_shown(index, direction));
                self.keep(index, direction, Hold::BodyUnseen, end_held);
            }
            _ => return self.release(direction, index),
        }
        None
    }

    fn pass_trailers(&mut self, direction: Direction, mut place: usize) {
        while let Some(index) = self.slot(direction, place) {
            place += 1;
            if let Some(flow) = self.flow(index, direction)
                && matches!(flow.hold, Hold::Everything { .. })
            {
                flow.waiting_end = Some(End::Trailers);
                return;
            }
            if self.guest(index).is_none() {
                continue;
            }
            let (trailers, body) = match direction {
                Direction::Request => (Access::REQUEST_TRAILERS, Access::REQUEST_BODY),
                Direction::Response => (Access::RESPONSE_TRAILERS, Access::RESPONSE_BODY),
            };
            self.allow(index, direction, trailers.and(body).and(self.held_headers_access(index, direction)));
            let count = self.stream.state.borrow_mut().trailers(direction).len();
            let action = self.guest(index).map_or(Ok(0), |guest| guest.trailers(direction, count));
            let action = match self.settle(index, direction, action) {
                Answer::Action(action) => action,
                Answer::Bypassed => 0,
                Answer::Settled => return,
            };
            self.note_edits(index, direction);
            if action != 0 && !self.take_resume(index, direction) {
                self.keep(index, direction, Hold::Trailers, Some(End::Trailers));
                return;
            }
            let Some(released) = self.release(direction, index) else { return };
            if !self.pass_released(direction, place, released) {
                return;
            }
        }
        self.emit(direction, Event::Trailers);
    }

    /// Passes on what was held of a body before its trailers: whether they may follow.
    fn pass_released(&mut self, direction: Direction, place: usize, released: BodyBuffer) -> bool {
        let replies = self.replies;
        if !released.is_empty() {
            self.pass_data(direction, place, released, false);
        }
        self.stands(replies)
    }

    /// Whether the message that was being passed is still the one to pass: no reply has taken its place since.
    fn stands(&self, replies: u32) -> bool {
        self.replies == replies && self.fate != Fate::Reset
    }

    /// Lets go what a filter holds: headers on their way first, what was shown as the result. `None`: their way has
    /// ended in a reply.
    fn release(&mut self, direction: Direction, index: usize) -> Option<BodyBuffer> {
        let shown = self.take_shown(index, direction);
        let mut released = BodyBuffer::default();
        let (mut headers, mut was_held) = (None, true);
        self.with_flow(index, direction, |flow| {
            was_held = std::mem::take(&mut flow.hold) != Hold::Nothing;
            flow.held_end = None;
            headers = flow.headers.take();
            released = std::mem::take(&mut flow.unseen);
        });
        released.append(shown);
        self.allow(index, direction, Access::NONE);
        if was_held {
            self.count_held(direction, false);
        }
        let replies = self.replies;
        if headers.is_some() {
            self.pass_headers(direction, self.after(direction, index), false);
        }
        self.stands(replies).then_some(released)
    }

    /// Goes on where a filter held the stream. Not held: nothing happens.
    fn resume(&mut self, direction: Direction, index: usize) {
        let (next, replies) = (self.after(direction, index), self.replies);
        let Some(flow) = self.flow(index, direction) else { return };
        let (hold, held_end) = (flow.hold, flow.held_end);
        match hold {
            Hold::Nothing => {}
            Hold::Everything { .. } => {
                flow.hold = Hold::Nothing;
                let (waiting, end) = (std::mem::take(&mut flow.waiting), flow.waiting_end.take());
                let headers = flow.headers.take();
                self.count_held(direction, false);
                self.allow(index, direction, Access::NONE);
                if let Some(alone) = headers {
                    self.pass_headers(direction, next, alone);
                }
                if self.stands(replies) {
                    self.resume_waiting(direction, next - 1, waiting, end);
                }
            }
            Hold::Headers => {
                let alone = flow.headers.take().unwrap_or(false);
                flow.hold = Hold::Nothing;
                self.allow(index, direction, Access::NONE);
                self.pass_headers(direction, next, alone);
            }
            Hold::Body | Hold::BodyUnseen | Hold::Trailers => {
                let Some(released) = self.release(direction, index) else { return };
                match held_end {
                    Some(End::Trailers) => {
                        if self.pass_released(direction, next, released) {
                            self.pass_trailers(direction, next);
                        }
                    }
                    end => self.pass_data(direction, next, released, end == Some(End::Stream)),
                }
            }
        }
    }

    /// Shows a filter what came while it held everything, as one part.
    fn resume_waiting(&mut self, direction: Direction, place: usize, waiting: BodyBuffer, end: Option<End>) {
        match end {
            None if waiting.is_empty() => {}
            None => self.pass_data(direction, place, waiting, false),
            Some(End::Stream) => self.pass_data(direction, place, waiting, true),
            Some(End::Trailers) => {
                if self.pass_released(direction, place, waiting) {
                    self.pass_trailers(direction, place);
                }
            }
        }
    }

    /// Heeds what a filter asked for in a callback, beside the action that it returned.
    fn settle(&mut self, index: usize, direction: Direction, action: Result<u32, Trapped>) -> Answer {
        if self.fate == Fate::Reset {
            return Answer::Settled;
        }
        let held = self.filters.get(index).map(|filter| [filter.flows[0].is_held(), filter.flows[1].is_held()]);
        let (reply, close, failed) = {
            let mut state = self.stream.state.borrow_mut();
            let Some(slot) = state.slots.get_mut(index) else { return Answer::Settled };
            // The other direction cannot be let go before it is held.
            let other = 1 - direction as usize;
            slot.resume[other] &= held.is_some_and(|held| held[other]);
            (slot.reply.take(), std::mem::take(&mut slot.close), std::mem::take(&mut slot.failed))
        };
        let Ok(action) = action.and(if failed { Err(Trapped) } else { action }) else {
            return self.failed(index);
        };
        if close {
            self.fate = Fate::Reset;
            return Answer::Settled;
        }
        if let Some(reply) = reply {
            match direction {
                // Its own response callbacks see the reply, and those of the filters before it.
                Direction::Request => self.local_reply(*reply, self.reached),
                Direction::Response => self.local_reply(*reply, None),
            }
            return Answer::Settled;
        }
        Answer::Action(action)
    }

    /// A filter's VM has ended.
    fn failed(&mut self, index: usize) -> Answer {
        if let Some(filter) = self.filters.get_mut(index) {
            filter.guest = None;
            filter.bypassed = true;
        }
        if self.settled_unavailable(index) { Answer::Settled } else { Answer::Bypassed }
    }

    /// What a stream gets whose filter cannot serve it: whether that is the end of the matter.
    fn settled_unavailable(&mut self, index: usize) -> bool {
        let strategy = self.chain.plugins.get(index).map(|plugin| plugin.settings().fail_strategy);
        if strategy == Some(FailStrategy::Open) {
            return false;
        }
        let (status, details) = (503, "wasm_fail_stream".to_owned());
        let reply = LocalReply { status, details, ..LocalReply::default() };
        // Through the filters nearer to the client.
        self.local_reply(reply, index.checked_sub(1));
        true
    }

    /// Answers the stream through the response callbacks of the slots from `from` down; `None`: through none.
    fn local_reply(&mut self, reply: LocalReply, from: Option<usize>) {
        if self.response_headers_out {
            self.fate = Fate::Reset;
            return;
        }
        let replaces = self.response_started;
        self.fate = Fate::Replied;
        self.response_started = true;
        let (grpc, head) = {
            let state = self.stream.state.borrow();
            (state.is_grpc(), state.request.get(":method") == Some(b"HEAD"))
        };
        let details = reply.details.clone();
        let (headers, events) = to_events(reply, grpc, head);
        {
            let mut state = self.stream.state.borrow_mut();
            state.response = headers;
            state.response_trailers = HeaderList::new();
            state.details = details.into();
            for slot in &mut state.slots {
                (slot.bodies, slot.body_edited, slot.resume) = Default::default();
            }
        }
        self.replies += 1;
        self.out = Default::default();
        (self.held_bytes, self.body_edited) = Default::default();
        for filter in &mut self.filters {
            filter.flows = [Flow::default(), Flow::default()];
        }
        match from {
            Some(slot) if !replaces => self.run_reply(self.filters.len() - 1 - slot, events),
            _ => self.out[1].extend(events),
        }
    }

    fn run_reply(&mut self, place: usize, events: Vec<Event>) {
        let replies = self.replies;
        for event in events {
            match event {
                Event::Headers { end } => self.pass_headers(Direction::Response, place, end),
                Event::Data { bytes, end } => self.pass_data(Direction::Response, place, bytes.into(), end),
                Event::Trailers => self.pass_trailers(Direction::Response, place),
            }
            if !self.stands(replies) {
                return;
            }
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

    fn keep(&mut self, index: usize, direction: Direction, hold: Hold, end: Option<End>) {
        self.with_flow(index, direction, |flow| {
            flow.hold = hold;
            flow.held_end = end;
        });
        self.count_held(direction, true);
    }

    fn unsee(&mut self, index: usize, direction: Direction) {
        let shown = self.take_shown(index, direction);
        self.with_flow(index, direction, |flow| flow.unseen.append(shown));
    }

    fn take_shown(&mut self, index: usize, direction: Direction) -> BodyBuffer {
        let mut state = self.stream.state.borrow_mut();
        let body = state.slots.get_mut(index).and_then(|slot| slot.bodies.get_mut(direction as usize));
        body.map(std::mem::take).unwrap_or_default()
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

    fn buffer_limit(&self) -> usize {
        self.chain.plugins.iter().map(|plugin| plugin.settings().limits.body).max().unwrap_or(1 << 20)
    }

    /// Counts what is held of a direction. `bounded`: more than the limit is an error.
    fn count_held(&mut self, direction: Direction, bounded: bool) {
        let shown: usize = {
            let state = self.stream.state.borrow();
            state.slots.iter().filter_map(|slot| slot.bodies.get(direction as usize)).map(BodyBuffer::len).sum()
        };
        let flows = self.filters.iter().filter_map(|filter| filter.flows.get(direction as usize));
        let held = shown + flows.map(Flow::bytes).sum::<usize>();
        if let Some(count) = self.held_bytes.get_mut(direction as usize) {
            *count = held;
        }
        if bounded && held > self.buffer_limit() {
            self.too_large(direction);
        }
    }

    /// A filter holds more than it may (Envoy: 413 for requests; for responses 500, or a reset after the headers).
    fn too_large(&mut self, direction: Direction) {
        let (status, body, details) = match direction {
            Direction::Request => (413, "Payload Too Large", "request_payload_too_large"),
            Direction::Response => (500, "Internal Server Error", "response_payload_too_large"),
        };
        let (body, details) = (body.into(), details.into());
        let from = if direction == Direction::Request { self.reached } else { None };
        self.local_reply(LocalReply { status, body, details, ..LocalReply::default() }, from);
    }

    fn emit(&mut self, direction: Direction, event: Event) {
        // What a filter was doing when the stream was answered no longer matters.
        if self.fate == Fate::Reset || (self.fate == Fate::Replied && direction == Direction::Request) {
            return;
        }
        if let Some(out) = self.out.get_mut(direction as usize) {
            out.push(event);
        }
    }
}

/// Whether headers are to wait for the first part of their body: they state its length, and nobody waits for them.
fn waits_for_body(state: &mut crate::wasm::StreamState, direction: Direction) -> bool {
    let headers = state.headers(direction);
    headers.get("content-length").is_some() && headers.get("expect").is_none()
}
