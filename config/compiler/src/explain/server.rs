//! At the server's proxy: every policy that is for the workload, what it says, and what they decide together.

use super::{DescribedRequest, Explanation, refused};
use crate::compile::{CompileError, authorization_policy};
use crate::mesh::{Mesh, Service, Workload};
use crate::report::Report;
use authz::{Attributes, Decision, Described, Policies, Surroundings, Unavailable};
use istio_api::{AuthorizationPolicy, Resource};
use plugin_config::At;

/// The property by which authz learns the direct peer's address from our host.
const PEER_ADDRESS: &str = "source.direct_address";

/// Explains what becomes of a request at each workload behind a cluster: `outbound|9080|v1|reviews.shop.svc.cluster.local`.
pub(super) fn explain(
    mesh: &Mesh<'_>,
    from: &Workload,
    cluster: &str,
    request: &DescribedRequest,
    explanation: &mut Explanation,
) -> Result<(), CompileError> {
    let mut parts = cluster.split('|').skip(1);
    let mut next = || parts.next().unwrap_or_default();
    let (port, subset, host) = (next(), next(), next());
    let service = mesh.services().iter().find(|service| service.hostname == host);
    let Some(service) = service else {
        explanation.push(&format!("server {host}"), "answer", "503: there is no such service", None);
        return Ok(());
    };
    let labels = mesh.subset_labels(from, service, subset);
    let selected =
        service.endpoints.iter().filter(|one| labels.as_ref().is_none_or(|labels| labels.select(&one.labels)));
    let endpoints: Vec<_> = selected.filter_map(|endpoint| endpoint.workload.as_ref()).collect();
    if endpoints.is_empty() {
        explanation.push(&format!("server {host}"), "answer", "503: no endpoint (UH)", None);
    }
    for (namespace, name) in endpoints {
        let at = format!("server {namespace}/{name}");
        match mesh.workload(namespace, name) {
            Some(workload) => explain_workload(mesh, &workload, service, port, request, &at, explanation)?,
            None => explanation.push(&at, "policies", "none: the workload has no proxy of this mesh", None),
        }
    }
    Ok(())
}

fn explain_workload(
    mesh: &Mesh<'_>,
    workload: &Workload,
    service: &Service,
    port: &str,
    request: &DescribedRequest,
    at: &str,
    explanation: &mut Explanation,
) -> Result<(), CompileError> {
    let mut report = Report::default();
    let config = authorization_policy::compile(mesh, workload, &mut report);
    if !report.faults.is_empty() {
        return Err(CompileError { faults: report.faults, notices: report.notices });
    }
    let target = port.parse().ok().and_then(|port| service.port(port)).map_or(0, |port| port.target);
    let mut facts = facts(request, target);
    let resources = authorization_policy::selected(mesh, workload);
    for (policy, resource) in config.policies.iter().zip(&resources) {
        let alone = authz::Config { policies: vec![policy.clone()], ..config.clone() };
        let verdict = verdict(&compile(&alone)?, resource, &mut facts);
        explanation.push(
            at,
            resource.resource_name().to_string(),
            verdict,
            Some(resource.source.place("spec").to_string()),
        );
    }
    let all = compile(&config)?;
    let mut surroundings = surroundings();
    let decision = all.decide(&mut Attributes::new(&mut facts, &mut surroundings));
    let answer = match decision {
        Ok(Decision::Allowed(None)) => {
            "passes: no ALLOW policy is for the workload, and no DENY policy refuses".to_owned()
        }
        Ok(Decision::Allowed(Some(rule))) => format!("passes: {}", all.id(rule)),
        Ok(Decision::Denied(Some(rule))) => format!("403, RBAC: access denied: {}", all.id(rule)),
        Ok(Decision::Denied(None)) => "403, RBAC: access denied: no ALLOW policy allows it".to_owned(),
        Err(error) => format!("403, RBAC: access denied: {error}"),
    };
    explanation.push(at, "answer", answer, None);
    Ok(())
}

fn compile(config: &authz::Config) -> Result<Policies, CompileError> {
    let mut at = At::root();
    let policies = authz::policies(config, &mut at);
    policies.filter(|_| at.is_good()).ok_or_else(|| refused(&at.into_faults()))
}

fn surroundings() -> Surroundings {
    Surroundings { peer_address: vec![PEER_ADDRESS.to_owned()], ..Surroundings::default() }
}

/// What the policy says by itself: the rule that matches, or the one that comes closest.
fn verdict(policies: &Policies, resource: &Resource<AuthorizationPolicy>, facts: &mut Described) -> String {
    let mut surroundings = surroundings();
    let mut attributes = Attributes::new(facts, &mut surroundings);
    let action = resource.spec.action.as_str();
    let said = |policies: &Policies, attributes: &mut Attributes<'_>| -> Result<String, Unavailable> {
        let matched = match policies.decide(attributes)? {
            Decision::Allowed(rule) | Decision::Denied(rule) => rule,
        };
        if let Some(rule) = matched {
            return Ok(format!("{action}: rule {} matches", rule.rule));
        }
        Ok(match policies.nearest_miss(attributes)? {
            Some(miss) => {
                let parts: Vec<String> = miss.parts.iter().map(|part| format!("{part:?}")).collect();
                format!(
                    "{action}: no rule matches; rule {} comes closest, but for {}",
                    miss.rule.rule,
                    parts.join(", ")
                )
            }
            None => format!("{action}: no rule matches"),
        })
    };
    said(policies, &mut attributes).unwrap_or_else(|error| format!("{action}: cannot be decided: {error}"))
}

fn facts(request: &DescribedRequest, port: u16) -> Described {
    let mut properties = vec![("destination.port".to_owned(), u64::from(port).to_le_bytes().to_vec())];
    if let Some(source) = request.source {
        let address = std::net::SocketAddr::new(source, 0).to_string().into_bytes();
        properties.push(("source.address".to_owned(), address.clone()));
        properties.push((PEER_ADDRESS.to_owned(), address));
    }
    Described { headers: request.header_list(), properties }
}
