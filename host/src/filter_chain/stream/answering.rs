//! What a filter answers to a callback, and the answers that a stream gets in place of the upstream's.

use super::{Event, Fate, FilteredStream};
use crate::filter_chain::flow::Flow;
use crate::filter_chain::local_reply::to_events;
use crate::wasm::{Direction, FailStrategy, LocalReply, Trapped};
use http_match::HeaderList;

/// A filter's answer to a callback, once what it asked for besides has been heeded.
pub(super) enum Answer {
    Action(u32),
    /// The stream goes on without the filter.
    Bypassed,
    /// The stream has been answered or reset: nothing more to do with this event.
    Settled,
}

impl FilteredStream {
    /// Heeds what a filter asked for in a callback, beside the action that it returned.
    pub(super) fn settle(&mut self, index: usize, direction: Direction, action: Result<u32, Trapped>) -> Answer {
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
    pub(super) fn settled_unavailable(&mut self, index: usize) -> bool {
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
    pub(super) fn local_reply(&mut self, reply: LocalReply, from: Option<usize>) {
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
}
