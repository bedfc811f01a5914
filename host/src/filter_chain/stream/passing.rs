//! Events on their way from one filter to the next.

use super::answering::Answer;
use super::{Event, Fate, FilteredStream};
use crate::filter_chain::flow::{End, Hold};
use crate::wasm::{Access, BodyBuffer, Direction};

impl FilteredStream {
    pub(super) fn pass_headers(&mut self, direction: Direction, mut place: usize, end: bool) {
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

    pub(super) fn pass_data(&mut self, direction: Direction, mut place: usize, mut body: BodyBuffer, end: bool) {
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
        let readable = self.stream.state.borrow_mut().make_readable(index, direction, part)?;
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

    pub(super) fn pass_trailers(&mut self, direction: Direction, mut place: usize) {
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
    pub(super) fn pass_released(&mut self, direction: Direction, place: usize, released: BodyBuffer) -> bool {
        let replies = self.replies;
        if !released.is_empty() {
            self.pass_data(direction, place, released, false);
        }
        self.stands(replies)
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
