//! A snapshot made ready to run: what all workers share of it. Made before anything serves it, with every fault found;
//! never changed after.

mod check;
mod linked;
mod plugins;

pub(crate) use plugins::{ModuleCache, PluginPlan};

use self::plugins::Modules;

use crate::Faults;
use crate::downstream::ListenerChains;
use crate::telemetry::Registry;
use crate::upstream::{SharedCluster, SharedClusters};
use compiler::snapshot::{
    self, Direction, FilterChainMatch, HttpConnectionManager, HttpTimeouts, NetworkFilter, Snapshot, TcpProxy,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A snapshot made ready to run.
pub(crate) struct Generation {
    /// Counts from 1.
    pub(crate) number: u64,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) clusters: Arc<SharedClusters>,
    /// In the snapshot's order.
    pub(crate) listeners: Vec<Arc<ListenerPlan>>,
    /// The shortest time that anything may be silent.
    pub(crate) shortest_timeout: Option<Duration>,
}

/// A listener as the workers run it.
pub(crate) struct ListenerPlan {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) direction: Direction,
    /// Whether connections are redirected to it.
    pub(crate) use_original_dst: bool,
    /// Chooses the filter chain of a connection.
    pub(crate) chains: ListenerChains,
    pub(crate) filter_chains: Vec<ChainPlan>,
}

/// A filter chain as the workers run it.
pub(crate) struct ChainPlan {
    pub(crate) filter_chain_match: FilterChainMatch,
    pub(crate) terminates_tls: bool,
    pub(crate) filter: FilterPlan,
    /// In request order.
    pub(crate) plugins: Vec<PluginPlan>,
}

/// What a filter chain does; without its plugins, which are made ready apart.
pub(crate) enum FilterPlan {
    Http(Arc<HttpConnectionManager>),
    Tcp(Arc<TcpProxy>),
}

/// What generations are made with.
pub(crate) struct Workshop<'w> {
    pub(crate) modules: &'w ModuleCache,
    pub(crate) registry: &'w Registry,
    /// The same for every generation: times of ejections are relative to it.
    pub(crate) epoch: Instant,
    pub(crate) before: Option<&'w Generation>,
}

impl Generation {
    /// Makes a snapshot ready.
    ///
    /// # Errors
    /// Everything that is wrong with it and can be told without running it.
    pub(crate) fn new(snapshot: Snapshot, workshop: &Workshop<'_>) -> Result<Self, Faults> {
        let mut faults = check::snapshot(&snapshot);
        let clusters = clusters(&snapshot, workshop, &mut faults);
        let modules = workshop.modules.load_all(&snapshot, &mut faults);
        let mut listeners = Vec::with_capacity(snapshot.listeners.len());
        for config in &snapshot.listeners {
            listeners.extend(listener(config, &modules, workshop, &mut faults).map(Arc::new));
        }
        let number = workshop.before.map_or(1, |before| before.number + 1);
        let shortest_timeout = shortest_timeout(&snapshot);
        let (snapshot, clusters) = (Arc::new(snapshot), Arc::new(clusters));
        faults.or(Self { number, snapshot, clusters, listeners, shortest_timeout })
    }

    /// Every plugin once, those that `before` runs already left out.
    pub(crate) fn new_plugins(&self, before: Option<&Self>) -> Vec<&PluginPlan> {
        let mut plans: Vec<&PluginPlan> = Vec::new();
        for plan in self.plans() {
            let runs = before.is_some_and(|before| before.plans().any(|known| known == plan));
            if !runs && !plans.contains(&plan) {
                plans.push(plan);
            }
        }
        plans
    }

    fn plans(&self) -> impl Iterator<Item = &PluginPlan> {
        self.listeners.iter().flat_map(|listener| listener.filter_chains.iter().flat_map(|chain| &chain.plugins))
    }
}

fn shortest_timeout(snapshot: &Snapshot) -> Option<Duration> {
    let chains = snapshot.listeners.iter().flat_map(|listener| &listener.filter_chains);
    let of_chains = chains.flat_map(|chain| match &chain.network_filter {
        NetworkFilter::HttpConnectionManager(manager) => {
            let HttpTimeouts { head, stream_idle, connection_idle } = &manager.timeouts;
            [*head, *stream_idle, *connection_idle]
        }
        NetworkFilter::TcpProxy(proxy) => [proxy.idle_timeout; 3],
    });
    let of_clusters = snapshot.clusters.iter().map(|cluster| cluster.idle_timeout);
    of_chains.chain(of_clusters).filter_map(snapshot::Duration::limit).min()
}

fn listener(
    config: &snapshot::Listener,
    modules: &Modules<'_>,
    workshop: &Workshop<'_>,
    faults: &mut Faults,
) -> Option<ListenerPlan> {
    let place = format!("listener {}", config.name);
    let mut known = workshop.before.into_iter().flat_map(|before| &before.listeners);
    let before = known.find(|listener| listener.name == config.name).map(|listener| &listener.chains);
    let chains =
        ListenerChains::new(config, before).map_err(|found| found.into_iter().for_each(|fault| faults.push(fault)));
    let filter_chains = config.filter_chains.iter().enumerate();
    let filter_chains = filter_chains
        .map(|(index, chain)| chain_plan(chain, modules, &format!("{place} filterChains[{index}]"), faults));
    let filter_chains = filter_chains.collect();
    let (name, address, direction) = (config.name.clone(), config.address, config.direction);
    let (use_original_dst, chains) = (config.use_original_dst, chains.ok()?);
    Some(ListenerPlan { name, address, direction, use_original_dst, chains, filter_chains })
}

fn chain_plan(chain: &snapshot::FilterChain, modules: &Modules<'_>, place: &str, faults: &mut Faults) -> ChainPlan {
    let filter = match &chain.network_filter {
        NetworkFilter::HttpConnectionManager(manager) => {
            let own = HttpConnectionManager { plugins: Vec::new(), ..HttpConnectionManager::clone(manager) };
            FilterPlan::Http(Arc::new(own))
        }
        NetworkFilter::TcpProxy(proxy) => {
            let own = TcpProxy { plugins: Vec::new(), ..proxy.clone() };
            FilterPlan::Tcp(Arc::new(own))
        }
    };
    ChainPlan {
        filter_chain_match: chain.filter_chain_match.clone(),
        terminates_tls: chain.transport_socket.is_some(),
        filter,
        plugins: plugins::plans(&chain.network_filter, modules, place, faults),
    }
}

fn clusters(snapshot: &Snapshot, workshop: &Workshop<'_>, faults: &mut Faults) -> SharedClusters {
    let mut clusters = SharedClusters::with_capacity(snapshot.clusters.len());
    for config in &snapshot.clusters {
        let before = workshop.before.and_then(|before| before.clusters.get(&config.name));
        // As it was: with its counts, its connections and what is known of its endpoints.
        if let Some(same) = before.filter(|before| before.config == *config) {
            clusters.insert(config.name.clone(), same.clone());
            continue;
        }
        match SharedCluster::new(config.clone(), before.map(Arc::as_ref), workshop.registry, workshop.epoch) {
            Ok(cluster) => drop(clusters.insert(config.name.clone(), Arc::new(cluster))),
            Err(found) => faults.extend(&format!("cluster {}", config.name), found),
        }
    }
    clusters
}
