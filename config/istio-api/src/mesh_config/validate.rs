//! What a MeshConfig's fields say together.

use super::{ExtAuthzGrpc, ExtAuthzHttp, ExtensionProvider, MeshConfig, MeshProxyConfig};
use crate::destination_rule::{check_connection_pool, check_locality};
use crate::gateway::TlsProtocol;
use crate::scalar::{DnsLabel, Host, Optional, Unused};
use crate::virtual_service::check_retries;
use plugin_config::{At, Quoted};
use std::collections::HashSet;

/// Records every fault.
pub(super) fn check(mesh: &MeshConfig, at: &mut At) {
    at.field("extensionProviders", |at| {
        let mut names = HashSet::new();
        for (i, provider) in mesh.extension_providers.iter().enumerate() {
            at.index(i, |at| {
                if provider.name.is_empty() || !names.insert(provider.name.as_str()) {
                    let reason = "expected a name that no other provider has";
                    at.field("name", |at| at.refuse(Quoted(&provider.name), reason));
                }
                check_provider(provider, at);
            });
        }
    });
    at.field("caCertificates", |at| {
        for (i, data) in mesh.ca_certificates.iter().enumerate() {
            if data.pem.is_some() == data.spiffe_bundle_url.is_some() {
                at.index(i, |at| at.refuse("", "expected exactly one of pem and spiffeBundleUrl"));
            }
        }
    });
    if let Some(setting) = &mesh.locality_lb_setting {
        at.field("localityLbSetting", |at| check_locality(setting, at));
    }
    for (field, retries) in [
        ("defaultHttpRetryPolicy", &mesh.default_http_retry_policy),
        ("defaultInboundHttpRetryPolicy", &mesh.default_inbound_http_retry_policy),
    ] {
        if let Some(retries) = retries {
            at.field(field, |at| check_retries(retries, at));
        }
    }
    if let Some(pool) = mesh.default_traffic_policy.as_ref().and_then(|policy| policy.connection_pool.as_ref()) {
        at.field("defaultTrafficPolicy", |at| at.field("connectionPool", |at| check_connection_pool(pool, at)));
    }
    check_tls(mesh, at);
    check_trust_domains(mesh, at);
    if let Some(config) = &mesh.default_config {
        at.field("defaultConfig", |at| check_proxy(config, at));
    }
}

fn check_provider(provider: &ExtensionProvider, at: &mut At) {
    let given = [
        provider.envoy_ext_authz_http.is_some(),
        provider.envoy_ext_authz_grpc.is_some(),
        provider.zipkin.is_some(),
        provider.lightstep.is_some(),
        provider.datadog.is_some(),
        provider.stackdriver.is_some(),
        provider.opencensus.is_some(),
        provider.skywalking.is_some(),
        provider.opentelemetry.is_some(),
        provider.prometheus.is_some(),
        provider.envoy_file_access_log.is_some(),
        provider.envoy_http_als.is_some(),
        provider.envoy_tcp_als.is_some(),
        provider.envoy_otel_als.is_some(),
        provider.sds.is_given(),
    ];
    if given.into_iter().filter(|given| *given).count() != 1 {
        at.refuse("", "expected exactly one kind of provider");
    }
    let decides = provider.envoy_ext_authz_http.is_some() || provider.envoy_ext_authz_grpc.is_some();
    if decides && DnsLabel::new(&provider.name).is_none() {
        at.field("name", |at| {
            at.refuse(Quoted(&provider.name), "expected a DNS label, for a provider of CUSTOM policies")
        });
    }
    if let Some(http) = &provider.envoy_ext_authz_http {
        at.field("envoyExtAuthzHttp", |at| check_ext_authz_http(http, at));
    }
    if let Some(grpc) = &provider.envoy_ext_authz_grpc {
        at.field("envoyExtAuthzGrpc", |at| check_ext_authz_grpc(grpc, at));
    }
}

fn check_ext_authz_http(http: &ExtAuthzHttp, at: &mut At) {
    check_service(&http.service, at);
    check_status(&http.status_on_error, at);
    if let Some(prefix) = http.path_prefix.as_deref().filter(|prefix| !prefix.starts_with('/')) {
        at.field("pathPrefix", |at| at.refuse(Quoted(prefix), "expected a path: it starts with /"));
    }
    let lists = [
        ("includeHeadersInCheck", &http.include_headers_in_check),
        ("includeRequestHeadersInCheck", &http.include_request_headers_in_check),
        ("headersToUpstreamOnAllow", &http.headers_to_upstream_on_allow),
        ("headersToDownstreamOnDeny", &http.headers_to_downstream_on_deny),
        ("headersToDownstreamOnAllow", &http.headers_to_downstream_on_allow),
    ];
    for (field, patterns) in lists {
        at.field(field, |at| {
            for (i, pattern) in patterns.iter().enumerate().filter(|(_, p)| matches!(p.as_str(), "" | "*")) {
                at.index(i, |at| at.refuse(Quoted(pattern), "expected a header name, with a star at one end or none"));
            }
        });
    }
}

fn check_ext_authz_grpc(grpc: &ExtAuthzGrpc, at: &mut At) {
    check_service(&grpc.service, at);
    check_status(&grpc.status_on_error, at);
}

fn check_service(service: &str, at: &mut At) {
    let (namespace, host) = service.split_once('/').map_or((None, service), |(ns, host)| (Some(ns), host));
    let known = Host::new(host).is_some_and(|host| !host.is_wildcard());
    if !known || namespace.is_some_and(|namespace| DnsLabel::new(namespace).is_none()) {
        at.field("service", |at| at.refuse(Quoted(service), "expected [namespace/]hostname"));
    }
}

fn check_status(status: &Optional<String>, at: &mut At) {
    let Some(text) = status.as_deref() else { return };
    if !text.parse::<u16>().is_ok_and(|status| (100..600).contains(&status)) {
        at.field("statusOnError", |at| at.refuse(Quoted(text), "expected a status, such as \"503\""));
    }
}

fn check_tls(mesh: &MeshConfig, at: &mut At) {
    for (field, tls) in [("meshMTLS", &mesh.mesh_mtls), ("tlsDefaults", &mesh.tls_defaults)] {
        let Some(tls) = tls else { continue };
        at.field(field, |at| {
            if matches!(tls.min_protocol_version, TlsProtocol::V1_0 | TlsProtocol::V1_1) {
                let version = tls.min_protocol_version.as_str();
                at.field("minProtocolVersion", |at| {
                    at.refuse(Quoted(version), "expected TLS_AUTO, TLSV1_2 or TLSV1_3")
                });
            }
            if field == "meshMTLS" && !tls.ecdh_curves.is_empty() {
                at.field("ecdhCurves", |at| at.refuse("", "for tlsDefaults alone"));
            }
        });
    }
}

fn check_trust_domains(mesh: &MeshConfig, at: &mut At) {
    let check = |domain: &str, at: &mut At| {
        if domain.is_empty() || domain.contains(['/', '*']) || domain.contains(char::is_whitespace) {
            at.refuse(Quoted(domain), "expected a trust domain: a name without slashes, stars and blanks");
        }
    };
    at.field("trustDomain", |at| mesh.trust_domain.iter().for_each(|domain| check(domain, at)));
    at.field("trustDomainAliases", |at| {
        for (i, domain) in mesh.trust_domain_aliases.iter().enumerate() {
            at.index(i, |at| check(domain, at));
        }
    });
}

fn check_proxy(config: &MeshProxyConfig, at: &mut At) {
    if config.tracing_service_name.is_some() && config.service_cluster.is_some() {
        at.field("serviceCluster", |at| at.refuse("", "not together with tracingServiceName"));
    }
    let sampling = config.tracing.as_ref().and_then(|tracing| tracing.sampling);
    if let Some(sampling) = sampling.filter(|sampling| sampling.get() > 100.0) {
        let refuse = |at: &mut At| at.refuse(sampling, "expected a number from 0 to 100");
        at.field("tracing", |at| at.field("sampling", refuse));
    }
}

/// Records what is taken, but not acted on.
pub(super) fn warn(mesh: &MeshConfig, at: &mut At) {
    unused(
        &[
            ("enableEnvoyAccessLogService", mesh.enable_envoy_access_log_service),
            ("ingressClass", mesh.ingress_class),
            ("ingressService", mesh.ingress_service),
            ("ingressControllerMode", mesh.ingress_controller_mode),
            ("ingressSelector", mesh.ingress_selector),
            ("configSources", mesh.config_sources),
            ("certificates", mesh.certificates),
            ("ca", mesh.ca),
            ("serviceScopeConfigs", mesh.service_scope_configs),
        ],
        at,
    );
    let Some(config) = &mesh.default_config else { return };
    at.field("defaultConfig", |at| {
        unused(
            &[
                ("runtimeValues", config.runtime_values),
                ("image", config.image),
                ("discoveryAddress", config.discovery_address),
                ("discoveryRefreshDelay", config.discovery_refresh_delay),
                ("controlPlaneAuthPolicy", config.control_plane_auth_policy),
                ("configPath", config.config_path),
                ("binaryPath", config.binary_path),
                ("parentShutdownDuration", config.parent_shutdown_duration),
                ("customConfigFile", config.custom_config_file),
                ("proxyBootstrapTemplatePath", config.proxy_bootstrap_template_path),
                ("zipkinAddress", config.zipkin_address),
                ("availabilityZone", config.availability_zone),
                ("envoyMetricsServiceAddress", config.envoy_metrics_service_address),
                ("sds", config.sds),
                ("statsdUdpAddress", config.statsd_udp_address),
                ("envoyAccessLogService", config.envoy_access_log_service),
                ("envoyMetricsService", config.envoy_metrics_service),
                ("statsCompression", config.stats_compression),
            ],
            at,
        );
        let Some(tracing) = &config.tracing else { return };
        at.field("tracing", |at| {
            unused(
                &[
                    ("zipkin", tracing.zipkin),
                    ("lightstep", tracing.lightstep),
                    ("datadog", tracing.datadog),
                    ("stackdriver", tracing.stackdriver),
                    ("openCensusAgent", tracing.open_census_agent),
                    ("tlsSettings", tracing.tls_settings),
                ],
                at,
            );
        });
    });
}

fn unused(fields: &[(&'static str, Unused)], at: &mut At) {
    for (field, _) in fields.iter().filter(|(_, field)| field.is_given()) {
        at.field(field, |at| at.refuse("", "is taken, but not acted on"));
    }
}
