//! A TCP connection on its way through the filters: bytes there and back, with every way a filter can hold, change or
//! end them.

mod flow;

use crate::filter_chain::FilterChain;
use crate::wasm::{Access, BodyBuffer, Direction, FailStrategy, Guest, Stream, Trapped};
use bytes::Bytes;
use flow::{Answer, Filter, Flow, Hold, Out, is_stop, shown};
use std::rc::Rc;
use std::task::Waker;

/// What has been decided about a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ConnectionFate {
    /// It goes on.
    #[default]
    Open,
    /// A filter ends it: the client gets what has passed, and no more.
    Closed,
    /// It is to be cut off: a filter has failed, or holds more than it may.
    Cut,
}

/// Who closed a side of a connection (`proxy_peer_type_t`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum ClosedBy {
    /// Nobody says.
    Unknown = 0,
    /// The proxy.
    Local = 1,
    /// The other end.
    Remote = 2,
}

/// Bytes that have passed the filters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Passed {
    /// May be empty when it is the end.
    pub bytes: Bytes,
    /// Nothing follows in this direction.
    pub end: bool,
}

/// One connection and its filters.
///
/// A filter that stops in `on_new_connection` holds the connect. As in Envoy it is shown what the client sends
/// meanwhile, and lets the connection pass when it lets the bytes pass. Unlike in Envoy it does not while a call that
/// it began for the connection is in flight: a filter that asks somebody before it lets a client in is otherwise
/// passed by every client that speaks first.
pub struct FilteredConnection {
    chain: Rc<FilterChain>,
    stream: Rc<Stream>,
    filters: Vec<Filter>,
    /// Filters, from the first on, that have let the connection pass.
    passed: usize,
    out: [Out; 2],
    fate: ConnectionFate,
}

/// Bytes that may wait behind the filters before no more are welcome.
const OUT_LIMIT: usize = 64 << 10;

impl FilteredConnection {
    /// A connection at its start.
    pub fn new(chain: Rc<FilterChain>, stream: Rc<Stream>) -> Self {
        let filters = std::iter::repeat_with(Filter::default).take(chain.plugins().len()).collect();
        let (out, fate) = (Default::default(), ConnectionFate::Open);
        Self { chain, stream, filters, passed: 0, out, fate }
    }

    /// The connection's state, as guests see it.
    pub fn stream(&self) -> &Rc<Stream> {
        &self.stream
    }

    /// What has been decided about it.
    pub fn fate(&self) -> ConnectionFate {
        self.fate
    }

    /// The connection has come.
    pub fn begin(&mut self) {
        self.pass_connection();
    }

    /// Whether it has passed the filters, so that the upstream can be connected to.
    pub fn has_begun(&self) -> bool {
        self.passed == self.filters.len() && self.fate == ConnectionFate::Open
    }

    /// Bytes have come; may be empty when they are the end.
    pub fn data(&mut self, direction: Direction, bytes: Bytes, end: bool) {
        // What was asked before must not be taken for what this callback asks.
        self.heed();
        if self.fate == ConnectionFate::Open {
            self.pass_data(direction, 0, bytes.into(), end);
        }
    }

    /// The upstream has cut the connection. Its regular end is told with its last bytes.
    pub fn upstream_reset(&mut self) {
        for index in (0..self.filters.len()).rev() {
            self.tell_upstream_closed(index, ClosedBy::Remote);
        }
    }

    /// What comes out next of a direction.
    pub fn next(&mut self, direction: Direction) -> Option<Passed> {
        let out = self.out.get_mut(direction as usize)?;
        let bytes = out.bytes.pop();
        let end = out.bytes.is_empty() && std::mem::take(&mut out.end);
        (bytes.is_some() || end).then(|| Passed { bytes: bytes.unwrap_or_default(), end })
    }

    /// Whether more bytes are welcome: not while many wait behind the filters, nor before one that holds the
    /// connection and as many as it may.
    pub fn wants(&self, direction: Direction) -> bool {
        let room = self.out.get(direction as usize).is_some_and(|out| out.bytes.len() < OUT_LIMIT);
        let full = |index: usize| {
            let holds = self.flow(index, direction).is_some_and(|flow| flow.hold == Hold::Connection);
            holds && self.held_bytes(index, direction) >= self.limit(index)
        };
        room && self.fate == ConnectionFate::Open && !(0..self.filters.len()).any(full)
    }

    /// Whether a filter holds the connection, or bytes of it.
    pub fn is_held(&self) -> bool {
        let holds = |filter: &Filter| filter.flows.iter().any(|flow| flow.hold != Hold::Nothing);
        self.fate == ConnectionFate::Open && self.filters.iter().any(holds)
    }

    /// Who is to be woken when a filter asks for something between its callbacks.
    pub fn set_waker(&self, waker: &Waker) {
        self.stream.set_waker(waker);
    }

    /// Heeds what filters have asked for between their callbacks; what one held that is gone goes on.
    pub fn heed(&mut self) {
        for index in 0..self.filters.len() {
            if self.has_asked(index) && self.fate == ConnectionFate::Open {
                let resumed = matches!(self.settle(index, Ok(0)), Answer::Action(_)) && self.take_resume(index);
                if resumed {
                    self.resume(index, Direction::Request);
                }
            }
            if self.filters.get(index).is_some_and(|filter| filter.bypassed) {
                self.resume(index, Direction::Request);
                self.resume(index, Direction::Response);
            }
        }
    }

    /// The connection has ended: each filter that saw it is told, logs it, and its context ends (`on_done`, `on_log`,
    /// `on_delete`: HTTP streams are logged first).
    pub fn finish(self, closed_by: ClosedBy) {
        self.stream.state.borrow_mut().slots.iter_mut().for_each(|slot| slot.access = Access::LOG);
        for guest in self.filters.into_iter().filter_map(|filter| filter.guest) {
            // A guest that traps at the end has harmed only itself.
            let _ = end(guest, closed_by);
        }
    }

    /// Tells the filters of the connection, up to one that holds it.
    fn pass_connection(&mut self) {
        while let Some(filter) = self.filters.get_mut(self.passed) {
            let index = self.passed;
            if !filter.bypassed && filter.guest.is_none() {
                filter.guest =
                    self.chain.plugins().get(index).and_then(|plugin| plugin.context(&self.stream, index).ok());
                if filter.guest.is_none() && self.settled_failed(index) {
                    return;
                }
            }
            let action = self.guest(index).map_or(Ok(0), Guest::new_connection);
            let action = match self.settle(index, action) {
                Answer::Action(action) => action,
                Answer::Bypassed => 0,
                Answer::Settled => return,
            };
            if is_stop(action) && !self.take_resume(index) {
                self.hold(index, Direction::Request, Hold::Connection);
                return;
            }
            self.passed += 1;
        }
    }

    fn pass_data(&mut self, direction: Direction, mut place: usize, mut bytes: BodyBuffer, end: bool) {
        while let Some(index) = self.slot(direction, place) {
            place += 1;
            if !self.concerns(index, direction) {
                continue;
            }
            match self.show(index, direction, bytes, end) {
                Some(released) => bytes = released,
                None => return,
            }
            if !self.let_pass(index, direction) {
                return;
            }
        }
        if let Some(out) = self.out.get_mut(direction as usize) {
            out.bytes.append(bytes);
            out.end |= end;
        }
    }

    fn has_asked(&self, index: usize) -> bool {
        let state = self.stream.state.borrow();
        state.slots.get(index).is_some_and(|slot| slot.failed || slot.close || slot.resume.contains(&true))
    }

    /// Whether bytes of a direction stop at a filter: it looks at them, or holds what came before.
    fn concerns(&self, index: usize, direction: Direction) -> bool {
        let looks = self.guest(index).is_some_and(|guest| guest.wants_data(direction));
        looks || self.flow(index, direction).is_some_and(|flow| flow.hold != Hold::Nothing)
    }

    /// Shows a filter bytes: what it lets through, if anything.
    fn show(&mut self, index: usize, direction: Direction, bytes: BodyBuffer, end: bool) -> Option<BodyBuffer> {
        let readable = self.stream.state.borrow_mut().make_readable(index, direction, bytes)?;
        let flow = self.flow_mut(index, direction)?;
        flow.end |= end;
        let held = flow.hold;
        if !self.guest(index).is_some_and(|guest| guest.wants_data(direction)) {
            return None;
        }
        self.allow(index, direction, shown(direction));
        let action = self.guest(index).map_or(Ok(0), |guest| guest.data(direction, readable, end));
        let answer = self.settle(index, action);
        let resumed = direction == Direction::Request && self.take_resume(index);
        if end && direction == Direction::Response {
            // Envoy tells the upstream's end so, whether or not its last bytes are held.
            self.tell_upstream_closed(index, ClosedBy::Unknown);
        }
        match answer {
            Answer::Settled => None,
            Answer::Action(action) if is_stop(action) && !resumed => {
                self.hold(index, direction, Hold::Data);
                self.check_held(index, direction);
                None
            }
            Answer::Action(_) if held == Hold::Connection && !resumed && self.awaits_calls(index) => None,
            Answer::Action(_) | Answer::Bypassed => Some(self.release(index, direction)),
        }
    }

    /// Takes back what a filter was shown and held.
    fn release(&mut self, index: usize, direction: Direction) -> BodyBuffer {
        self.allow(index, direction, Access::NONE);
        if let Some(flow) = self.flow_mut(index, direction) {
            (flow.hold, flow.end) = (Hold::Nothing, false);
        }
        let mut state = self.stream.state.borrow_mut();
        let body = state.slots.get_mut(index).and_then(|slot| slot.bodies.get_mut(direction as usize));
        body.map(std::mem::take).unwrap_or_default()
    }

    /// Lets the connection pass a filter that held it, if it did. False: the connection ends.
    fn let_pass(&mut self, index: usize, direction: Direction) -> bool {
        if direction == Direction::Request && index == self.passed {
            self.passed += 1;
            self.pass_connection();
        }
        self.fate == ConnectionFate::Open
    }

    /// Goes on where a filter held the connection. Not held: nothing happens.
    fn resume(&mut self, index: usize, direction: Direction) {
        let Some(flow) = self.flow(index, direction) else { return };
        let (hold, end) = (flow.hold, flow.end);
        if hold == Hold::Nothing {
            return;
        }
        let bytes = self.release(index, direction);
        if self.let_pass(index, direction) && (end || !bytes.is_empty()) {
            self.pass_data(direction, self.after(direction, index), bytes, end);
        }
    }

    /// Heeds what a filter asked for in a callback, beside the action that it returned. A reply has no meaning here.
    fn settle(&mut self, index: usize, action: Result<u32, Trapped>) -> Answer {
        let (close, failed) = {
            let mut state = self.stream.state.borrow_mut();
            let Some(slot) = state.slots.get_mut(index) else { return Answer::Settled };
            slot.reply = None;
            (std::mem::take(&mut slot.close), std::mem::take(&mut slot.failed))
        };
        let Some(action) = action.ok().filter(|_| !failed) else {
            if let Some(filter) = self.filters.get_mut(index) {
                filter.guest = None;
            }
            return if self.settled_failed(index) { Answer::Settled } else { Answer::Bypassed };
        };
        if close {
            self.decide(ConnectionFate::Closed, "wasm_close_stream");
        }
        if self.fate == ConnectionFate::Open { Answer::Action(action) } else { Answer::Settled }
    }

    /// What a connection gets whose filter cannot serve it: whether that is its end.
    fn settled_failed(&mut self, index: usize) -> bool {
        if let Some(filter) = self.filters.get_mut(index) {
            filter.bypassed = true;
        }
        let strategy = self.chain.plugins().get(index).map(|plugin| plugin.settings().fail_strategy);
        if strategy != Some(FailStrategy::Open) {
            self.decide(ConnectionFate::Cut, "wasm_fail_stream");
        }
        self.fate != ConnectionFate::Open
    }

    /// A filter may hold so much and no more.
    fn check_held(&mut self, index: usize, direction: Direction) {
        if self.held_bytes(index, direction) > self.limit(index) {
            self.decide(ConnectionFate::Cut, "filter_held_too_much_data");
        }
    }

    fn decide(&mut self, fate: ConnectionFate, details: &'static str) {
        if self.fate == ConnectionFate::Open {
            self.fate = fate;
            self.stream.state.borrow_mut().details = details.into();
        }
    }

    fn tell_upstream_closed(&mut self, index: usize, by: ClosedBy) {
        let Some(filter) = self.filters.get_mut(index) else { return };
        if std::mem::replace(&mut filter.upstream_closed, true) {
            return;
        }
        let Some(guest) = &filter.guest else { return };
        let told = guest.connection_close(Direction::Response, by as u32);
        self.settle(index, told.map(|()| 0));
    }

    fn hold(&mut self, index: usize, direction: Direction, hold: Hold) {
        if let Some(flow) = self.flow_mut(index, direction) {
            flow.hold = hold;
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

    /// Only the client's bytes can be let go by a call: for the upstream's the ABI has none.
    fn take_resume(&self, index: usize) -> bool {
        let mut state = self.stream.state.borrow_mut();
        let resume = state.slots.get_mut(index).map(|slot| std::mem::take(&mut slot.resume));
        resume.is_some_and(|[request, _]| request)
    }

    fn awaits_calls(&self, index: usize) -> bool {
        self.stream.state.borrow().slots.get(index).is_some_and(|slot| slot.calls > 0)
    }

    fn held_bytes(&self, index: usize, direction: Direction) -> usize {
        let state = self.stream.state.borrow();
        let body = state.slots.get(index).and_then(|slot| slot.bodies.get(direction as usize));
        body.map_or(0, BodyBuffer::len)
    }

    fn limit(&self, index: usize) -> usize {
        self.chain.plugins().get(index).map_or(0, |plugin| plugin.settings().limits.body)
    }

    fn guest(&self, index: usize) -> Option<&Guest> {
        self.filters.get(index)?.guest.as_ref()
    }

    fn flow(&self, index: usize, direction: Direction) -> Option<&Flow> {
        self.filters.get(index)?.flows.get(direction as usize)
    }

    fn flow_mut(&mut self, index: usize, direction: Direction) -> Option<&mut Flow> {
        self.filters.get_mut(index)?.flows.get_mut(direction as usize)
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
}

fn end(guest: Guest, closed_by: ClosedBy) -> Result<(), Trapped> {
    guest.connection_close(Direction::Request, closed_by as u32)?;
    guest.done()?;
    guest.log()?;
    guest.delete()
}

#[cfg(test)]
mod tests;
