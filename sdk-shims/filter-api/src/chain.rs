//! Runs one filter, or several linked into one module, over streams.

use crate::headers::Headers;
use crate::{Action, CallEvent, CallId, HeaderMap, Host, IdMap, Root, Stream, StreamId};
use plugin_config::{At, Faults, FromNode};
use std::borrow::Cow;
use std::time::Duration;

/// One feature: decisions about streams.
///
/// A filter keeps what it must remember about a stream by [`StreamId`] and forgets it in `on_stream_end`, which is
/// called exactly once for every stream whose request headers it saw.
pub trait Filter {
    /// The request headers arrived.
    fn on_request_headers(&mut self, stream: &mut Stream<'_>) -> Action;

    /// A connection that carries bytes, not requests, was accepted: there is nothing but its properties. It goes on, or
    /// [`Stream::close`] ends it. Nothing more is heard of it but [`Filter::on_stream_end`].
    fn on_new_connection(&mut self, _connection: &mut Stream<'_>) -> Action {
        Action::Continue
    }

    /// A stream this filter holds was woken by [`Root::wake`]. `Continue` lets it go on to the next filter.
    fn on_wake(&mut self, _stream: &mut Stream<'_>) -> Action {
        Action::Continue
    }

    /// `size` bytes of request body passed by; [`Stream::end_of_stream`] tells whether they are the last. The body is
    /// never held.
    fn on_request_body(&mut self, _stream: &mut Stream<'_>, _size: usize) {}

    /// The request trailers passed by: the body ended before them.
    fn on_request_trailers(&mut self, _stream: &mut Stream<'_>) {}

    /// The response headers arrived; also those of a local reply, unless it was made before this filter had its turn.
    fn on_response_headers(&mut self, _stream: &mut Stream<'_>) {}

    /// The stream is over, or its client left.
    fn on_stream_end(&mut self, _stream: StreamId, _root: &mut Root<'_>) {}

    /// The timer that [`Root::set_tick`] asked for.
    fn on_tick(&mut self, _root: &mut Root<'_>) {}

    /// Something became of a call this filter made.
    fn on_call(&mut self, _call: CallId, _event: CallEvent, _root: &mut Root<'_>) {}
}

/// Makes the filters of a module from its plugin configuration (JSON).
///
/// # Errors
/// Every fault of the configuration: the module is refused whole.
pub type Configure = fn(&[u8], &mut Root<'_>) -> Result<Vec<Box<dyn Filter>>, Faults>;

/// Reads the plugin configuration of a module with one filter, and builds it: the body of its [`Configure`].
///
/// # Errors
/// Every fault, those of reading and those that `build` records.
pub fn configure_one<C: FromNode>(
    configuration: &[u8],
    root: &mut Root<'_>,
    build: impl FnOnce(&C, &mut At, &mut Root<'_>) -> Option<Box<dyn Filter>>,
) -> Result<Vec<Box<dyn Filter>>, Faults> {
    let mut at = At::root();
    let config: C = plugin_config::read_slice(configuration, &mut at)?;
    at.start_checks();
    match build(&config, &mut at, root) {
        Some(filter) if at.is_good() => Ok(vec![filter]),
        _ => Err(at.into_faults()),
    }
}

/// The filters of one plugin, in request order, with the streams they have in hand.
pub struct Chain {
    filters: Vec<Box<dyn Filter>>,
    streams: IdMap<StreamId, StreamState>,
    root: RootState,
}

/// What the chain knows about one stream.
#[derive(Debug)]
pub(crate) struct StreamState {
    pub(crate) request: Headers,
    pub(crate) response: Headers,
    /// Properties that filters of this module set: later ones read them without a hostcall.
    pub(crate) properties: Vec<(Cow<'static, str>, Vec<u8>)>,
    /// Whether more than one filter shares the module, so that `properties` can have a reader.
    pub(crate) linked: bool,
    pub(crate) end_of_stream: bool,
    pub(crate) replied: bool,
    /// How many filters have had the request headers; only those see the response.
    reached: usize,
    held: bool,
}

/// What the filters of one plugin share outside streams.
#[derive(Debug, Default)]
pub(crate) struct RootState {
    pub(crate) calls: IdMap<CallId, usize>,
    pub(crate) wakes: Vec<(StreamId, usize)>,
    ticks: Vec<(usize, Duration)>,
    period: Duration,
}

impl RootState {
    /// Notes the period one filter wants and gives the host the shortest of all.
    pub(crate) fn set_tick(&mut self, filter: usize, period: Option<Duration>, host: &mut dyn Host) {
        self.ticks.retain(|(owner, _)| *owner != filter);
        self.ticks.extend(period.map(|period| (filter, period)));
        let shortest = self.ticks.iter().map(|(_, period)| *period).min().unwrap_or_default();
        if shortest != self.period && host.set_tick_period(shortest).is_ok() {
            self.period = shortest;
        }
    }
}

impl Chain {
    /// Configures the filters of a module.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn configure(configure: Configure, configuration: &[u8], host: &mut dyn Host) -> Result<Self, Faults> {
        let mut root = RootState::default();
        let filters = configure(configuration, &mut Root { host, state: &mut root, filter: 0 })?;
        Ok(Self { filters, streams: IdMap::new(), root })
    }

    /// The request headers of a new stream arrived.
    pub fn on_request_headers(&mut self, id: StreamId, end_of_stream: bool, host: &mut dyn Host) -> Action {
        let action = match Self::begin(&mut self.streams, self.filters.len(), id, end_of_stream) {
            Some(state) => Self::run_request(&mut self.filters, &mut self.root, id, state, host),
            None => Action::Pause,
        };
        self.run_wakes(host);
        action
    }

    fn begin(
        streams: &mut IdMap<StreamId, StreamState>,
        filters: usize,
        id: StreamId,
        end_of_stream: bool,
    ) -> Option<&mut StreamState> {
        let state = StreamState {
            request: Headers::new(HeaderMap::Request),
            response: Headers::new(HeaderMap::Response),
            properties: Vec::new(),
            linked: filters > 1,
            end_of_stream,
            replied: false,
            reached: 0,
            held: false,
        };
        streams.insert(id, state)
    }

    /// A connection was accepted.
    pub fn on_new_connection(&mut self, id: StreamId, host: &mut dyn Host) -> Action {
        let Self { filters, streams, root } = self;
        let Some(state) = Self::begin(streams, filters.len(), id, false) else {
            return Action::Pause;
        };
        for (index, filter) in filters.iter_mut().enumerate() {
            state.reached = index + 1;
            let root = Root { host, state: root, filter: index };
            let action = filter.on_new_connection(&mut Stream { id, root, state });
            if state.replied || action == Action::Pause {
                return Action::Pause;
            }
        }
        Action::Continue
    }

    /// Runs the filters that have not had the request headers yet.
    fn run_request(
        filters: &mut [Box<dyn Filter>],
        root: &mut RootState,
        id: StreamId,
        state: &mut StreamState,
        host: &mut dyn Host,
    ) -> Action {
        while let Some(filter) = filters.get_mut(state.reached) {
            let index = state.reached;
            state.reached += 1;
            let root = Root { host, state: root, filter: index };
            let action = filter.on_request_headers(&mut Stream { id, root, state });
            if state.replied {
                return Action::Pause;
            }
            if action == Action::Pause {
                state.held = true;
                return Action::Pause;
            }
        }
        state.request.forget();
        Action::Continue
    }

    /// Goes on with the streams that filters woke in the callback just ended.
    fn run_wakes(&mut self, host: &mut dyn Host) {
        while let Some((id, filter)) = self.root.wakes.pop() {
            let held_there = self.streams.get(id).is_some_and(|state| state.held && state.reached == filter + 1);
            if held_there && host.select_stream(id).is_ok() {
                self.wake(id, filter, host);
            }
        }
    }

    fn wake(&mut self, id: StreamId, index: usize, host: &mut dyn Host) {
        let Self { filters, streams, root: shared } = self;
        let (Some(state), Some(filter)) = (streams.get_mut(id), filters.get_mut(index)) else {
            return;
        };
        let root = Root { host, state: shared, filter: index };
        let action = filter.on_wake(&mut Stream { id, root, state });
        if state.replied {
            state.held = false;
            return;
        }
        if action == Action::Pause {
            return;
        }
        state.held = false;
        if Self::run_request(filters, shared, id, state, host) == Action::Continue
            && let Err(error) = host.resume_request()
        {
            log::debug!("stream {} could not be resumed: {error}", id.0);
        }
    }

    /// `size` bytes of request body passed by.
    pub fn on_request_body(&mut self, id: StreamId, size: usize, end_of_stream: bool, host: &mut dyn Host) {
        if let Some(state) = self.streams.get_mut(id) {
            state.end_of_stream = end_of_stream;
        }
        self.each_reached(id, host, |filter, stream| filter.on_request_body(stream, size));
    }

    /// The request trailers passed by.
    pub fn on_request_trailers(&mut self, id: StreamId, host: &mut dyn Host) {
        self.each_reached(id, host, |filter, stream| filter.on_request_trailers(stream));
    }

    fn each_reached(
        &mut self,
        id: StreamId,
        host: &mut dyn Host,
        mut callback: impl FnMut(&mut Box<dyn Filter>, &mut Stream<'_>),
    ) {
        let Self { filters, streams, root } = self;
        let Some(state) = streams.get_mut(id) else {
            return;
        };
        for (index, filter) in filters.iter_mut().enumerate().take(state.reached) {
            let root = Root { host, state: root, filter: index };
            callback(filter, &mut Stream { id, root, state });
        }
    }

    /// The response headers arrived, or those of a local reply. Filters have their turn in reverse order.
    pub fn on_response_headers(&mut self, id: StreamId, end_of_stream: bool, host: &mut dyn Host) {
        let Self { filters, streams, root } = self;
        let Some(state) = streams.get_mut(id) else {
            return;
        };
        state.end_of_stream = end_of_stream;
        for index in (0..state.reached).rev() {
            if let Some(filter) = filters.get_mut(index) {
                let root = Root { host, state: root, filter: index };
                filter.on_response_headers(&mut Stream { id, root, state });
            }
        }
        state.response.forget();
    }

    /// The stream is over.
    pub fn on_stream_end(&mut self, id: StreamId, host: &mut dyn Host) {
        let Self { filters, streams, root } = self;
        let Some(state) = streams.remove(id) else {
            return;
        };
        for index in 0..state.reached {
            if let Some(filter) = filters.get_mut(index) {
                filter.on_stream_end(id, &mut Root { host, state: root, filter: index });
            }
        }
    }

    /// The host's timer.
    pub fn on_tick(&mut self, host: &mut dyn Host) {
        let Self { filters, root, .. } = self;
        for (index, filter) in filters.iter_mut().enumerate() {
            if root.ticks.iter().any(|(owner, _)| *owner == index) {
                filter.on_tick(&mut Root { host, state: root, filter: index });
            }
        }
        self.run_wakes(host);
    }

    /// Something became of a call. A call that no filter made, or that has ended, is passed over.
    pub fn on_call(&mut self, call: CallId, event: CallEvent, host: &mut dyn Host) {
        let Self { filters, root, .. } = self;
        let Some(index) = root.calls.remove(call) else {
            return;
        };
        if let Some(filter) = filters.get_mut(index) {
            filter.on_call(call, event, &mut Root { host, state: root, filter: index });
        }
        self.run_wakes(host);
    }
}
