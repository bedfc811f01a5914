//! The compiled destinations of one route.

use crate::config::{Destination, ShiftingPolicy};
use crate::key::Source;
use crate::shares::Shares;
use crate::sticky;
use filter_api::{HeaderEdit, HeaderOperations, HeadersConfig, Metric, Root};
use plugin_config::At;

/// Compiled destinations.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) destinations: Vec<Compiled>,
    shares: Shares,
    pub(crate) sticky: Option<Source>,
    pub(crate) hash: Option<Source>,
}

/// A destination with all that acts when it is drawn.
#[derive(Debug)]
pub(crate) struct Compiled {
    cluster: String,
    /// Names the cluster.
    pub(crate) edit: HeaderEdit,
    weight: u32,
    pub(crate) headers: Option<HeaderOperations>,
    pub(crate) selected: Metric,
}

impl Policy {
    /// `header`: the request header that names the cluster.
    pub(crate) fn compile(written: &ShiftingPolicy, header: &str, at: &mut At, root: &mut Root<'_>) -> Option<Self> {
        let only = written.destinations.len() == 1;
        let route = at.field("headers", |at| headers(written.headers.as_ref(), at));
        let destinations = at.field("destinations", |at| {
            let each = written.destinations.iter().enumerate();
            let compiled =
                each.map(|(i, destination)| at.index(i, |at| compile(destination, header, only, &route, at, root)));
            compiled.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()
        });
        let sticky = written.sticky.as_ref().map(|sticky| at.field("sticky", |at| Source::sticky(sticky, at)));
        let hash = written.hash.as_ref().map(|hash| at.field("hash", |at| Source::hash(hash, at)));
        let shares = Shares::new(written.destinations.iter().map(|destination| weight(destination, only)));
        let shares = shares.or_else(|| {
            let reason = "expected at least one destination with a weight";
            at.field("destinations", |at| at.fault(format_args!("{} destinations", written.destinations.len()), reason))
        });
        Some(Self { destinations: destinations?, shares: shares?, sticky: present(sticky)?, hash: present(hash)? })
    }

    /// The destination of a draw.
    pub(crate) fn draw(&self, draw: u64) -> usize {
        self.shares.pick(draw)
    }

    /// The destination of a key.
    pub(crate) fn keep(&self, key: &[u8]) -> Option<usize> {
        sticky::choose(
            key,
            self.destinations.iter().map(|destination| (destination.cluster.as_str(), destination.weight)),
        )
    }

    /// The only destination, for which nothing is drawn.
    pub(crate) fn only(&self) -> Option<usize> {
        (self.destinations.len() == 1).then_some(0)
    }
}

/// The only destination gets everything, whatever its weight says.
fn weight(destination: &Destination, only: bool) -> u32 {
    if only { 1 } else { destination.weight.unwrap_or(0) }
}

fn present<T>(compiled: Option<Option<T>>) -> Option<Option<T>> {
    match compiled {
        None => Some(None),
        Some(compiled) => compiled.map(Some),
    }
}

fn headers(written: Option<&HeadersConfig>, at: &mut At) -> Option<Option<HeaderOperations>> {
    match written {
        None => Some(None),
        Some(written) => HeaderOperations::compile(written, at).map(Some),
    }
}

fn compile(
    destination: &Destination,
    header: &str,
    only: bool,
    route: &Option<Option<HeaderOperations>>,
    at: &mut At,
    root: &mut Root<'_>,
) -> Option<Compiled> {
    let own = at.field("headers", |at| headers(destination.headers.as_ref(), at));
    let cluster = &destination.cluster;
    if cluster.is_empty() || cluster.bytes().any(|byte| byte.is_ascii_control()) {
        return at.field("cluster", |at| at.fault(plugin_config::Quoted(cluster), "expected the name of a cluster"));
    }
    Some(Compiled {
        cluster: cluster.clone(),
        edit: HeaderEdit::Set(header.to_owned(), cluster.as_bytes().to_vec()),
        weight: weight(destination, only),
        headers: both(only, route.clone()?, own?),
        selected: root.counter(&format!("outrigger.weighted_shifting.selected.{cluster}")),
    })
}

/// Of one destination the operations act after the route's, of several before them: what acts last wins a `set`. A
/// rewrite of the authority by the route wins in both.
fn both(only: bool, route: Option<HeaderOperations>, own: Option<HeaderOperations>) -> Option<HeaderOperations> {
    match (route, own) {
        (Some(route), Some(own)) if only && route.rewrites_authority() => Some(route.then(own.without_authority())),
        (Some(route), Some(own)) if only => Some(route.then(own)),
        (Some(route), Some(own)) => Some(own.then(route)),
        (route, own) => route.or(own),
    }
}
