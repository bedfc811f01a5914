//! A generation on one worker: its clusters, its plugins, and how each filter chain is served.

use crate::Faults;
use crate::downstream::{HttpManager, Manager, TcpManager};
use crate::filter_chain::FilterChain;
use crate::generation::{ChainPlan, FilterPlan, Generation, ListenerPlan, PluginPlan};
use crate::services::WorkerServices;
use crate::telemetry::{
    AccessLogError, AccessLogs, HttpStats, HttpTelemetry, Registry, Reporter, RequestMetrics, TcpMetrics, TcpTelemetry,
};
use crate::upstream::{Cluster, ClusterSet};
use crate::wasm::{Plugin, SharedState, VmTable};
use crate::worker::Worker;
use compiler::snapshot::AccessLog;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// What every generation on a worker is made with.
pub(crate) struct Workbench {
    pub(crate) worker: Rc<Worker>,
    pub(crate) vms: Rc<VmTable>,
    pub(crate) services: Rc<WorkerServices>,
    pub(crate) shared: Arc<SharedState>,
    pub(crate) registry: Registry,
    pub(crate) access_logs: RefCell<AccessLogs>,
}

/// A generation on one worker, ready to serve.
pub(crate) struct Prepared {
    pub(crate) generation: Arc<Generation>,
    pub(crate) clusters: Rc<ClusterSet>,
    plugins: Vec<(PluginPlan, Rc<Plugin>)>,
    /// How the filter chains of each listener are served, until they are.
    managers: Vec<Vec<Manager>>,
}

impl Prepared {
    /// Makes the worker's part of a generation. Clusters and plugins that `before` has as well are kept.
    ///
    /// # Errors
    /// Plugins that do not start.
    pub(crate) fn new(
        workbench: &Workbench,
        generation: Arc<Generation>,
        before: Option<&Self>,
    ) -> Result<Self, Faults> {
        let clusters = Rc::new(clusters(workbench, &generation, before));
        // Calls that plugins begin as they start go by the new clusters.
        let former = workbench.services.set_clusters(clusters.clone());
        let plugins = plugins(workbench, &generation, before);
        let managers = plugins.and_then(|plugins| {
            let managers = managers(workbench, &generation, &clusters, &plugins)?;
            Ok((plugins, managers))
        });
        match managers {
            Ok((plugins, managers)) => Ok(Self { generation, clusters, plugins, managers }),
            Err(faults) => {
                workbench.services.set_clusters(former);
                Err(faults)
            }
        }
    }

    /// Takes out how the filter chains of each listener are served, in the generation's order.
    pub(crate) fn take_managers(&mut self) -> Vec<Vec<Manager>> {
        std::mem::take(&mut self.managers)
    }

    /// The plugins that run.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = &Rc<Plugin>> {
        self.plugins.iter().map(|(_, plugin)| plugin)
    }
}

/// The plugin of a plan among those that run.
fn find<'p>(plugins: &'p [(PluginPlan, Rc<Plugin>)], plan: &PluginPlan) -> Option<&'p Rc<Plugin>> {
    plugins.iter().find(|(known, _)| known == plan).map(|(_, plugin)| plugin)
}

fn managers(
    workbench: &Workbench,
    generation: &Generation,
    clusters: &Rc<ClusterSet>,
    plugins: &[(PluginPlan, Rc<Plugin>)],
) -> Result<Vec<Vec<Manager>>, Faults> {
    let mut faults = Faults::default();
    let of_listener = |listener: &Arc<ListenerPlan>| {
        let chains = listener.filter_chains.iter().enumerate();
        let managers = chains.filter_map(|(index, chain)| {
            let own = chain.plugins.iter().filter_map(|plan| find(plugins, plan).cloned()).collect();
            let filters = Rc::new(FilterChain::new(own));
            let made = manager(workbench, listener, chain, filters, clusters.clone());
            let place = || format!("listener {} filterChains[{index}]", listener.name);
            made.map_err(|error| faults.push(format!("{} {error}", place()))).ok()
        });
        managers.collect()
    };
    let managers = generation.listeners.iter().map(of_listener).collect();
    faults.or(managers)
}

fn manager(
    workbench: &Workbench,
    listener: &ListenerPlan,
    chain: &ChainPlan,
    filters: Rc<FilterChain>,
    clusters: Rc<ClusterSet>,
) -> Result<Manager, AccessLogError> {
    let registry = &workbench.registry;
    let logger =
        |log: &Option<AccessLog>| log.as_ref().map(|log| workbench.access_logs.borrow_mut().logger(log)).transpose();
    let reporter = Reporter { direction: listener.direction, workload: Arc::default(), service: None };
    Ok(match &chain.filter {
        FilterPlan::Http(config) => {
            let telemetry = HttpTelemetry {
                stats: HttpStats::new(registry, &listener.name),
                requests: RequestMetrics::new(registry.clone(), reporter),
                access_log: logger(&config.access_log)?,
            };
            let manager = HttpManager::new(config.clone(), listener.direction, filters, clusters, telemetry);
            Manager::Http(Box::new(manager))
        }
        FilterPlan::Tcp(config) => {
            let metrics = TcpMetrics::new(registry.clone(), reporter);
            let telemetry = TcpTelemetry { metrics, access_log: logger(&config.access_log)? };
            let manager = TcpManager::new(config.clone(), listener.direction, filters, clusters, telemetry);
            Manager::Tcp(Box::new(manager))
        }
    })
}

fn clusters(workbench: &Workbench, generation: &Generation, before: Option<&Prepared>) -> ClusterSet {
    let made = generation.clusters.iter().map(|(name, shared)| {
        let known = before.and_then(|before| before.clusters.get(name));
        let cluster = match known.filter(|known| Arc::ptr_eq(&known.shared, shared)) {
            Some(same) => same.clone(),
            None => Rc::new(Cluster::new(shared.clone(), known.map(Rc::as_ref), workbench.worker.draw())),
        };
        (name.clone(), cluster)
    });
    made.collect()
}

fn plugins(
    workbench: &Workbench,
    generation: &Generation,
    before: Option<&Prepared>,
) -> Result<Vec<(PluginPlan, Rc<Plugin>)>, Faults> {
    let (mut plugins, mut faults) = (Vec::new(), Faults::default());
    for plan in generation.new_plugins(None) {
        if let Some(running) = before.and_then(|before| find(&before.plugins, plan)) {
            plugins.push((plan.clone(), running.clone()));
            continue;
        }
        let started = Plugin::start(
            plan.settings.clone(),
            plan.module.clone(),
            workbench.vms.clone(),
            workbench.services.clone(),
            workbench.shared.clone(),
        );
        match started {
            Ok(plugin) => plugins.push((plan.clone(), plugin)),
            Err(error) => faults.push(error.to_string()),
        }
    }
    faults.or(plugins)
}
