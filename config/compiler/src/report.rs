//! What compiling has to say: faults, for which nothing is made, and notices of what is not as it was written.

use crate::compile::{CompileError, Compiled};
use crate::finding::{Finding, Message};
use istio_api::{Fault, Kind, Resource, ResourceName, Source};
use std::collections::HashSet;
use std::fmt;

/// What is said while a proxy's snapshot is made.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) faults: Vec<Finding>,
    pub(crate) notices: Vec<Finding>,
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
        self.refuse_as(&Message::REFUSED, field, value, reason);
    }

    /// Nothing can be made of what is written, for a reason that Istio has a code for.
    pub(crate) fn refuse_as(
        &mut self,
        message: &'static Message,
        field: Field<'_>,
        value: impl fmt::Display,
        reason: impl Into<String>,
    ) {
        let found = self.once(message, field, value, reason.into());
        self.faults.extend(found);
    }

    /// What is written is not acted on.
    pub(crate) fn notice(&mut self, field: Field<'_>, value: impl fmt::Display, reason: impl Into<String>) {
        self.find(&Message::NOT_ACTED_ON, field, value, reason);
    }

    /// What is written hardly does what was meant.
    pub(crate) fn find(
        &mut self,
        message: &'static Message,
        field: Field<'_>,
        value: impl fmt::Display,
        reason: impl Into<String>,
    ) {
        let found = self.once(message, field, value, reason.into());
        self.notices.extend(found);
    }

    /// Takes over what making a proxy's snapshot had to say.
    pub(crate) fn take(&mut self, made: Result<Compiled, CompileError>) {
        let (faults, notices) = match made {
            Ok(compiled) => (Vec::new(), compiled.notices),
            Err(error) => (error.faults, error.notices),
        };
        let new = |said: &mut HashSet<String>, found: &Finding| said.insert(key(&found.fault));
        self.faults.extend(faults.into_iter().filter(|found| new(&mut self.said, found)));
        self.notices.extend(notices.into_iter().filter(|found| new(&mut self.said, found)));
    }

    fn once(
        &mut self,
        message: &'static Message,
        field: Field<'_>,
        value: impl fmt::Display,
        reason: String,
    ) -> Option<Finding> {
        let (path, value) = (field.path.to_owned(), value.to_string());
        let resource = Some(field.name.resource_name());
        let mut fault = Fault { resource, path, value, reason, place: None };
        if !self.said.insert(key(&fault)) {
            return None;
        }
        fault.place = Some(field.name.source().place(field.path));
        Some(Finding { message, fault })
    }
}

/// What is the same of findings that are.
fn key(fault: &Fault) -> String {
    let resource = fault.resource.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{resource} {} {}", fault.path, fault.reason)
}
