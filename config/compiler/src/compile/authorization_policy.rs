//! AuthorizationPolicies → what authz has for a workload.

use crate::finding::Message;
use crate::mesh::{Mesh, Workload};
use crate::report::{Field, Report};
use authz::config::{self, DryRun, HostProperties, Policy, PolicyAction, ProviderName};
use istio_api::Resource;
use istio_api::authorization_policy::{self as api, Action, AuthorizationPolicy};
use istio_api::mesh_config::{self, ExtensionProvider};
use plugin_config::At;

/// Every field by its name: one that is added to either type and forgotten here does not compile.
macro_rules! same_fields {
    ($from:expr, $source:path => $target:path { $($field:ident)* }) => {{
        let $source { $($field),* } = $from;
        $target { $($field: $field.clone()),* }
    }};
}

/// Why CUSTOM policies and connections without HTTP do not go together.
const UNASKED: &str = "CUSTOM policies apply to the workload, and their providers are asked about requests only: \
                       connections would pass unasked";
/// The annotation that makes a policy one that is only evaluated.
const DRY_RUN: &str = "istio.io/dry-run";

/// Every policy that is for a workload: of its namespace and of the root namespace. `gateway`: whether it is a gateway,
/// which policies for services pass by.
pub(crate) fn compile(mesh: &Mesh<'_>, workload: &Workload, report: &mut Report) -> authz::Config {
    config(mesh, workload, selected(mesh, workload), report)
}

/// What the filter has to say of a policy by itself, at `policies[0]`.
pub(crate) fn check(mesh: &Mesh<'_>, resource: &Resource<AuthorizationPolicy>, at: &mut At) {
    let workload = Workload { namespace: resource.metadata.namespace().to_owned(), ..Workload::default() };
    let mut report = Report::default();
    let config = config(mesh, &workload, vec![resource], &mut report);
    // Of one that is refused already nothing is to be added.
    if report.faults.is_empty() {
        authz::policies(&config, at);
    }
}

fn config(
    mesh: &Mesh<'_>,
    workload: &Workload,
    policies: Vec<&Resource<AuthorizationPolicy>>,
    report: &mut Report,
) -> authz::Config {
    let settings = &mesh.settings;
    let policies = policies.into_iter().map(|policy| of_resource(policy, settings.providers(), report)).collect();
    authz::Config {
        workload: config::Workload {
            namespace: workload.namespace.clone(),
            trust_domain: settings.trust_domain.clone(),
            trust_domain_aliases: settings.trust_domain_aliases.clone(),
        },
        policies,
        providers: settings.providers().iter().filter_map(provider).collect(),
        host_properties: HostProperties::Outrigger,
        ..authz::Config::default()
    }
}

/// The policies that are for a workload.
pub(crate) fn selected<'m>(mesh: &Mesh<'m>, workload: &Workload) -> Vec<&'m Resource<AuthorizationPolicy>> {
    let resources = &mesh.resources.authorization_policies;
    let near = |policy: &&Resource<AuthorizationPolicy>| {
        let references = (&policy.spec.target_ref, policy.spec.target_refs.as_slice());
        mesh.is_policy_for(&policy.metadata, policy.spec.selector.as_ref(), references, workload)
    };
    // Of thousands few are left to be sorted.
    crate::mesh::by_age(resources.iter().filter(near))
}

/// Policies as they are for connections that carry no HTTP, of which only addresses, ports, names and identities are
/// known. Of an ALLOW policy a rule that asks for more than that allows nothing; of any other it is left out what is
/// asked for more, so that the rule is about more connections.
pub(super) fn of_connections(config: &authz::Config) -> authz::Config {
    let mut config = config.clone();
    for policy in &mut config.policies {
        match policy.action {
            PolicyAction::Allow => policy.rules.retain(|rule| without_http(rule) == *rule),
            PolicyAction::Deny | PolicyAction::Audit | PolicyAction::Custom => {
                policy.rules = policy.rules.iter().map(without_http).collect();
            }
        }
    }
    config
}

/// A rule without what only requests have. An alternative of which nothing is left is about all.
fn without_http(rule: &config::Rule) -> config::Rule {
    let source = |from: &config::RuleFrom| config::Source {
        request_principals: Vec::new(),
        not_request_principals: Vec::new(),
        ..config::Source::clone(&from.source)
    };
    let operation = |to: &config::RuleTo| config::Operation {
        ports: to.operation.ports.clone(),
        not_ports: to.operation.not_ports.clone(),
        ..config::Operation::default()
    };
    let from = rule.from.as_ref().map(|all| all.iter().map(source).collect::<Vec<_>>());
    let to = rule.to.as_ref().map(|all| all.iter().map(operation).collect::<Vec<_>>());
    let from = from.filter(|all| !all.contains(&config::Source::default()));
    let to = to.filter(|all| !all.contains(&config::Operation::default()));
    config::Rule {
        from: from.map(|all| all.into_iter().map(|source| config::RuleFrom { source: Box::new(source) }).collect()),
        to: to.map(|all| all.into_iter().map(|operation| config::RuleTo { operation: Box::new(operation) }).collect()),
        when: rule.when.iter().filter(|condition| !condition.key.starts_with("request.")).cloned().collect(),
    }
}

/// Policies of requests in the two places where Istio decides by them: the CUSTOM ones before a token is looked at or
/// taken out, all others behind that.
pub(super) fn of_requests(mut config: authz::Config) -> (authz::Config, authz::Config) {
    let policies = std::mem::take(&mut config.policies);
    let (custom, others) = policies.into_iter().partition(|policy| policy.action == PolicyAction::Custom);
    let asking = authz::Config { policies: custom, ..config.clone() };
    (asking, authz::Config { policies: others, providers: Vec::new(), ..config })
}

/// Whether a provider is asked about some of what comes in.
pub(super) fn asks(config: &authz::Config) -> bool {
    config.policies.iter().any(|policy| policy.action == PolicyAction::Custom && !policy.dry_run.0)
}

/// Refuses what cannot be enforced on connections that carry no HTTP.
pub(super) fn check_connections(config: &authz::Config, field: Field<'_>, port: u16, report: &mut Report) {
    if asks(config) {
        report.refuse(field, format!("port {port}"), UNASKED);
    }
}

fn of_resource(
    resource: &Resource<AuthorizationPolicy>,
    providers: &[ExtensionProvider],
    report: &mut Report,
) -> Policy {
    let spec = &resource.spec;
    if let Some(name) = spec.provider.as_ref().map(|provider| provider.name.as_str())
        && !providers.iter().any(|known| known.name == name)
    {
        let field = Field { name: resource, path: "spec.provider.name" };
        let reason = "MeshConfig has no such provider among extensionProviders: nobody could be asked";
        report.refuse_as(&Message::REFERENCED_RESOURCE_NOT_FOUND, field, name, reason);
    }
    let dry_run = resource.metadata.annotation(DRY_RUN);
    Policy {
        name: resource.metadata.name.as_str().to_owned(),
        namespace: Some(resource.metadata.namespace().to_owned()),
        action: match spec.action {
            Action::Allow => PolicyAction::Allow,
            Action::Deny => PolicyAction::Deny,
            Action::Audit => PolicyAction::Audit,
            Action::Custom => PolicyAction::Custom,
        },
        dry_run: DryRun(dry_run.is_some_and(|text| matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True"))),
        provider: spec.provider.as_ref().map(|provider| ProviderName { name: provider.name.clone() }),
        rules: spec.rules.iter().map(rule).collect(),
    }
}

fn rule(written: &api::Rule) -> config::Rule {
    let from = |from: &api::RuleFrom| config::RuleFrom { source: Box::new(source(&from.source)) };
    let to = |to: &api::RuleTo| config::RuleTo { operation: Box::new(operation(&to.operation)) };
    let condition = |written: &api::Condition| config::Condition {
        key: written.key.clone(),
        values: written.values.clone(),
        not_values: written.not_values.clone(),
    };
    config::Rule {
        from: written.from.as_ref().map(|all| all.iter().map(from).collect()),
        to: written.to.as_ref().map(|all| all.iter().map(to).collect()),
        when: written.when.iter().map(condition).collect(),
    }
}

/// An authorizer; other providers are none.
fn provider(written: &ExtensionProvider) -> Option<config::Provider> {
    let http = written.envoy_ext_authz_http.as_ref().map(|http| config::HttpProvider {
        cluster: None,
        service: Some(http.service.clone()),
        port: Some(http.port.get()),
        timeout: http.timeout.map(|timeout| plugin_config::Duration(timeout.get())),
        path_prefix: http.path_prefix.to_option(),
        fail_open: http.fail_open,
        clear_route_cache: http.clear_route_cache,
        status_on_error: http.status_on_error.to_option(),
        include_headers_in_check: http.include_headers_in_check.clone(),
        include_request_headers_in_check: http.include_request_headers_in_check.clone(),
        include_additional_headers_in_check: http.include_additional_headers_in_check.clone(),
        include_request_body_in_check: http.include_request_body_in_check.as_ref().map(request_body),
        headers_to_upstream_on_allow: http.headers_to_upstream_on_allow.clone(),
        headers_to_downstream_on_deny: http.headers_to_downstream_on_deny.clone(),
        headers_to_downstream_on_allow: http.headers_to_downstream_on_allow.clone(),
    });
    let grpc = written.envoy_ext_authz_grpc.as_ref().map(|grpc| config::GrpcProvider {
        cluster: None,
        service: Some(grpc.service.clone()),
        port: Some(grpc.port.get()),
        timeout: grpc.timeout.map(|timeout| plugin_config::Duration(timeout.get())),
        fail_open: grpc.fail_open,
        clear_route_cache: grpc.clear_route_cache,
        status_on_error: grpc.status_on_error.to_option(),
        include_request_body_in_check: grpc.include_request_body_in_check.as_ref().map(request_body),
    });
    (http.is_some() || grpc.is_some()).then(|| config::Provider { name: written.name.clone(), http, grpc })
}

fn request_body(written: &mesh_config::RequestBody) -> config::RequestBody {
    same_fields!(written, mesh_config::RequestBody => config::RequestBody {
        max_request_bytes allow_partial_message pack_as_bytes
    })
}

fn source(written: &api::Source) -> config::Source {
    same_fields!(written, api::Source => config::Source {
        principals not_principals request_principals not_request_principals namespaces not_namespaces
        service_accounts not_service_accounts trust_domains not_trust_domains ip_blocks not_ip_blocks
        remote_ip_blocks not_remote_ip_blocks
    })
}

fn operation(written: &api::Operation) -> config::Operation {
    same_fields!(written, api::Operation => config::Operation {
        hosts not_hosts ports not_ports methods not_methods paths not_paths
    })
}
