//! What the bookshop's services see of each other, and the table of it: who calls whom, how often that goes well, how long
//! it takes, who answers, and how the routes would have it.

use crate::demo::services::Answer;
use compiler::snapshot::{NetworkFilter, Snapshot};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Everything that was seen.
#[derive(Default)]
pub(super) struct Edges(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// By who calls and who is called.
    edges: BTreeMap<(String, String), Edge>,
    /// Requests that came to a workload.
    served: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Edge {
    requests: u64,
    successes: u64,
    times: Vec<Duration>,
    by_workload: BTreeMap<String, u64>,
}

/// Of how many requests the median is taken: the last.
const TIMES: usize = 500;

impl Edges {
    /// A request has come to a workload.
    pub(super) fn served(&self, workload: &str) {
        *self.seen().served.entry(workload.to_owned()).or_default() += 1;
    }

    /// How many requests have come to a workload.
    pub(super) fn count(&self, workload: &str) -> u64 {
        self.seen().served.get(workload).copied().unwrap_or(0)
    }

    /// A service was called. `answer`: without, none came.
    pub(super) fn called(&self, from: &str, service: &str, answer: Option<&Answer>) {
        let mut seen = self.seen();
        let edge = seen.edges.entry((from.to_owned(), service.to_owned())).or_default();
        edge.requests += 1;
        let Some(answer) = answer else { return };
        edge.successes += u64::from(answer.status.is_success());
        if edge.times.len() == TIMES {
            edge.times.remove(0);
        }
        edge.times.push(answer.took);
        if answer.status.is_success() {
            *edge.by_workload.entry(answer.served_by.clone()).or_default() += 1;
        }
    }

    /// The table, beside the shares that the callers' snapshots have.
    pub(super) fn table(&self, snapshots: &BTreeMap<String, Snapshot>) -> String {
        let seen = self.seen();
        let mut table =
            format!("{:<26}{:>9}{:>9}{:>10}  answered by (share wanted)\n", "edge", "requests", "success", "median");
        for ((from, to), edge) in &seen.edges {
            let success = 100.0 * edge.successes as f64 / edge.requests.max(1) as f64;
            let mut times = edge.times.clone();
            times.sort_unstable();
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            let name = format!("{from} -> {to}");
            let of_caller = snapshots.get(&format!("bookshop/{from}"));
            let wanted = of_caller.map(|snapshot| wanted(snapshot, to)).unwrap_or_default();
            let answered: u64 = edge.by_workload.values().sum();
            let shares: Vec<_> = edge
                .by_workload
                .iter()
                .map(|(workload, count)| {
                    let share = 100.0 * *count as f64 / answered.max(1) as f64;
                    let version = workload.rsplit('-').next().unwrap_or(workload);
                    let wanted = wanted.get(version).map_or_else(String::new, |share| format!(" ({share:.0})"));
                    format!("{workload} {share:.0}%{wanted}")
                })
                .collect();
            // To a text nothing fails.
            let _ = writeln!(
                table,
                "{name:<26}{:>9}{success:>8.1}%{:>7.1} ms  {}",
                edge.requests,
                median.as_secs_f64() * 1000.0,
                shares.join(", ")
            );
        }
        table
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Counts only.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The share that each subset of a service is to have, in percent, as a caller's snapshot has it: in the route for
/// everybody, which is the last.
fn wanted(from: &Snapshot, to: &str) -> BTreeMap<String, f64> {
    let mut wanted = BTreeMap::new();
    let chains = from.listeners.iter().flat_map(|listener| &listener.filter_chains);
    let plugins = chains.flat_map(|chain| match &chain.network_filter {
        NetworkFilter::HttpConnectionManager(manager) => manager.plugins.as_slice(),
        NetworkFilter::TcpProxy(_) => &[],
    });
    for plugin in plugins.filter(|plugin| plugin.module == "weighted-shifting") {
        let routes = plugin.configuration.get("routes").and_then(serde_json::Value::as_object);
        for policy in routes.into_iter().flat_map(serde_json::Map::values) {
            let destinations = policy.get("destinations").and_then(serde_json::Value::as_array);
            let shares: Vec<_> = destinations.into_iter().flatten().filter_map(|one| share(one, to)).collect();
            let sum: f64 = shares.iter().map(|(_, weight)| weight).sum();
            if sum > 0.0 {
                wanted = shares.into_iter().map(|(subset, weight)| (subset, 100.0 * weight / sum)).collect();
            }
        }
    }
    wanted
}

/// Subset and weight of a destination that is of this service: `outbound|9080|v1|reviews.bookshop.svc.cluster.local`.
fn share(destination: &serde_json::Value, service: &str) -> Option<(String, f64)> {
    let cluster = destination.get("cluster")?.as_str()?;
    let weight = destination.get("weight").and_then(serde_json::Value::as_f64).unwrap_or(0.0);
    let mut parts = cluster.split('|').skip(2);
    let (subset, host) = (parts.next()?, parts.next()?);
    (host.split('.').next() == Some(service)).then(|| (subset.to_owned(), weight))
}
