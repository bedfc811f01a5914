//! AuthorizationPolicy: who may do what.

mod rules;
mod validate;

pub use rules::Rules;

use crate::resource::Kind;
use crate::{LabelSelector, Metadata, PolicyTargetReference};
use plugin_config::At;

plugin_config::object! {
    /// A policy.
    #[derive(Clone, Debug, PartialEq)]
    pub struct AuthorizationPolicy {
        /// The workloads it is for; all of its namespace when nothing is said, and all of the mesh in the root namespace.
        pub selector: Option<LabelSelector> = "selector",
        /// The old form of one of `targetRefs`.
        pub target_ref: Option<PolicyTargetReference> = "targetRef",
        /// The gateways and services it is for.
        pub target_refs: Vec<PolicyTargetReference> = "targetRefs",
        /// Alternatives. ALLOW without rules allows nothing.
        pub rules: Rules = "rules",
        /// What it does with requests that its rules match.
        pub action: Action = "action" or Action::Allow,
        /// Who decides under CUSTOM.
        pub provider: Option<ExtensionProvider> = "provider",
    }

    /// Names a provider of the MeshConfig.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ExtensionProvider {
        /// Its name.
        pub name: String = "name" or String::new(),
    }

    /// Matches a request from one of `from`, to one of `to`, when all of `when` hold.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Rule {
        /// Alternatives; any source when absent.
        pub from: Option<Vec<RuleFrom>> = "from",
        /// Alternatives; any operation when absent.
        pub to: Option<Vec<RuleTo>> = "to",
        /// Further conditions, all of which must hold.
        pub when: Vec<Condition> = "when",
    }

    /// One alternative of `from`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct RuleFrom {
        /// All its fields must hold.
        pub source: Source = "source",
    }

    /// One alternative of `to`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct RuleTo {
        /// All its fields must hold.
        pub operation: Operation = "operation",
    }

    /// Who sends the request. Values of a field are alternatives; of its `not…` twin none may match.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Source {
        /// SPIFFE ids without `spiffe://`.
        pub principals: Vec<String> = "principals",
        /// None of these.
        pub not_principals: Vec<String> = "notPrincipals",
        /// `issuer/subject` of a verified token.
        pub request_principals: Vec<String> = "requestPrincipals",
        /// None of these.
        pub not_request_principals: Vec<String> = "notRequestPrincipals",
        /// Namespaces of SPIFFE ids.
        pub namespaces: Vec<String> = "namespaces",
        /// None of these.
        pub not_namespaces: Vec<String> = "notNamespaces",
        /// `namespace/name`, or `name` in the policy's namespace.
        pub service_accounts: Vec<String> = "serviceAccounts",
        /// None of these.
        pub not_service_accounts: Vec<String> = "notServiceAccounts",
        /// Trust domains of SPIFFE ids.
        pub trust_domains: Vec<String> = "trustDomains",
        /// None of these.
        pub not_trust_domains: Vec<String> = "notTrustDomains",
        /// Addresses or blocks of the direct peer.
        pub ip_blocks: Vec<String> = "ipBlocks",
        /// None of these.
        pub not_ip_blocks: Vec<String> = "notIpBlocks",
        /// Addresses or blocks of the client.
        pub remote_ip_blocks: Vec<String> = "remoteIpBlocks",
        /// None of these.
        pub not_remote_ip_blocks: Vec<String> = "notRemoteIpBlocks",
    }

    /// What is requested.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Operation {
        /// Authorities, ports included, in any case.
        pub hosts: Vec<String> = "hosts",
        /// None of these.
        pub not_hosts: Vec<String> = "notHosts",
        /// Ports the connection was accepted on.
        pub ports: Vec<String> = "ports",
        /// None of these.
        pub not_ports: Vec<String> = "notPorts",
        /// Methods.
        pub methods: Vec<String> = "methods",
        /// None of these.
        pub not_methods: Vec<String> = "notMethods",
        /// Paths without query, or templates (`/a/{*}/{**}`).
        pub paths: Vec<String> = "paths",
        /// None of these.
        pub not_paths: Vec<String> = "notPaths",
    }

    /// One condition over a named attribute.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Condition {
        /// The attribute: `request.headers[x-token]`, `source.ip` …
        pub key: String = "key",
        /// One of these must match.
        pub values: Vec<String> = "values",
        /// None of these may match.
        pub not_values: Vec<String> = "notValues",
    }
}

plugin_config::keyword! {
    /// What a policy does.
    pub enum Action {
        /// Allows what it matches; nothing else passes then.
        Allow = "ALLOW",
        /// Refuses what it matches.
        Deny = "DENY",
        /// Logs what it matches.
        Audit = "AUDIT",
        /// Has a provider decide about what it matches.
        Custom = "CUSTOM",
    }
}

impl Kind for AuthorizationPolicy {
    const KIND: &'static str = "AuthorizationPolicy";
    const GROUP: &'static str = "security.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];

    fn validate(&self, _: &Metadata, at: &mut At) {
        validate::check(self, at);
    }

    fn warn(&self, _: &Metadata, at: &mut At) {
        validate::warn(self, at);
    }
}
