//! What a filter holds of a stream, and how that goes on.

use super::{Fate, FilteredStream};
use crate::filter_chain::flow::{End, Flow, Hold};
use crate::wasm::{Access, BodyBuffer, Direction, LocalReply};

impl FilteredStream {
    /// Whether the message that was being passed is still the one to pass: no reply has taken its place since.
    pub(super) fn stands(&self, replies: u32) -> bool {
        self.replies == replies && self.fate != Fate::Reset
    }

    /// Lets go what a filter holds: headers on their way first, what was shown as the result. `None`: their way has
    /// ended in a reply.
    pub(super) fn release(&mut self, direction: Direction, index: usize) -> Option<BodyBuffer> {
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
    pub(super) fn resume(&mut self, direction: Direction, index: usize) {
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

    pub(super) fn keep(&mut self, index: usize, direction: Direction, hold: Hold, end: Option<End>) {
        self.with_flow(index, direction, |flow| {
            flow.hold = hold;
            flow.held_end = end;
        });
        self.count_held(direction, true);
    }

    pub(super) fn unsee(&mut self, index: usize, direction: Direction) {
        let shown = self.take_shown(index, direction);
        self.with_flow(index, direction, |flow| flow.unseen.append(shown));
    }

    pub(super) fn take_shown(&mut self, index: usize, direction: Direction) -> BodyBuffer {
        let mut state = self.stream.state.borrow_mut();
        let body = state.slots.get_mut(index).and_then(|slot| slot.bodies.get_mut(direction as usize));
        body.map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn buffer_limit(&self) -> usize {
        self.chain.plugins.iter().map(|plugin| plugin.settings().limits.body).max().unwrap_or(1 << 20)
    }

    /// Counts what is held of a direction. `bounded`: more than the limit is an error.
    pub(super) fn count_held(&mut self, direction: Direction, bounded: bool) {
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
}
