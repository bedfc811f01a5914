//! What the files know of: workloads, whatever describes them, and gateways.

use crate::mesh::label_index::LabelIndex;
use istio_api::scalar::Labels;
use istio_api::{Gateway, Resource, Resources};
use std::collections::{HashMap, HashSet};

/// What the files know of.
#[derive(Debug)]
pub(super) struct Known<'r> {
    /// Labels of workloads: WorkloadEntries at first, each at its place in the files; then whatever else describes
    /// some.
    index: LabelIndex<'r>,
    entries: usize,
    /// Namespaces that have workloads.
    populated: HashSet<&'r str>,
    gateways: HashMap<String, &'r Resource<Gateway>>,
}

impl<'r> Known<'r> {
    pub(super) fn new(resources: &'r Resources) -> Self {
        let mut known = Self {
            index: LabelIndex::default(),
            entries: resources.workload_entries.len(),
            populated: HashSet::new(),
            gateways: HashMap::new(),
        };
        for entry in &resources.workload_entries {
            known.add(entry.metadata.namespace(), entry.spec.labels.iter().chain(entry.metadata.labels.iter()));
        }
        for pod in &resources.pods {
            known.add(pod.metadata.namespace(), pod.metadata.labels.iter());
        }
        for deployment in &resources.deployments {
            known.add(deployment.metadata.namespace(), deployment.spec.template.metadata.labels.iter());
        }
        for set in &resources.stateful_sets {
            known.add(set.metadata.namespace(), set.spec.template.metadata.labels.iter());
        }
        for group in &resources.workload_groups {
            let own = group.spec.metadata.iter().flat_map(|metadata| metadata.labels.iter());
            known.add(group.metadata.namespace(), group.spec.template.labels.iter().chain(own));
        }
        for gateway in &resources.gateways {
            known.gateways.insert(format!("{}/{}", gateway.metadata.namespace(), gateway.metadata.name), gateway);
        }
        known
    }

    fn add(&mut self, namespace: &'r str, labels: impl Iterator<Item = (&'r String, &'r String)>) {
        self.index.add(namespace, labels);
        self.populated.insert(namespace);
    }

    /// Workloads of a namespace, or of any (`""`), that have all of these labels.
    pub(super) fn selected<'i>(&'i self, namespace: &'i str, selector: &'i Labels) -> impl Iterator<Item = usize> + 'i {
        self.index.selected(namespace, selector)
    }

    /// Those of them that a WorkloadEntry describes, by their places among these.
    pub(super) fn entries<'i>(&'i self, namespace: &'i str, selector: &'i Labels) -> impl Iterator<Item = usize> + 'i {
        self.index.selected(namespace, selector).filter(|place| *place < self.entries)
    }

    /// Whether the files have workloads of a namespace, or of any (`""`): only then it can be said that none is
    /// selected.
    pub(super) fn is_populated(&self, namespace: &str) -> bool {
        if namespace.is_empty() { !self.populated.is_empty() } else { self.populated.contains(namespace) }
    }

    /// A Gateway by `namespace/name`.
    pub(super) fn gateway(&self, name: &str) -> Option<&'r Resource<Gateway>> {
        self.gateways.get(name).copied()
    }
}
