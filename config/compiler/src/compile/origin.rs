//! Where what the filters have comes from: route ids and the fields that said so.

use crate::report::Named;
use istio_api::{Place, ResourceName, Source};
use std::collections::BTreeMap;

/// A field of a resource.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The resource.
    pub resource: ResourceName,
    /// The field: `spec.http[2]`.
    pub path: String,
    source: Source,
}

impl Origin {
    pub(crate) fn of(named: &dyn Named, path: &str) -> Self {
        Self { resource: named.resource_name(), path: path.to_owned(), source: named.source().clone() }
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        self.source.place(&self.path)
    }
}

/// Route ids, and what each was made of.
#[derive(Clone, Debug, Default)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// What a route was made of.
    pub fn get(&self, id: &str) -> Option<&Origin> {
        self.0.get(id)
    }

    /// Every route id, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.0.iter().map(|(id, origin)| (id.as_str(), origin))
    }

    pub(crate) fn insert(&mut self, id: String, origin: Origin) {
        self.0.insert(id, origin);
    }

    /// Takes an id, made unique by its port, or by a number if that does not do.
    pub(crate) fn claim(&mut self, id: String, port: u16, origin: Origin) -> String {
        let with_port = || format!("{id}:{port}");
        let numbered = (2_u64..).map(|number| format!("{id}:{port}:{number}"));
        let candidates = [id.clone(), with_port()].into_iter().chain(numbered);
        let free = candidates.into_iter().find(|candidate| !self.0.contains_key(candidate)).unwrap_or(id);
        self.0.insert(free.clone(), origin);
        free
    }
}
