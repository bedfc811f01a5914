//! Every policy that is for a workload, what it says, and what they decide together.

use super::{DescribedRequest, Walk, plugins, refused};
use crate::compile::{CompileError, authorization_policy};
use crate::mesh::Workload;
use crate::snapshot::TcpProxy;
use authz::{Attributes, Decision, Described, Part, Peer, PeerCache, Policies, Surroundings, Unavailable};
use istio_api::{AuthorizationPolicy, Resource};
use plugin_config::At;

/// The property by which authz learns the direct peer's address from our host.
const PEER_ADDRESS: &str = "source.direct_address";
/// The property that tells peers' certificates apart: here it is the identity, which stands for the certificate.
const PEER: &str = "connection.sha256_peer_certificate_digest";

/// What becomes of a request that policies refuse.
pub(super) const FORBIDDEN: &str = "403, RBAC: access denied";
/// What becomes of a connection that they refuse.
const CLOSED: &str = "the connection is closed";

impl Walk<'_, '_> {
    /// Explains what policies say of a connection without HTTP. Whether it passes.
    pub(super) fn connection_policies(
        &mut self,
        at: &str,
        workload: &Workload,
        proxy: &TcpProxy,
        port: u16,
        request: &DescribedRequest,
    ) -> Result<bool, CompileError> {
        match proxy.plugins.iter().find(|plugin| plugin.module == "authz") {
            Some(plugin) => self.policies(at, workload, &plugins::read(plugin)?, port, request, CLOSED),
            None => Ok(true),
        }
    }

    /// Explains what policies say of a request that came in on `port`, or of a connection. Whether it passes; `refusal`:
    /// what becomes of it otherwise.
    pub(super) fn policies(
        &mut self,
        at: &str,
        workload: &Workload,
        config: &authz::Config,
        port: u16,
        request: &DescribedRequest,
        refusal: &str,
    ) -> Result<bool, CompileError> {
        let mut facts = facts(request, port);
        let resources = authorization_policy::selected(self.mesh, workload);
        for resource in &resources {
            let is_it = |policy: &&authz::config::Policy| {
                policy.name == resource.metadata.name.as_str()
                    && policy.namespace.as_deref() == Some(resource.metadata.namespace())
            };
            let Some(policy) = config.policies.iter().find(is_it) else { continue };
            let alone = authz::Config { policies: vec![policy.clone()], ..config.clone() };
            let (verdict, path) = verdict(&compile(&alone)?, resource, &mut facts, request);
            let place = resource.source.place(&path).to_string();
            self.push_placed(at, resource.resource_name().to_string(), verdict, Some(place));
        }
        let all = compile(config)?;
        let mut surroundings = surroundings(request);
        let decision = all.decide(&mut Attributes::new(&mut facts, &mut surroundings));
        let (passes, verdict) = match decision {
            Ok(Decision::Allowed(None)) => {
                (true, "passes: no ALLOW policy is for the workload, and no DENY policy refuses".to_owned())
            }
            Ok(Decision::Allowed(Some(rule))) => (true, format!("passes: {}", all.id(rule))),
            Ok(Decision::Denied(Some(rule))) => (false, format!("{refusal}: {}", all.id(rule))),
            Ok(Decision::Denied(None)) => (false, format!("{refusal}: no ALLOW policy allows it")),
            Err(error) => (false, format!("{refusal}: {error}")),
        };
        self.push(at, "answer", verdict);
        Ok(passes)
    }
}

fn compile(config: &authz::Config) -> Result<Policies, CompileError> {
    let mut at = At::root();
    let policies = authz::policies(config, &mut at);
    policies.filter(|_| at.is_good()).ok_or_else(|| refused(&at.into_faults()))
}

fn surroundings(request: &DescribedRequest) -> Surroundings {
    let mut peers = PeerCache::default();
    if let Some(principal) = &request.principal {
        peers.insert(principal.as_bytes(), Peer::new([principal]));
    }
    Surroundings { peer_address: vec![PEER_ADDRESS.to_owned()], peers }
}

/// What the policy says by itself, and which of its fields says so: the rule that matches, or the one that comes closest.
fn verdict(
    policies: &Policies,
    resource: &Resource<AuthorizationPolicy>,
    facts: &mut Described,
    request: &DescribedRequest,
) -> (String, String) {
    let mut surroundings = surroundings(request);
    let mut attributes = Attributes::new(facts, &mut surroundings);
    let action = resource.spec.action.as_str();
    let said = |policies: &Policies, attributes: &mut Attributes<'_>| -> Result<(String, Option<u32>), Unavailable> {
        let matched = match policies.decide(attributes)? {
            Decision::Allowed(rule) | Decision::Denied(rule) => rule,
        };
        if let Some(rule) = matched {
            return Ok((format!("{action}: rule {} matches", rule.rule), Some(rule.rule)));
        }
        Ok(match policies.nearest_miss(attributes)? {
            Some(miss) => {
                let parts: Vec<_> = miss.parts.iter().map(|part| field(*part)).collect();
                let (rule, parts) = (miss.rule.rule, parts.join(" and "));
                let verdict = format!("{action}: no rule matches; rule {rule} comes closest, but for its {parts}");
                (verdict, Some(rule))
            }
            None => (format!("{action}: no rule matches"), None),
        })
    };
    let undecided = |error| (format!("{action}: cannot be decided: {error}"), None);
    let (verdict, rule) = said(policies, &mut attributes).unwrap_or_else(undecided);
    (verdict, rule.map_or_else(|| "spec".to_owned(), |rule| format!("spec.rules[{rule}]")))
}

/// As the policy writes it.
fn field(part: Part) -> &'static str {
    match part {
        Part::From => "from",
        Part::To => "to",
        Part::When => "when",
    }
}

fn facts(request: &DescribedRequest, port: u16) -> Described {
    let mut properties = vec![("destination.port".to_owned(), u64::from(port).to_le_bytes().to_vec())];
    let peer = request.peer.or(request.source);
    for (name, address) in [("source.address", request.source), (PEER_ADDRESS, peer)] {
        let address = address.map(|address| std::net::SocketAddr::new(address, 0).to_string().into_bytes());
        properties.extend(address.map(|address| (name.to_owned(), address)));
    }
    if let Some(principal) = &request.principal {
        properties.push((PEER.to_owned(), principal.clone().into_bytes()));
    }
    if let Some(claims) = &request.claims {
        properties.push((jwt_authn::CLAIMS_PROPERTY.to_owned(), claims.to_string().into_bytes()));
    }
    Described { headers: request.header_list(), properties }
}
