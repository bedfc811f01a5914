//! The plugin configuration: AuthorizationPolicies that apply to one workload, in Istio's own field names, and the
//! providers of its CUSTOM policies.

mod reading;

use plugin_config::{At, Duration, Field, FromNode, ListMap, Node, Object, ReadNode, keyword, read_object};

/// Defines configuration structs of which every field has a default; what must be there is seen to when policies are
/// compiled.
macro_rules! settings {
    ($(
        $(#[$attr:meta])*
        pub struct $name:ident {
            $($(#[$field_attr:meta])* pub $field:ident: $type:ty = $key:literal,)*
        }
    )*) => {$(
        $(#[$attr])*
        #[derive(Clone, Debug, PartialEq)]
        #[cfg_attr(not(target_family = "wasm"), derive(serde::Serialize))]
        pub struct $name {
            $(
                $(#[$field_attr])*
                #[cfg_attr(not(target_family = "wasm"), serde(rename = $key, skip_serializing_if = "is_default"))]
                pub $field: $type,
            )*
        }

        impl Object for $name {
            fn fields(&mut self) -> Vec<Field<'_>> {
                vec![$(Field::optional($key, &mut self.$field)),*]
            }
        }

        impl ReadNode for $name {
            fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
                read_object(self, node, at);
            }
        }

        impl FromNode for $name {}
    )*};
}

/// For serde's `skip_serializing_if`.
#[cfg(not(target_family = "wasm"))]
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

settings! {
    /// The workload that the policies protect.
    pub struct Workload {
        /// Its namespace: that of policies which name none.
        pub namespace: String = "namespace",
        /// The mesh's trust domain.
        pub trust_domain: String = "trustDomain",
        /// Other trust domains that stand for the same mesh.
        pub trust_domain_aliases: Vec<String> = "trustDomainAliases",
    }

    /// Names a provider.
    #[derive(Default)]
    pub struct ProviderName {
        /// The name under `providers`.
        pub name: String = "name",
    }

    /// Matches a request from one of `from`, to one of `to`, when all of `when` hold.
    #[derive(Default)]
    pub struct Rule {
        /// Alternatives; any source when absent.
        pub from: Option<Vec<RuleFrom>> = "from",
        /// Alternatives; any operation when absent.
        pub to: Option<Vec<RuleTo>> = "to",
        /// Further conditions, all of which must hold.
        pub when: Vec<Condition> = "when",
    }

    /// One alternative of `from`.
    #[derive(Default)]
    pub struct RuleFrom {
        /// All its fields must hold.
        pub source: Box<Source> = "source",
    }

    /// One alternative of `to`.
    #[derive(Default)]
    pub struct RuleTo {
        /// All its fields must hold.
        pub operation: Box<Operation> = "operation",
    }

    /// One condition over a named attribute.
    #[derive(Default)]
    pub struct Condition {
        /// The attribute: `request.headers[x-token]`, `source.ip`, …
        pub key: String = "key",
        /// One of these must match.
        pub values: Vec<String> = "values",
        /// None of these may match.
        pub not_values: Vec<String> = "notValues",
    }

    /// An external authorizer: exactly one of the two kinds.
    #[derive(Default)]
    pub struct Provider {
        /// What policies call it.
        pub name: String = "name",
        /// Asked over HTTP.
        pub http: Option<HttpProvider> = "envoyExtAuthzHttp",
        /// Asked over gRPC.
        pub grpc: Option<GrpcProvider> = "envoyExtAuthzGrpc",
    }

    /// An authorizer that answers HTTP requests: 200 allows.
    #[derive(Default)]
    pub struct HttpProvider {
        /// The cluster to ask; when absent, the one Istio makes for `service` and `port`.
        pub cluster: Option<String> = "cluster",
        /// `[namespace/]hostname` of the authorizer.
        pub service: Option<String> = "service",
        /// Its port.
        pub port: Option<u16> = "port",
        /// How long to wait for it.
        pub timeout: Option<Duration> = "timeout",
        /// Put before the path of the check request.
        pub path_prefix: Option<String> = "pathPrefix",
        /// Whether requests pass when it cannot be asked or fails.
        pub fail_open: bool = "failOpen",
        /// Accepted; changed request headers always choose the route again.
        pub clear_route_cache: bool = "clearRouteCache",
        /// The status that clients get when it cannot be asked or fails; 403 when absent.
        pub status_on_error: Option<String> = "statusOnError",
        /// Old name of `includeRequestHeadersInCheck`, used when that is absent.
        pub include_headers_in_check: Vec<String> = "includeHeadersInCheck",
        /// Request headers sent to it besides Host, Method, Path, Content-Length and Authorization.
        pub include_request_headers_in_check: Vec<String> = "includeRequestHeadersInCheck",
        /// Headers added to the check request.
        pub include_additional_headers_in_check: ListMap<String> = "includeAdditionalHeadersInCheck",
        /// Refused: a filter cannot hold a request for its body.
        pub include_request_body_in_check: Option<RequestBody> = "includeRequestBodyInCheck",
        /// Headers of its answer that replace request headers when it allows.
        pub headers_to_upstream_on_allow: Vec<String> = "headersToUpstreamOnAllow",
        /// Headers of its answer that go to the client when it refuses; all when absent.
        pub headers_to_downstream_on_deny: Vec<String> = "headersToDownstreamOnDeny",
        /// Headers of its answer that go to the client when it allows.
        pub headers_to_downstream_on_allow: Vec<String> = "headersToDownstreamOnAllow",
    }

    /// An authorizer that speaks `envoy.service.auth.v3.Authorization`.
    #[derive(Default)]
    pub struct GrpcProvider {
        /// The cluster to ask; when absent, the one Istio makes for `service` and `port`.
        pub cluster: Option<String> = "cluster",
        /// `[namespace/]hostname` of the authorizer.
        pub service: Option<String> = "service",
        /// Its port.
        pub port: Option<u16> = "port",
        /// How long to wait for it.
        pub timeout: Option<Duration> = "timeout",
        /// Whether requests pass when it cannot be asked or fails.
        pub fail_open: bool = "failOpen",
        /// Accepted; changed request headers always choose the route again.
        pub clear_route_cache: bool = "clearRouteCache",
        /// The status that clients get when it cannot be asked or fails; 403 when absent.
        pub status_on_error: Option<String> = "statusOnError",
        /// Refused: a filter cannot hold a request for its body.
        pub include_request_body_in_check: Option<RequestBody> = "includeRequestBodyInCheck",
    }

    /// How much of a body to send.
    #[derive(Default)]
    pub struct RequestBody {
        /// Bytes.
        pub max_request_bytes: Option<u32> = "maxRequestBytes",
        /// Whether a longer body is cut instead of refused.
        pub allow_partial_message: bool = "allowPartialMessage",
        /// Whether to send it as bytes over gRPC.
        pub pack_as_bytes: bool = "packAsBytes",
    }

    /// Who sends the request. Values of a field are alternatives; of its `not…` twin none may match.
    #[derive(Default)]
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
        /// Addresses or CIDR blocks of the direct peer.
        pub ip_blocks: Vec<String> = "ipBlocks",
        /// None of these.
        pub not_ip_blocks: Vec<String> = "notIpBlocks",
        /// Addresses or CIDR blocks of the client.
        pub remote_ip_blocks: Vec<String> = "remoteIpBlocks",
        /// None of these.
        pub not_remote_ip_blocks: Vec<String> = "notRemoteIpBlocks",
    }

    /// What is requested.
    #[derive(Default)]
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
}

/// The whole plugin configuration. Policies are selected for the workload before they get here.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(not(target_family = "wasm"), derive(serde::Serialize))]
pub struct Config {
    /// What the policies are read against.
    #[cfg_attr(not(target_family = "wasm"), serde(rename = "workload", skip_serializing_if = "is_default"))]
    pub workload: Workload,
    /// The policies that apply, in the order in which their ids are preferred in messages.
    #[cfg_attr(not(target_family = "wasm"), serde(rename = "policies", skip_serializing_if = "is_default"))]
    pub policies: Vec<Policy>,
    /// External authorizers that CUSTOM policies name.
    #[cfg_attr(not(target_family = "wasm"), serde(rename = "providers", skip_serializing_if = "is_default"))]
    pub providers: Vec<Provider>,
    /// Whether CUSTOM policies may name more than one provider. Off as in Istio: requests that such policies match
    /// are then refused.
    #[cfg_attr(not(target_family = "wasm"), serde(rename = "multipleProviders", skip_serializing_if = "is_default"))]
    pub multiple_providers: bool,
    /// Which proxy answers property reads.
    #[cfg_attr(not(target_family = "wasm"), serde(rename = "hostProperties", skip_serializing_if = "is_default"))]
    pub host_properties: HostProperties,
    /// Path of the property that carries the address of the direct peer, for `ipBlocks` and `source.ip` in stock
    /// Envoy: it has no such property of its own, but its set_filter_state filter can make one.
    #[cfg_attr(not(target_family = "wasm"), serde(rename = "peerAddressProperty", skip_serializing_if = "is_default"))]
    pub peer_address_property: Vec<String>,
    /// Whether each refusal is logged with the policy that decided, as one JSON line at level info; yes when absent.
    #[cfg_attr(not(target_family = "wasm"), serde(rename = "logDenials", skip_serializing_if = "is_default"))]
    pub log_denials: Option<bool>,
}

/// One AuthorizationPolicy.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(not(target_family = "wasm"), derive(serde::Serialize))]
pub struct Policy {
    /// Its name.
    #[cfg_attr(not(target_family = "wasm"), serde(rename = "name", skip_serializing_if = "is_default"))]
    pub name: String,
    /// Its namespace; the workload's when absent.
    #[cfg_attr(not(target_family = "wasm"), serde(rename = "namespace", skip_serializing_if = "is_default"))]
    pub namespace: Option<String>,
    /// What it does with requests that its rules match.
    #[cfg_attr(not(target_family = "wasm"), serde(rename = "action", skip_serializing_if = "is_default"))]
    pub action: PolicyAction,
    /// Whether it is only evaluated, logged and counted: the annotation `istio.io/dry-run`.
    #[cfg_attr(not(target_family = "wasm"), serde(rename = "dryRun", skip_serializing_if = "is_default"))]
    pub dry_run: DryRun,
    /// Who decides under CUSTOM.
    #[cfg_attr(not(target_family = "wasm"), serde(rename = "provider", skip_serializing_if = "is_default"))]
    pub provider: Option<ProviderName>,
    /// Alternatives. ALLOW without rules allows nothing.
    #[cfg_attr(not(target_family = "wasm"), serde(rename = "rules", skip_serializing_if = "is_default"))]
    pub rules: Vec<Rule>,
}

keyword! {
    /// What a policy does.
    pub enum PolicyAction {
        /// Allows what it matches; nothing else passes then.
        Allow = "ALLOW",
        /// Refuses what it matches.
        Deny = "DENY",
        /// Logs what it matches.
        Audit = "AUDIT",
        /// Has a provider decide about what it matches.
        Custom = "CUSTOM",
    }

    /// Which proxy answers property reads.
    pub enum HostProperties {
        /// Stock Envoy: no property gives the direct peer's address.
        Envoy = "ENVOY",
        /// Outrigger's own host: it does, as `source.direct_address`.
        Outrigger = "OUTRIGGER",
    }
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            namespace: "default".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
        }
    }
}

/// `true`, or the text of an annotation, read as Go's `ParseBool` does; any other text means enforced, as in Istio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DryRun(pub bool);

impl ReadNode for DryRun {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        match node {
            Node::Bool(value) => self.0 = *value,
            Node::String(text) => self.0 = matches!(text.as_ref(), "1" | "t" | "T" | "true" | "TRUE" | "True"),
            other => at.refuse(other, "expected true, false, or the text of the annotation istio.io/dry-run"),
        }
    }
}

impl FromNode for DryRun {
    const REQUIRED: bool = false;

    fn is_absent(&self) -> bool {
        !self.0
    }
}

#[cfg(not(target_family = "wasm"))]
impl serde::Serialize for DryRun {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(self.0)
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;

    const FULL: &str = r#"{
        "workload": {"namespace": "shop", "trustDomain": "td", "trustDomainAliases": ["old"]},
        "policies": [{
            "name": "p", "namespace": "istio-system", "action": "CUSTOM", "dryRun": "1", "provider": {"name": "ext"},
            "rules": [{
                "from": [{"source": {"remoteIpBlocks": ["10.0.0.0/8"], "notIpBlocks": ["10.1.0.0/16"]}}],
                "to": [{"operation": {"paths": ["/a*"], "notMethods": ["GET"]}}],
                "when": [{"key": "request.headers[x]", "values": ["a"], "notValues": ["b"]}]
            }]
        }],
        "providers": [
            {"name": "ext", "envoyExtAuthzHttp": {"cluster": "c", "timeout": "0.5s", "statusOnError": "503",
                "includeAdditionalHeadersInCheck": {"x-a": "b"}, "headersToUpstreamOnAllow": ["x-*"]}},
            {"name": "g", "envoyExtAuthzGrpc": {"service": "ns/auth.ns.svc.cluster.local", "port": 9000, "failOpen": true}}
        ],
        "hostProperties": "OUTRIGGER", "logDenials": false
    }"#;

    #[test]
    fn what_is_written_reads_back() {
        let config: Config = plugin_config::from_slice(FULL.as_bytes()).unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(plugin_config::from_slice::<Config>(text.as_bytes()).unwrap(), config);
        assert_eq!(config.policies[0].dry_run, DryRun(true));
        assert_eq!(config.log_denials, Some(false));
    }

    #[test]
    fn dry_run_is_read_like_the_annotation() {
        for (text, dry) in [("true", true), ("T", true), ("1", true), ("yes", false), ("", false), ("tRUE", false)] {
            let json = format!(r#"{{"policies": [{{"name": "p", "dryRun": "{text}"}}]}}"#);
            let config: Config = plugin_config::from_slice(json.as_bytes()).unwrap();
            assert_eq!(config.policies[0].dry_run.0, dry, "{text}");
        }
    }

    #[test]
    fn an_empty_configuration_is_one() {
        let config: Config = plugin_config::from_slice(b"").unwrap();
        assert_eq!(config.workload.trust_domain, "cluster.local");
        assert!(config.policies.is_empty() && config.log_denials.is_none());
    }
}
