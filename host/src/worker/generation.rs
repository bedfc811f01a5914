//! A generation on one worker: its clusters, its plugins, and how each filter chain is served.

use crate::Faults;
use crate::downstream::{HttpManager, Manager, TcpManager};
use crate::filter_chain::FilterChain;
use crate::generation::{FilterPlan, Generation, ListenerPlan, PluginPlan};
use crate::services::WorkerServices;
use crate::upstream::{Cluster, ClusterSet};
use crate::wasm::{Plugin, SharedState, VmTable};
use crate::worker::Worker;
use std::rc::Rc;
use std::sync::Arc;

/// What every generation on a worker is made with.
pub(crate) struct Workbench {
    pub(crate) worker: Rc<Worker>,
    pub(crate) vms: Rc<VmTable>,
    pub(crate) services: Rc<WorkerServices>,
    pub(crate) shared: Arc<SharedState>,
}

/// A generation on one worker, ready to serve.
pub(crate) struct Prepared {
    pub(crate) generation: Arc<Generation>,
    pub(crate) clusters: Rc<ClusterSet>,
    plugins: Vec<(PluginPlan, Rc<Plugin>)>,
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
        match plugins(workbench, &generation, before) {
            Ok(plugins) => Ok(Self { generation, clusters, plugins }),
            Err(faults) => {
                workbench.services.set_clusters(former);
                Err(faults)
            }
        }
    }

    /// How the filter chains of a listener are served.
    pub(crate) fn managers(&self, listener: &ListenerPlan) -> Vec<Manager> {
        let managers = listener.filter_chains.iter().map(|chain| {
            let plugins = chain.plugins.iter().filter_map(|plan| self.plugin(plan).cloned()).collect();
            let filters = Rc::new(FilterChain::new(plugins));
            let clusters = self.clusters.clone();
            match &chain.filter {
                FilterPlan::Http(config) => {
                    Manager::Http(HttpManager::new(config.clone(), listener.direction, filters, clusters))
                }
                FilterPlan::Tcp(config) => {
                    Manager::Tcp(TcpManager::new(config.clone(), listener.direction, filters, clusters))
                }
            }
        });
        managers.collect()
    }

    /// The plugins that run.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = &Rc<Plugin>> {
        self.plugins.iter().map(|(_, plugin)| plugin)
    }

    fn plugin(&self, plan: &PluginPlan) -> Option<&Rc<Plugin>> {
        self.plugins.iter().find(|(known, _)| known == plan).map(|(_, plugin)| plugin)
    }
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
        if let Some(running) = before.and_then(|before| before.plugin(plan)) {
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
