//! MeshConfig: of a file of its own, and within the ConfigMap `istio`.

use crate::support::{faults, file, read};
use istio_api::{Options, read_files};
use serde_json::Value;

const MESH: &str = include_str!("../inputs/mesh_config.yaml");

fn options(text: &str) -> Options {
    Options { mesh_config: Some(file("mesh.yaml", text)), ..Options::default() }
}

/// The text as the value `mesh` of a ConfigMap.
fn config_map(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n{}",
        lines.concat()
    )
}

#[test]
fn every_field_is_read_of_a_file_and_of_a_config_map() {
    let written: Value = serde_saphyr::from_str(MESH).unwrap();
    let of_file = read_files(&[], &options(MESH)).unwrap_or_else(|faults| panic!("{faults}"));
    let of_map = read(&config_map(MESH)).unwrap_or_else(|faults| panic!("{faults}"));
    for resources in [of_file, of_map] {
        assert_eq!(resources.mesh_configs.len(), 1);
        let read = serde_json::to_value(&resources.mesh_configs[0].spec).unwrap();
        let mut missing = Vec::new();
        crate::inputs::lacks(&written, &read, "", &mut missing);
        assert_eq!(missing, [""; 0]);
        assert!(resources.warnings.is_empty(), "{:?}", resources.warnings);
    }
}

#[test]
fn faults_are_said_where_they_stand_in_the_file() {
    let text = "trustDomain: a/b\n\n# more\ndefaultConfig:\n  concurrencyy: 1\n";
    let expected = |name: &str, file: [&str; 2]| {
        [
            format!(
                "MeshConfig {name} trustDomain: \"a/b\": expected a trust domain: a name without slashes, stars and \
                 blanks ({})",
                file[0]
            ),
            format!("MeshConfig {name} defaultConfig.concurrencyy: 1: unknown field"),
        ]
        .map(|text| (text, file[1].to_owned()))
    };
    let check = |found: Vec<String>, expected: [(String, String); 2]| {
        assert_eq!(found.len(), 2, "{found:#?}");
        // What cannot be read comes before what does not fit.
        assert!(found[0].starts_with(&expected[1].0) && found[0].ends_with(&expected[1].1), "{found:#?}");
        assert_eq!(found[1], expected[0].0);
    };
    check(faults(&config_map(text)), expected("istio-system/istio", ["f.yaml:6:18", "(f.yaml:10:21)"]));
    let of_file = read_files(&[], &options(text)).unwrap_err();
    let of_file = of_file.faults.iter().map(ToString::to_string).collect();
    check(of_file, expected("(no name)", ["mesh.yaml:1:14", "(mesh.yaml:5:17)"]));
}

#[test]
fn a_text_that_is_no_yaml_is_said_where_it_stands() {
    assert_eq!(faults(&config_map("\na: 1\nb: [\n")).len(), 1);
    let said = faults(&config_map("a: b: c\n"));
    assert!(
        said[0].starts_with("MeshConfig istio-system/istio: not YAML: ") && said[0].contains("f.yaml:6:"),
        "{said:?}"
    );
    let inline = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio-canary}\ndata: {mesh: \"trustDomain: 1\"}\n";
    assert_eq!(faults(inline), ["MeshConfig default/istio-canary trustDomain: 1: expected a string (f.yaml:4:14)"]);
}

#[test]
fn other_config_maps_have_no_mesh_config() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {mesh: \"not: [one\"}\n";
    let resources = read(text).unwrap();
    assert!(resources.mesh_configs.is_empty() && resources.config_maps.len() == 1);
}

#[test]
fn rules_of_a_mesh_config() {
    for (text, expected) in [
        ("extensionProviders: [{name: a}]", "extensionProviders[0]: expected exactly one kind of provider"),
        (
            "extensionProviders: [{name: a, prometheus: {}}, {name: a, prometheus: {}}]",
            "extensionProviders[1].name: \"a\": expected a name that no other provider has",
        ),
        (
            "extensionProviders: [{name: A_b, envoyExtAuthzGrpc: {service: a.b, port: 80}}]",
            "extensionProviders[0].name: \"A_b\": expected a DNS label, for a provider of CUSTOM policies",
        ),
        (
            "extensionProviders: [{name: a, envoyExtAuthzGrpc: {service: \"*.b\", port: 80}}]",
            "extensionProviders[0].envoyExtAuthzGrpc.service: \"*.b\": expected [namespace/]hostname",
        ),
        (
            "extensionProviders: [{name: a, envoyExtAuthzHttp: {service: a.b, port: 80, pathPrefix: check}}]",
            "extensionProviders[0].envoyExtAuthzHttp.pathPrefix: \"check\": expected a path: it starts with /",
        ),
        (
            "extensionProviders: [{name: a, envoyExtAuthzHttp: {service: a.b, port: 80, statusOnError: \"99\"}}]",
            "extensionProviders[0].envoyExtAuthzHttp.statusOnError: \"99\": expected a status, such as \"503\"",
        ),
        (
            "extensionProviders: [{name: a, envoyExtAuthzHttp: {service: a.b, port: 80, headersToUpstreamOnAllow: [\"*\"]}}]",
            "extensionProviders[0].envoyExtAuthzHttp.headersToUpstreamOnAllow[0]: \"*\": expected a header name, with a \
             star at one end or none",
        ),
        ("caCertificates: [{}]", "caCertificates[0]: expected exactly one of pem and spiffeBundleUrl"),
        ("meshMTLS: {ecdhCurves: [P-256]}", "meshMTLS.ecdhCurves: for tlsDefaults alone"),
        (
            "tlsDefaults: {minProtocolVersion: TLSV1_1}",
            "tlsDefaults.minProtocolVersion: \"TLSV1_1\": expected TLS_AUTO, TLSV1_2 or TLSV1_3",
        ),
        (
            "defaultHttpRetryPolicy: {attempts: 0, retryOn: 5xx}",
            "defaultHttpRetryPolicy.retryOn: attempts: 0 repeats nothing: leave this out",
        ),
        (
            "defaultConfig: {serviceCluster: a, tracingServiceName: CANONICAL_NAME_ONLY}",
            "defaultConfig.serviceCluster: not together with tracingServiceName",
        ),
        (
            "defaultConfig: {tracing: {sampling: 101}}",
            "defaultConfig.tracing.sampling: 101: expected a number from 0 to 100",
        ),
        ("trust_domain: a", "trust_domain: \"a\": unknown field, expected one of"),
    ] {
        let said = read_files(&[], &options(text)).unwrap_err().faults[0].to_string();
        let found = said.strip_prefix("MeshConfig (no name) ");
        assert!(found.is_some_and(|found| found.starts_with(expected)), "{said}\n{expected}");
    }
}

#[test]
fn fields_that_nothing_acts_on_are_said() {
    let text =
        "ingressClass: istio\ndefaultConfig: {discoveryAddress: istiod:15012, tracing: {zipkin: {address: a}}}\n";
    let resources = read_files(&[], &options(text)).unwrap();
    let said: Vec<String> = resources.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "MeshConfig (no name) ingressClass: is taken, but not acted on (mesh.yaml:1:15)",
            "MeshConfig (no name) defaultConfig.discoveryAddress: is taken, but not acted on (mesh.yaml:2:35)",
            "MeshConfig (no name) defaultConfig.tracing.zipkin: is taken, but not acted on (mesh.yaml:2:59)",
        ]
    );
}
