//! What the plugins of one proxy share: streams, clock, chance, metrics, clusters.

use crate::{FakeClock, Recorded, RecordedCall, ScriptedRandom};
use filter_api::{CallId, HeaderMap, LocalReply, MetricKind, StreamId};
use http_match::HeaderList;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What kind of proxy to pretend.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Names of the clusters that exist: a call to any other is refused.
    pub clusters: BTreeSet<String>,
    /// Properties that every stream has, by path joined with `.`: `source.address`.
    pub properties: BTreeMap<String, Vec<u8>>,
    /// What time it is when the proxy starts.
    pub clock: FakeClock,
}

/// One stream, as the host knows it.
#[derive(Debug, Default)]
pub(crate) struct StreamWorld {
    pub(crate) request: HeaderList,
    /// Whether the request headers have gone on: then no map of the request can be read any more.
    pub(crate) request_gone: bool,
    pub(crate) response: Option<HeaderList>,
    pub(crate) body_chunk: Vec<u8>,
    pub(crate) properties: BTreeMap<String, Vec<u8>>,
    pub(crate) reply: Option<LocalReply>,
    pub(crate) resumed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) clock: FakeClock,
    pub(crate) random: ScriptedRandom,
    pub(crate) streams: BTreeMap<StreamId, StreamWorld>,
    pub(crate) metrics: Vec<(MetricKind, String, i64)>,
    pub(crate) recorded: Vec<Recorded>,
    /// Calls not answered yet, with the plugin that made each.
    pub(crate) calls: Vec<(usize, RecordedCall)>,
    /// Tick period and next tick of each plugin.
    pub(crate) ticks: Vec<Option<(Duration, Duration)>>,
    /// The answer being reported to a plugin.
    pub(crate) answer: Option<(CallId, HeaderList, Vec<u8>)>,
    pub(crate) last_call: u32,
}

impl World {
    pub(crate) fn next_call(&mut self) -> u32 {
        self.last_call += 1;
        self.last_call
    }

    /// The map `map` of a stream, while a filter may touch it.
    pub(crate) fn header_map(&mut self, stream: Option<StreamId>, map: HeaderMap) -> Option<&mut HeaderList> {
        if map == HeaderMap::HttpCallResponse {
            return self.answer.as_mut().map(|(_, headers, _)| headers);
        }
        let stream = self.streams.get_mut(&stream?)?;
        match map {
            HeaderMap::Request if !stream.request_gone => Some(&mut stream.request),
            HeaderMap::Response => stream.response.as_mut(),
            _ => None,
        }
    }
}
