//! Stock Envoy's bootstrap.

use crate::proxies::native::{self, PREFIX};
use crate::proxies::{Filters, Plugin, Setup, StartError, Surroundings, write};
use outrigger_tests::tools;
use serde_json::{Value, json};
use std::process::Command;

pub(super) fn command(setup: &Setup, port: u16, surroundings: &Surroundings<'_>) -> Result<Command, StartError> {
    let file = write(surroundings, &format!("envoy-{port}.json"), &bootstrap(setup, port, surroundings).to_string())?;
    let mut command = Command::new(tools::envoy().map_err(StartError)?);
    command.args(["--concurrency", "1", "--use-dynamic-base-id", "-l", "warning", "-c"]).arg(file);
    Ok(command)
}

fn bootstrap(setup: &Setup, port: u16, surroundings: &Surroundings<'_>) -> Value {
    let (mut filters, routes) = match &setup.filters {
        Filters::None => (Vec::new(), by_header()),
        Filters::Wasm(plugins) => (plugins.iter().enumerate().map(wasm).collect(), by_header()),
        Filters::Native { mirrored } => (native::filters(), native::routes(*mirrored)),
    };
    filters.push(json!({"name": "envoy.filters.http.router", "typed_config": {
        "@type": format!("{PREFIX}.filters.http.router.v3.Router")}}));
    let manager = json!({
        "@type": format!("{PREFIX}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": filters,
    });
    let mut chain =
        json!({"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]});
    if setup.listener.tls {
        chain["transport_socket"] = transport_socket(surroundings);
    }
    json!({"static_resources": {
        "listeners": [{"address": address(port), "filter_chains": [chain]}],
        "clusters": [cluster("upstream", surroundings.upstream), cluster("upstream2", surroundings.upstream)],
    }})
}

/// The filters decide where a request goes; it goes somewhere when there are none.
fn by_header() -> Value {
    json!([
        {"match": {"prefix": "/", "headers": [{"name": "x-outrigger-cluster", "present_match": true}]},
         "route": {"cluster_header": "x-outrigger-cluster"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}},
    ])
}

fn wasm((number, plugin): (usize, &Plugin)) -> Value {
    let name = format!("plugin{number}");
    json!({"name": name, "typed_config": {
        "@type": format!("{PREFIX}.filters.http.wasm.v3.Wasm"),
        "config": {
            "name": name,
            "root_id": name,
            // A VM each, as separate plugins have.
            "vm_config": {
                "vm_id": format!("vm{number}"),
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": plugin.module}},
            },
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": text(&plugin.configuration),
            },
        },
    }})
}

/// A configuration as a plugin gets it: a text as it is, anything else as JSON.
fn text(configuration: &Value) -> String {
    configuration.as_str().map_or_else(|| configuration.to_string(), str::to_owned)
}

fn transport_socket(surroundings: &Surroundings<'_>) -> Value {
    let certificates = surroundings.certificates;
    json!({"name": "tls", "typed_config": {
        "@type": format!("{PREFIX}.transport_sockets.tls.v3.DownstreamTlsContext"),
        "require_client_certificate": true,
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [{
                "certificate_chain": {"filename": certificates.certificate},
                "private_key": {"filename": certificates.key},
            }],
            "validation_context": {"trusted_ca": {"filename": certificates.authority}},
        },
    }})
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn cluster(name: &str, port: u16) -> Value {
    let endpoint = json!({"endpoint": {"address": address(port)}});
    // By default no more than 1,024 connections and requests: fewer than one of the scenarios has.
    let enough = json!([{"max_connections": 100_000, "max_requests": 100_000, "max_pending_requests": 100_000}]);
    json!({"name": name, "type": "STATIC", "circuit_breakers": {"thresholds": enough}, "load_assignment": {
        "cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}})
}
