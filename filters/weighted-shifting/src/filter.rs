//! Acts: draws, names the cluster, changes headers.

use crate::config::{Config, ShiftingPolicy};
use crate::key::{Key, Source, hex};
use crate::policy::Policy;
use filter_api::{
    Action, Captured, Filter, HeaderEdit, HostError, IdMap, Metric, PolicyId, PolicyTable, Root, Stream, StreamId,
    configure_one, header_name,
};
use plugin_config::{At, Faults, Quoted};
use twox_hash::XxHash64;

/// Makes the filter from a plugin configuration.
///
/// # Errors
/// Every fault of the configuration.
pub fn configure(configuration: &[u8], root: &mut Root<'_>) -> Result<Vec<Box<dyn Filter>>, Faults> {
    configure_one(configuration, root, build)
}

/// Compiles a configuration; every fault is recorded in `at`.
pub fn build(config: &Config, at: &mut At, root: &mut Root<'_>) -> Option<Box<dyn Filter>> {
    let header = at.field("header", |at| plain_header(&config.header, at));
    let hash_header = at.field("hashHeader", |at| plain_header(&config.hash_header, at));
    // For the faults of the rest it does not matter which it is.
    let name = header.as_deref().unwrap_or_default();
    let compile = |policy: &ShiftingPolicy, at: &mut At| Policy::compile(policy, name, at, root);
    let table = PolicyTable::compile(&config.routes, &config.rules, at, compile);
    header?;
    Some(Box::new(WeightedShifting {
        hash_header: hash_header?,
        table: table?,
        responses: IdMap::new(),
        failed: root.counter("outrigger.weighted_shifting.failed"),
    }))
}

fn plain_header(name: &str, at: &mut At) -> Option<Box<str>> {
    let found = header_name(name).filter(|name| !name.starts_with(':') && **name != *"host");
    found.or_else(|| at.fault(Quoted(name), "expected a header name, and no pseudo-header"))
}

struct WeightedShifting {
    hash_header: Box<str>,
    table: PolicyTable<Policy>,
    /// What is still to be done to responses.
    responses: IdMap<StreamId, Response>,
    failed: Metric,
}

/// What is to be done to a response.
struct Response {
    policy: PolicyId,
    destination: usize,
    captured: Option<Captured>,
    cookies: Vec<Vec<u8>>,
}

impl Filter for WeightedShifting {
    fn on_request_headers(&mut self, stream: &mut Stream<'_>) -> Action {
        if self.table.is_empty() {
            return Action::Continue;
        }
        if let Err(error) = self.shift(stream) {
            log::warn!("no destination is chosen: the request cannot be read or changed ({error})");
            stream.root().add(self.failed, 1);
        }
        Action::Continue
    }

    fn on_response_headers(&mut self, stream: &mut Stream<'_>) {
        let Some(response) = self.responses.remove(stream.id()) else {
            return;
        };
        let destination =
            self.table.get(response.policy).and_then(|policy| policy.destinations.get(response.destination));
        let operations = destination.and_then(|destination| destination.headers.as_ref());
        let mut done = Ok(());
        if let (Some(operations), Some(captured)) = (operations, &response.captured) {
            done = operations.apply_response(captured, stream);
        }
        for cookie in response.cookies {
            done = done.and_then(|()| stream.edit_response(&HeaderEdit::Add("set-cookie".to_owned(), cookie)));
        }
        if let Err(error) = done {
            log::warn!("the response headers cannot be changed: {error}");
        }
    }

    fn on_stream_end(&mut self, stream: StreamId, _root: &mut Root<'_>) {
        self.responses.remove(stream);
    }
}

impl WeightedShifting {
    fn shift(&mut self, stream: &mut Stream<'_>) -> Result<(), HostError> {
        let Some((id, policy)) = self.table.find(stream)? else {
            return Ok(());
        };
        let mut cookies = Vec::new();
        let chosen = match (policy.only(), &policy.sticky) {
            (Some(only), _) => only,
            (None, Some(source)) => match key(source, &mut cookies, stream)? {
                Some(key) => policy.keep(&key).unwrap_or_default(),
                None => policy.draw(stream.root().random()?),
            },
            (None, None) => policy.draw(stream.root().random()?),
        };
        let Some(destination) = policy.destinations.get(chosen) else {
            return Ok(());
        };
        stream.root().add(destination.selected, 1);
        if let Some(source) = &policy.hash
            && let Some(key) = key(source, &mut cookies, stream)?
        {
            stream.set_request_header(&self.hash_header, hex(XxHash64::oneshot(0, &key)).as_bytes())?;
        }
        let mut captured = None;
        if let Some(operations) = &destination.headers {
            operations.apply_request(stream)?;
            if operations.has_response() {
                captured = Some(operations.capture(stream)?);
            }
        }
        stream.edit_request(&destination.edit)?;
        if captured.is_some() || !cookies.is_empty() {
            self.responses.insert(stream.id(), Response { policy: id, destination: chosen, captured, cookies });
        }
        Ok(())
    }
}

/// The key of a request; a cookie that had to be made for it is added to `cookies`.
fn key(source: &Source, cookies: &mut Vec<Vec<u8>>, stream: &mut Stream<'_>) -> Result<Option<Vec<u8>>, HostError> {
    Ok(match source.find(stream)? {
        Key::Found(key) => Some(key),
        Key::Missing => None,
        Key::Made(key, cookie) => {
            cookies.push(cookie);
            Some(key)
        }
    })
}
