//! Acts: answers preflights, adds to responses.

use crate::config::Config;
use crate::policy::{Policy, Preflight};
use filter_api::{
    Action, Filter, HeaderEdit, HostError, IdMap, LocalReply, Metric, PolicyId, PolicyTable, Root, Stream, StreamId,
    configure_one,
};
use plugin_config::{At, Faults};

/// Makes the filter from a plugin configuration.
///
/// # Errors
/// Every fault of the configuration.
pub fn configure(configuration: &[u8], root: &mut Root<'_>) -> Result<Vec<Box<dyn Filter>>, Faults> {
    configure_one(configuration, root, build)
}

/// Compiles a configuration; every fault is recorded in `at`.
pub fn build(config: &Config, at: &mut At, root: &mut Root<'_>) -> Option<Box<dyn Filter>> {
    Some(Box::new(Cors {
        table: PolicyTable::compile(&config.routes, &config.rules, at, Policy::compile)?,
        allowed: IdMap::new(),
        preflights: root.counter("outrigger.cors.preflights"),
        matched: root.counter("outrigger.cors.origin_valid"),
        unmatched: root.counter("outrigger.cors.origin_invalid"),
    }))
}

struct Cors {
    table: PolicyTable<Policy>,
    /// Streams of allowed origins, whose responses are still to come.
    allowed: IdMap<StreamId, (PolicyId, Vec<u8>)>,
    preflights: Metric,
    matched: Metric,
    unmatched: Metric,
}

impl Filter for Cors {
    fn on_request_headers(&mut self, stream: &mut Stream<'_>) -> Action {
        if self.table.is_empty() {
            return Action::Continue;
        }
        match self.decide(stream) {
            Ok(action) => action,
            Err(error) => {
                log::warn!("no CORS headers are added: the request cannot be read ({error})");
                Action::Continue
            }
        }
    }

    fn on_response_headers(&mut self, stream: &mut Stream<'_>) {
        let Some((id, origin)) = self.allowed.remove(stream.id()) else {
            return;
        };
        let own = self.table.get(id).into_iter().flat_map(Policy::response);
        let own = own.map(|(name, value)| HeaderEdit::Set(name.to_owned(), value.as_bytes().to_vec()));
        let origin = HeaderEdit::Set("access-control-allow-origin".to_owned(), origin);
        for edit in std::iter::once(origin).chain(own) {
            if let Err(error) = stream.edit_response(&edit) {
                log::warn!("CORS headers cannot be added: {error}");
                return;
            }
        }
    }

    fn on_stream_end(&mut self, stream: StreamId, _root: &mut Root<'_>) {
        self.allowed.remove(stream);
    }
}

impl Cors {
    fn decide(&mut self, stream: &mut Stream<'_>) -> Result<Action, HostError> {
        // Most requests have no origin: one cheap question before anything else.
        let Some(origin) = stream.request_header("origin")?.filter(|origin| !origin.is_empty()) else {
            return Ok(Action::Continue);
        };
        let Some((id, policy)) = self.table.find(stream)? else {
            return Ok(Action::Continue);
        };
        let allowed = policy.allows(&origin);
        stream.root().add(if allowed { self.matched } else { self.unmatched }, 1);
        if let Some((method, headers)) = asked(stream)? {
            let allowed = allowed.then_some(origin.as_slice());
            return Ok(match policy.preflight(allowed, &method, &headers) {
                Preflight::Forward => Action::Continue,
                Preflight::Answer(headers) => {
                    stream.root().add(self.preflights, 1);
                    stream.reply(&LocalReply { headers, ..LocalReply::new(200, "cors_preflight") });
                    Action::Pause
                }
            });
        }
        if allowed {
            self.allowed.insert(stream.id(), (id, origin));
        }
        Ok(Action::Continue)
    }
}

/// Values of a preflight's `access-control-request-method` and `access-control-request-headers`.
type Asked = (Vec<u8>, Vec<u8>);

/// The method and headers that a preflight asks for; `None`: the request is none.
fn asked(stream: &mut Stream<'_>) -> Result<Option<Asked>, HostError> {
    if stream.request_header(":method")?.as_deref() != Some(b"OPTIONS") {
        return Ok(None);
    }
    let Some(method) = stream.request_header("access-control-request-method")?.filter(|method| !method.is_empty())
    else {
        return Ok(None);
    };
    Ok(Some((method, stream.request_header("access-control-request-headers")?.unwrap_or_default())))
}
