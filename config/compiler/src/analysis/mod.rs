//! What resources say together that they hardly mean: references to what is not there, conflicts, rules that nothing
//! comes to. And, of every proxy that the files describe, what making its snapshot has to say.

mod authorization_policy;
mod destination_rule;
mod gateway;
mod known;
mod not_acted_on;
mod proxies;
mod request_authentication;
mod route;
mod service;
mod sidecar;
mod virtual_service;
mod workload_selector;

use crate::finding::Finding;
use crate::mesh::Mesh;
use crate::report::Report;
use istio_api::Fault;
use known::Known;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Analysis {
    /// What is refused: no proxy that has to do with it starts.
    pub refusals: Vec<Finding>,
    /// What else there is to say.
    pub findings: Vec<Finding>,
}

impl Mesh<'_> {
    /// Looks at all resources together, and at every proxy that they describe. In the order of the files.
    pub fn analyse(&self) -> Analysis {
        let known = Known::new(self.resources);
        let mut report = Report::default();
        virtual_service::analyse(self, &known, &mut report);
        destination_rule::analyse(self, &known, &mut report);
        authorization_policy::analyse(self, &mut report);
        request_authentication::analyse(self, &mut report);
        gateway::analyse(self, &known, &mut report);
        service::analyse(self, &mut report);
        sidecar::analyse(self, &known, &mut report);
        workload_selector::analyse(self, &known, &mut report);
        not_acted_on::say(self, &mut report);
        proxies::analyse(self, &known, &mut report);
        let sorted = |mut findings: Vec<Finding>| {
            findings.sort_by(|one, other| place(&one.fault).cmp(&place(&other.fault)));
            findings
        };
        Analysis { refusals: sorted(report.faults), findings: sorted(report.notices) }
    }
}

fn place(fault: &Fault) -> Option<(&str, usize, usize, &str)> {
    let place = fault.place.as_ref()?;
    Some((&place.file.name, place.line, place.column, &fault.path))
}
