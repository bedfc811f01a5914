//! What compiling has to say: faults, for which nothing is made, and notices of what is not as it was written.

use istio_api::{Fault, Kind, Resource, ResourceName, Source};
use std::collections::HashSet;
use std::fmt;

/// What is said while a proxy's snapshot is made.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) faults: Vec<Fault>,
    pub(crate) notices: Vec<Fault>,
    /// Said once, however many clusters and routes ask for it.
    said: HashSet<String>,
}

/// A field of a resource, to say something about.
#[derive(Clone, Copy)]
pub(crate) struct Field<'r> {
    pub(crate) name: &'r dyn Named,
    pub(crate) path: &'r str,
}

/// Whatever was read from a place and has a name.
pub(crate) trait Named {
    fn resource_name(&self) -> ResourceName;
    fn source(&self) -> &Source;
}

impl<K: Kind> Named for Resource<K> {
    fn resource_name(&self) -> ResourceName {
        Resource::resource_name(self)
    }

    fn source(&self) -> &Source {
        &self.source
    }
}

impl Named for crate::mesh::Service {
    fn resource_name(&self) -> ResourceName {
        self.resource.clone()
    }

    fn source(&self) -> &Source {
        &self.source
    }
}

impl Report {
    /// Nothing can be made of what is written.
    pub(crate) fn refuse(&mut self, field: Field<'_>, value: impl fmt::Display, reason: impl Into<String>) {
        if let Some(fault) = self.once(field, value, reason.into()) {
            self.faults.push(fault);
        }
    }

    /// What is written is not acted on, or hardly as it was meant.
    pub(crate) fn notice(&mut self, field: Field<'_>, value: impl fmt::Display, reason: impl Into<String>) {
        if let Some(notice) = self.once(field, value, reason.into()) {
            self.notices.push(notice);
        }
    }

    fn once(&mut self, field: Field<'_>, value: impl fmt::Display, reason: String) -> Option<Fault> {
        let resource = field.name.resource_name();
        if !self.said.insert(format!("{resource} {} {reason}", field.path)) {
            return None;
        }
        let (path, value) = (field.path.to_owned(), value.to_string());
        let place = Some(field.name.source().place(field.path));
        Some(Fault { resource: Some(resource), path, value, reason, place })
    }
}
