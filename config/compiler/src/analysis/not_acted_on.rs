//! Fields that are read and checked, and that no proxy acts on yet; and whole resources of that kind.

use crate::finding::{Finding, Message};
use crate::mesh::Mesh;
use crate::mesh::names::MESH;
use crate::report::{Field, Named, Report};
use istio_api::gateway::{ServerTls, ServerTlsMode};
use istio_api::mesh_config::{MeshConfig, MeshProxyConfig};
use istio_api::{AnyResource, Protocol, Resource, ResourceName, Source};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;

/// When a field is one that is not acted on.
#[derive(Clone, Copy)]
enum When {
    /// When it is given.
    Given,
    /// When it has this value.
    Is(&'static str),
    /// When it has another.
    IsNot(&'static str),
    /// When it is a block of addresses.
    Block,
}

use When::{Block, Given, Is, IsNot};

/// A kind, a field of it (`[]`: items of a list), when, and what happens instead.
type Row = (&'static str, &'static str, When, &'static str);

/// `@policy` stands for every `trafficPolicy`, `@block` for those and their `portLevelSettings`.
const FIELDS: &[Row] = &[
    ("VirtualService", "spec.http[].match[].statPrefix", Given, "no statistics of its own are kept"),
    ("VirtualService", "spec.http[].retries.backoff", Given, "retries wait 25 ms at first, as by default"),
    ("VirtualService", "spec.http[].retries.retryRemoteLocalities", Is("true"), "retries do not leave their locality"),
    (
        "VirtualService",
        "spec.http[].retries.retryIgnorePreviousHosts",
        Is("false"),
        "retries go to another endpoint if there is one",
    ),
    ("VirtualService", "spec.tls[].match[].destinationSubnets", Given, "the address asked for is not looked at"),
    ("VirtualService", "spec.tls[].match[].sourceLabels", Given, "gateways do not know the labels of clients"),
    ("VirtualService", "spec.tls[].match[].sourceNamespace", Given, "gateways do not know the namespace of clients"),
    ("VirtualService", "spec.tcp[].match[].destinationSubnets", Given, "the address asked for is not looked at"),
    ("VirtualService", "spec.tcp[].match[].sourceLabels", Given, "gateways do not know the labels of clients"),
    ("VirtualService", "spec.tcp[].match[].sourceNamespace", Given, "gateways do not know the namespace of clients"),
    ("DestinationRule", "@block.connectionPool.tcp.tcpKeepalive", Given, "the system's settings hold"),
    ("DestinationRule", "@block.connectionPool.tcp.maxConnectionDuration", Given, "connections get as old as they do"),
    ("DestinationRule", "@block.connectionPool.tcp.idleTimeout", Given, "idle connections are closed after an hour"),
    ("DestinationRule", "@block.connectionPool.http.maxConcurrentStreams", Given, "the server's own limit holds"),
    ("DestinationRule", "@block.connectionPool.http.http2KeepAlive", Given, "servers are not asked if they are there"),
    ("DestinationRule", "@block.loadBalancer.warmup", Given, "new endpoints get their full share at once"),
    ("DestinationRule", "@block.loadBalancer.warmupDurationSecs", Given, "new endpoints get their full share at once"),
    ("DestinationRule", "@block.loadBalancer.zoneAwareLbSetting", Given, "zones are not weighed against each other"),
    (
        "DestinationRule",
        "@block.loadBalancer.simple",
        Is("PASSTHROUGH"),
        "an endpoint is chosen by least requests, and not the address that was asked for",
    ),
    (
        "DestinationRule",
        "@block.loadBalancer.consistentHash.httpCookie.attributes",
        Given,
        "cookies are set without further attributes",
    ),
    (
        "DestinationRule",
        "@block.outlierDetection.outlierDetectionHttpErrorCodes",
        Given,
        "statuses from 500 on count as errors, and no others",
    ),
    ("DestinationRule", "@policy.tunnel", Given, "connections go to the destination itself"),
    ("DestinationRule", "@policy.proxyProtocol", Given, "no PROXY header is sent"),
    ("DestinationRule", "@policy.retryBudget.budgetInterval", Given, "requests that are under way are counted"),
    ("ServiceEntry", "spec.addresses[]", Block, "only single addresses are names of a service"),
    ("ServiceEntry", "spec.endpoints[].network", Given, "endpoints are called at their own addresses"),
    ("WorkloadEntry", "spec.network", Given, "workloads are called at their own addresses"),
    ("Gateway", "spec.servers[].tls.maxProtocolVersion", IsNot("TLS_AUTO"), "TLS 1.3 is spoken with whoever can"),
    ("Gateway", "spec.servers[].tls.insecureSkipVerify", Is("true"), "certificates of clients are verified"),
    (
        "Gateway",
        "spec.servers[].tls.tlsCertificates[].caCertificates",
        Given,
        "the authorities that vouch for clients are those of tls.caCertificates",
    ),
    ("Sidecar", "spec.egress[].bind", Given, "there is one outbound listener for all"),
    ("Sidecar", "spec.egress[].captureMode", IsNot("DEFAULT"), "there is one outbound listener for all"),
    ("Sidecar", "spec.egress[].port.protocol", Is("HTTP_PROXY"), "what is spoken is what the services say"),
    ("Sidecar", "spec.egress[].port.targetPort", Given, "deprecated, and of no account in Istio either"),
    ("Sidecar", "spec.ingress[].port.targetPort", Given, "deprecated, and of no account in Istio either"),
    ("Sidecar", "spec.ingress[].connectionPool", Given, "the application is called without bounds"),
    ("Sidecar", "spec.inboundConnectionPool", Given, "the application is called without bounds"),
    ("Sidecar", "spec.outboundTrafficPolicy.egressProxy", Given, "calls to unknown services go there directly"),
    ("AuthorizationPolicy", "spec.targetRef", Given, TARGETS),
    ("AuthorizationPolicy", "spec.targetRefs", Given, TARGETS),
    ("RequestAuthentication", "spec.targetRef", Given, TARGETS),
    ("RequestAuthentication", "spec.targetRefs", Given, TARGETS),
    ("WasmPlugin", "spec.imagePullPolicy", IsNot("UNSPECIFIED_POLICY"), "modules are files, and nothing is pulled"),
    ("WasmPlugin", "spec.imagePullSecret", Given, "modules are files, and nothing is pulled"),
    ("WasmPlugin", "spec.verificationKey", Given, "signatures are not verified, nor are they by Istio"),
    (
        "TrafficExtension",
        "spec.wasm.imagePullPolicy",
        IsNot("UNSPECIFIED_POLICY"),
        "modules are files, and nothing is pulled",
    ),
    ("TrafficExtension", "spec.wasm.imagePullSecret", Given, "modules are files, and nothing is pulled"),
    ("TrafficExtension", "spec.wasm.verificationKey", Given, "signatures are not verified, nor are they by Istio"),
    ("Telemetry", "$", Given, "metrics are Istio's, logs are as MeshConfig says, and nothing is traced"),
    ("ProxyConfig", "$", Given, "proxies are set up by their flags"),
    ("WorkloadGroup", "spec.probe", Given, "workloads are called without being probed"),
    ("WorkloadGroup", "spec.metadata.annotations", Given, "workloads have the annotations of their own resource"),
    ("WorkloadGroup", "spec.template.address", Given, "each workload has an address of its own"),
    ("WorkloadGroup", "spec.template.network", Given, "workloads are called at their own addresses"),
    ("Service", "spec.trafficDistribution", Given, "endpoints are chosen as DestinationRules say"),
    ("Service", "spec.internalTrafficPolicy", Is("Local"), "endpoints of every node are called"),
];

const TARGETS: &str = "references are for waypoints and Kubernetes' Gateway API, which there are none of: nothing is decided \
                       by this";

/// Fields of a MeshConfig that are acted on.
const MESH_CONFIG: [&str; 14] = [
    "connectTimeout",
    "accessLogFile",
    "accessLogFormat",
    "outboundTrafficPolicy",
    "trustDomain",
    "trustDomainAliases",
    "rootNamespace",
    "extensionProviders",
    "pathNormalization",
    "defaultHttpRetryPolicy",
    "enableAutoMtls",
    "meshMTLS",
    "caCertificates",
    "protocolDetectionTimeout",
];

/// Fields of a provider that are acted on.
const PROVIDER: [&str; 3] = ["name", "envoyExtAuthzHttp", "envoyExtAuthzGrpc"];

impl Mesh<'_> {
    /// What is read and checked, and no proxy acts on: fields, and whole resources where nothing of them is. In the
    /// order of kinds.
    pub fn not_acted_on(&self) -> Vec<Finding> {
        let mut report = Report::default();
        say(self, &mut report);
        report.notices
    }
}

pub(super) fn say(mesh: &Mesh<'_>, report: &mut Report) {
    let mut kinds: HashMap<&str, (Vec<&Row>, Vec<String>)> = HashMap::new();
    for row in FIELDS {
        let (rows, names) = kinds.entry(row.0).or_default();
        rows.push(row);
        names.push(last(row.1).to_owned());
    }
    for resource in mesh.resources.all() {
        let kind = resource.kind();
        let Some((rows, names)) = kinds.get(kind) else { continue };
        if !rows.iter().any(|(_, field, ..)| *field == "$") && !resource.may_have(names) {
            continue;
        }
        let fields = resource.fields();
        for (_, field, when, reason) in rows {
            for pattern in expanded(field) {
                let mut say = |path: &str, value: &Value| {
                    if holds(*when, value) {
                        let field = Field { name: &Any(resource), path };
                        report.find(&Message::NOT_ACTED_ON, field, shown(*when, value), *reason);
                    }
                };
                walk(&fields, &pattern, String::new(), &mut say);
            }
        }
    }
    if let Some(written) = mesh.settings.written {
        mesh_config(written, report);
    }
    connections_of_sidecars(mesh, report);
    ended_tls(mesh, report);
}

/// Routes of connections that sidecars would have to make.
fn connections_of_sidecars(mesh: &Mesh<'_>, report: &mut Report) {
    for routed in mesh.virtual_services.all().iter().filter(|routed| routed.gateways.iter().any(|one| one == MESH)) {
        let (name, spec) = (routed.resource, &routed.resource.spec);
        let reason = "sidecars send connections to the service of their port: this is acted on at gateways alone";
        if !spec.tls.is_empty() {
            report.notice(Field { name, path: "spec.tls" }, "", reason);
        }
        if !spec.tcp.is_empty() {
            report.notice(Field { name, path: "spec.tcp" }, "", reason);
        }
    }
}

/// What is no HTTP and stands in TLS that a gateway ends.
fn ended_tls(mesh: &Mesh<'_>, report: &mut Report) {
    for gateway in &mesh.resources.gateways {
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let protocol = server.port.protocol.as_str();
            let parsed = Protocol::parse(protocol);
            let is_http = parsed.is_some_and(|protocol| protocol.is_http() || protocol == Protocol::Https);
            let ended =
                |tls: &ServerTls| !matches!(tls.mode, ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough);
            if !is_http && server.tls.as_ref().is_some_and(ended) {
                let path = format!("spec.servers[{index}].port.protocol");
                let reason = "what comes out of TLS is taken for HTTP";
                report.notice(Field { name: gateway, path: &path }, protocol, reason);
            }
        }
    }
}

/// The name at the end of a pattern.
fn last(pattern: &str) -> &str {
    let name = pattern.rsplit_once('.').map_or(pattern, |(_, name)| name);
    name.strip_suffix("[]").unwrap_or(name)
}

/// A pattern with what stands for several.
fn expanded(pattern: &'static str) -> Vec<Cow<'static, str>> {
    const POLICIES: [&str; 2] = ["spec.trafficPolicy", "spec.subsets[].trafficPolicy"];
    let policies = |rest: &str, ports: bool| {
        let own = POLICIES.iter().map(|policy| Cow::from(format!("{policy}{rest}")));
        let of_ports = POLICIES.iter().map(|policy| Cow::from(format!("{policy}.portLevelSettings[]{rest}")));
        own.chain(of_ports.filter(|_| ports)).collect()
    };
    match (pattern.strip_prefix("@policy"), pattern.strip_prefix("@block")) {
        (Some(rest), _) => policies(rest, false),
        (_, Some(rest)) => policies(rest, true),
        _ => vec![Cow::from(pattern)],
    }
}

/// Finds every field of a pattern that is given.
fn walk(value: &Value, pattern: &str, path: String, found: &mut dyn FnMut(&str, &Value)) {
    if pattern == "$" {
        return found("$", &Value::Null);
    }
    let (step, rest) = pattern.split_once('.').unwrap_or((pattern, ""));
    let (name, is_list) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
    let Some(inner) = value.get(name) else { return };
    let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let mut go_on = |inner: &Value, path: String| match rest {
        "" => found(&path, inner),
        rest => walk(inner, rest, path, found),
    };
    match inner.as_array().filter(|_| is_list) {
        Some(items) => items.iter().enumerate().for_each(|(index, item)| go_on(item, format!("{path}[{index}]"))),
        None => go_on(inner, path),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn holds(when: When, value: &Value) -> bool {
    match when {
        Given => true,
        Is(wanted) => text(value) == wanted,
        IsNot(usual) => text(value) != usual,
        Block => {
            !text(value).parse::<ipnet::IpNet>().is_ok_and(|net| net.prefix_len() == net.max_prefix_len())
                && text(value).contains('/')
        }
    }
}

/// The value, where it is what matters.
fn shown(when: When, value: &Value) -> String {
    match when {
        Given => String::new(),
        Is(_) | IsNot(_) | Block => text(value),
    }
}

/// Everything that a MeshConfig says and the proxies do not look at.
fn mesh_config(written: &Resource<MeshConfig>, report: &mut Report) {
    let fields = serde_json::to_value(&written.spec).unwrap_or_default();
    let usual = serde_json::to_value(MeshConfig::default()).unwrap_or_default();
    let mut say = |path: &str, reason: &str| report.notice(Field { name: &OfMesh(written), path }, "", reason);
    for (name, value) in fields.as_object().into_iter().flatten() {
        match name.as_str() {
            name if MESH_CONFIG.contains(&name) || usual.get(name) == Some(value) => {}
            "defaultConfig" => {
                let usual = serde_json::to_value(MeshProxyConfig::default()).unwrap_or_default();
                let given = value.as_object().into_iter().flatten();
                for (field, _) in given.filter(|(field, value)| usual.get(field) != Some(value)) {
                    say(&format!("defaultConfig.{field}"), "proxies are set up by their flags");
                }
            }
            name => say(name, "is not acted on yet"),
        }
    }
    let providers = fields.get("extensionProviders").and_then(Value::as_array).into_iter().flatten();
    for (index, provider) in providers.enumerate() {
        let given = provider.as_object().into_iter().flatten();
        for (field, _) in given.filter(|(field, _)| !PROVIDER.contains(&field.as_str())) {
            say(
                &format!("extensionProviders[{index}].{field}"),
                "spans, logs and metrics are not sent to providers yet",
            );
        }
    }
    for (index, data) in written.spec.ca_certificates.iter().enumerate() {
        if !data.cert_signers.is_empty() {
            let reason = "there are no signers apart: these authorities are not trusted";
            say(&format!("caCertificates[{index}].certSigners"), reason);
        }
        if data.spiffe_bundle_url.is_some() {
            say(&format!("caCertificates[{index}].spiffeBundleUrl"), "is not fetched: give pem");
        }
    }
    if written.spec.default_http_retry_policy.as_ref().is_some_and(|policy| policy.backoff.is_some()) {
        say("defaultHttpRetryPolicy.backoff", "retries wait 25 ms at first, as by default");
    }
}

/// A resource of any kind.
struct Any<'r>(&'r dyn AnyResource);

impl Named for Any<'_> {
    fn resource_name(&self) -> ResourceName {
        self.0.resource_name()
    }

    fn source(&self) -> &Source {
        self.0.source()
    }
}

/// A MeshConfig, which is no resource of its own.
struct OfMesh<'r>(&'r Resource<MeshConfig>);

impl Named for OfMesh<'_> {
    fn resource_name(&self) -> ResourceName {
        let metadata = &self.0.metadata;
        ResourceName {
            kind: "MeshConfig".to_owned(),
            namespace: metadata.namespace().to_owned(),
            name: metadata.name.as_str().to_owned(),
        }
    }

    fn source(&self) -> &Source {
        &self.0.source
    }
}
