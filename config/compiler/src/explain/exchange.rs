//! The request, carried through the filters that route and change it, in memory: what they answer, or what goes on.

use super::{DescribedRequest, plugins, refused};
use crate::compile::{CompileError, FilterConfigs};
use crate::snapshot::Cluster;
use filter_api::Configure;
use http_match::HeaderList;
use native_shim::{Message, NativeProxy, RecordedCall, Sent, Settings, Upstreams};
use std::net::SocketAddr;

/// What becomes of a request.
pub(super) struct Outcome {
    /// The answer, as the client gets it: of the filters, or of whoever is behind them and says nothing but 200.
    response: HeaderList,
    /// What goes on; `None` when the filters answer.
    request: Option<HeaderList>,
}

/// What filters tell the proxy; whoever is behind does not see it.
const CONTROL: [&str; 2] = ["x-outrigger-", "x-envoy-"];

/// Carries a request that came in on `port`. Faults and shares are left out, which are chance; `chosen`: what
/// weighted-shifting has when it has chosen.
///
/// # Errors
/// What a filter says of its configuration.
pub(super) fn run(
    configs: &FilterConfigs,
    chosen: Option<&weighted_shifting::Config>,
    clusters: &[Cluster],
    port: u16,
    request: &DescribedRequest,
) -> Result<Outcome, CompileError> {
    let mut settings = Settings::default();
    settings.clusters.extend(clusters.iter().map(|cluster| cluster.name.clone()));
    settings.properties.insert("destination.port".to_owned(), u64::from(port).to_le_bytes().to_vec());
    if let Some(source) = request.source {
        let address = SocketAddr::new(source, 0).to_string().into_bytes();
        settings.properties.insert("source.address".to_owned(), address);
    }
    let mut proxy = NativeProxy::new(settings);
    let mut filters: Vec<(Configure, Vec<u8>)> = vec![
        (header_rules::configure, plugins::written(&configs.header_rules)?),
        (cors::configure, plugins::written(&configs.cors)?),
    ];
    if let Some(chosen) = chosen {
        filters.push((weighted_shifting::configure, plugins::written(chosen)?));
    }
    for (configure, configuration) in filters {
        proxy.add_plugin(configure, &configuration).map_err(|faults| refused(&faults))?;
    }
    let message = Message { headers: request.header_list(), ..Message::default() };
    let exchange = proxy.exchange(message, &mut Silent);
    let request = exchange.sent.into_iter().find(|sent| !sent.by_plugin).map(|sent| sent.message.headers);
    Ok(Outcome { response: exchange.response.headers, request })
}

impl Outcome {
    /// Whether the filters answer themselves.
    pub(super) fn is_answered(&self) -> bool {
        self.request.is_none()
    }

    /// A header of the response; empty where it is not there.
    pub(super) fn response_header(&self, name: &str) -> String {
        text(&self.response, name)
    }

    /// The request as whoever is behind gets it.
    pub(super) fn forwarded(&self, request: &DescribedRequest) -> DescribedRequest {
        let Some(headers) = &self.request else { return request.clone() };
        let mut forwarded = described(headers, request);
        forwarded.headers.retain(|(name, _)| !CONTROL.iter().any(|start| name.starts_with(start)));
        forwarded
    }
}

/// The request as plugins have left its headers.
pub(super) fn described(headers: &HeaderList, request: &DescribedRequest) -> DescribedRequest {
    let all = headers
        .iter()
        .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned()));
    DescribedRequest {
        authority: text(headers, ":authority"),
        target: text(headers, ":path"),
        headers: all.filter(|(name, _)| !name.starts_with(':')).collect(),
        ..request.clone()
    }
}

/// For people to read, and for policies: bytes that are no text are none in what was described.
pub(super) fn text(headers: &HeaderList, name: &str) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
}

/// Whoever is behind.
pub(super) struct Silent;

impl Upstreams for Silent {
    fn http(&mut self, _: &Sent) -> Option<Message> {
        let mut headers = HeaderList::new();
        headers.append(b":status", b"200");
        Some(Message { headers, ..Message::default() })
    }

    fn grpc(&mut self, _: &RecordedCall) -> Result<Vec<u8>, u32> {
        // No filter that is carried here makes such calls.
        Err(12)
    }
}
