//! Collects what is copied, and sends it.

use crate::config::Config;
use crate::copy;
use crate::policy::{Draws, Policy};
use filter_api::{
    Action, CallEvent, CallId, Filter, HostError, HttpCall, IdMap, Metric, PolicyTable, Reach, Root, Stream, StreamId,
    configure_one,
};
use http_match::HeaderList;
use plugin_config::{At, Faults};
use std::time::Duration;

/// Makes the filter from a plugin configuration.
///
/// # Errors
/// Every fault of the configuration.
pub fn configure(configuration: &[u8], root: &mut Root<'_>) -> Result<Vec<Box<dyn Filter>>, Faults> {
    configure_one(configuration, root, build)
}

/// Compiles a configuration; every fault is recorded in `at`.
pub fn build(config: &Config, at: &mut At, root: &mut Root<'_>) -> Option<Box<dyn Filter>> {
    let table = PolicyTable::compile(&config.routes, &config.rules, at, Policy::compile);
    if config.timeout.0.is_zero() {
        at.field("timeout", |at| at.refuse(config.timeout, "expected more than nothing"));
    }
    let table = table?;
    Some(Box::new(Mirroring {
        reach: Reach::of(table.policies().map(Policy::shares)),
        table,
        max_body: config.max_body_bytes as usize,
        max_in_flight: config.max_in_flight as usize,
        timeout: config.timeout.0,
        shadow_host_suffix: config.shadow_host_suffix,
        collecting: IdMap::new(),
        in_flight: 0,
        sent: root.counter("outrigger.mirroring.sent"),
        too_large: root.counter("outrigger.mirroring.body_too_large"),
        too_many: root.counter("outrigger.mirroring.overflow"),
        failed: root.counter("outrigger.mirroring.not_sent"),
    }))
}

struct Mirroring {
    table: PolicyTable<Policy>,
    reach: Reach<usize>,
    max_body: usize,
    max_in_flight: usize,
    timeout: Duration,
    shadow_host_suffix: bool,
    /// Copies whose bodies are still passing by.
    collecting: IdMap<StreamId, Copy>,
    in_flight: usize,
    sent: Metric,
    too_large: Metric,
    too_many: Metric,
    failed: Metric,
}

/// A copy in the making.
struct Copy {
    clusters: Vec<String>,
    headers: HeaderList,
    body: Vec<u8>,
}

impl Filter for Mirroring {
    fn on_request_headers(&mut self, stream: &mut Stream<'_>) -> Action {
        match self.begin(stream) {
            Ok(Some(copy)) if stream.end_of_stream() => self.send(copy, stream.root()),
            Ok(Some(copy)) => {
                self.collecting.insert(stream.id(), copy);
            }
            Ok(None) => {}
            Err(error) => log::warn!("no copy is made: the request cannot be read ({error})"),
        }
        Action::Continue
    }

    fn on_request_body(&mut self, stream: &mut Stream<'_>, size: usize) {
        let Some(copy) = self.collecting.get_mut(stream.id()) else {
            return;
        };
        if copy.body.len().saturating_add(size) > self.max_body {
            self.collecting.remove(stream.id());
            stream.root().add(self.too_large, 1);
            return;
        }
        if size > 0 {
            match stream.request_body(size) {
                Ok(chunk) => copy.body.extend_from_slice(&chunk),
                Err(error) => {
                    log::warn!("no copy is made: the body cannot be read ({error})");
                    self.collecting.remove(stream.id());
                    return;
                }
            }
        }
        if stream.end_of_stream() {
            self.finish(stream);
        }
    }

    fn on_request_trailers(&mut self, stream: &mut Stream<'_>) {
        self.finish(stream);
    }

    fn on_stream_end(&mut self, stream: StreamId, _root: &mut Root<'_>) {
        // A client that left in the middle of its body: there is no whole request to copy.
        self.collecting.remove(stream);
    }

    fn on_call(&mut self, _call: CallId, _event: CallEvent, _root: &mut Root<'_>) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}

impl Mirroring {
    /// What is to be copied of a request, if anything.
    fn begin(&mut self, stream: &mut Stream<'_>) -> Result<Option<Copy>, HostError> {
        let mut draws = Draws::default();
        if !self.reach.may_hit(|place| draws.take(place, || stream.root().random()))? {
            return Ok(None);
        }
        let Some((_, policy)) = self.table.find(stream)? else {
            return Ok(None);
        };
        let clusters = policy.decide(|place| draws.take(place, || stream.root().random()))?;
        let clusters: Vec<String> = clusters.into_iter().map(str::to_owned).collect();
        if clusters.is_empty() {
            return Ok(None);
        }
        let request = stream.request_headers()?;
        if !copy::can_be_copied(request) {
            return Ok(None);
        }
        Ok(Some(Copy { clusters, headers: copy::headers(request, self.shadow_host_suffix), body: Vec::new() }))
    }

    fn finish(&mut self, stream: &mut Stream<'_>) {
        if let Some(copy) = self.collecting.remove(stream.id()) {
            self.send(copy, stream.root());
        }
    }

    fn send(&mut self, copy: Copy, root: &mut Root<'_>) {
        for cluster in &copy.clusters {
            if self.in_flight >= self.max_in_flight {
                root.add(self.too_many, 1);
                continue;
            }
            let call = HttpCall { cluster, headers: &copy.headers, body: &copy.body, timeout: self.timeout };
            match root.http_call(&call) {
                Ok(_) => {
                    self.in_flight += 1;
                    root.add(self.sent, 1);
                }
                Err(error) => {
                    log::warn!(
                        "the copy to cluster {cluster} was not sent ({error}): does the proxy have this cluster?"
                    );
                    root.add(self.failed, 1);
                }
            }
        }
    }
}
