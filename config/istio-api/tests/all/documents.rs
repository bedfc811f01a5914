//! Files as users have them: lists, several documents, other kinds, and what YAML 1.1 does to texts.

use crate::support::{faults, file, read};
use istio_api::{Options, read_files};

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n";

#[test]
fn kubernetes_kinds_are_read_as_far_as_istio_reads_them() {
    let resources = read(include_str!("../inputs/kubernetes.yaml")).unwrap_or_else(|faults| panic!("{faults}"));
    let written = serde_saphyr::from_multiple::<serde_json::Value>(include_str!("../inputs/kubernetes.yaml")).unwrap();
    assert_eq!(resources.all().count(), written.len());
    let of_kind = |kind: &str| resources.all().find(|one| one.resource_name().kind == kind).unwrap().fields();
    for (path, expected) in [
        ("Service /spec/ports/0/targetPort", "\"web\""),
        ("Service /spec/ports/1/targetPort", "8081"),
        ("Service /spec/clusterIPs/1", "\"2001:db8::10\""),
        ("Service /spec/publishNotReadyAddresses", "true"),
        ("EndpointSlice /endpoints/0/conditions/serving", "true"),
        ("EndpointSlice /endpoints/0/zone", "\"z1\""),
        ("Endpoints /subsets/0/notReadyAddresses/0/ip", "\"10.1.0.2\""),
        ("Pod /spec/containers/0/ports/0/containerPort", "8080"),
        ("Pod /status/conditions/0/status", "\"True\""),
        ("Deployment /spec/template/metadata/labels/app", "\"books\""),
        ("StatefulSet /spec/serviceName", "\"store\""),
        ("ConfigMap /data/level", "\"info\""),
    ] {
        let (kind, pointer) = path.split_once(' ').unwrap();
        assert_eq!(of_kind(kind).pointer(pointer).unwrap().to_string(), expected, "{path}");
    }
    assert!(resources.pods[0].spec.is_ready());
    assert_eq!(resources.pods[0].spec.addresses(), ["10.1.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(resources.services[0].spec.addresses().len(), 2);
    assert!(!resources.services[0].spec.is_headless());
    assert_eq!(resources.namespaces[0].metadata.namespace(), "");
}

#[test]
fn a_secret_says_nothing_of_its_values() {
    let text =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ntype: kubernetes.io/tls\ndata: {tls.key: hunter2!}\n";
    let said = faults(text);
    assert_eq!(said, ["Secret default/a data[\"tls.key\"]: …: expected base64 (f.yaml:5:17)"]);
    let resources = read(&text.replace("hunter2!", "aHVudGVyMg==")).unwrap();
    assert!(!format!("{resources:?}").contains("aHVudGVyMg"), "{resources:?}");
    assert!(!resources.all().next().unwrap().fields().to_string().contains("aHVudGVyMg"));
    for value in ["12345", "0755", "*a", "[a]"] {
        let said = faults(&text.replace("hunter2!", value));
        assert!(!said.is_empty() && said.iter().all(|said| !said.contains(value)), "{said:?}");
    }
}

#[test]
fn what_is_not_used_is_counted_and_what_is_unknown_is_refused() {
    let text = "\
apiVersion: batch/v1
kind: Job
metadata: {name: a}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: a}
---
apiVersion: batch/v1
kind: Job
metadata: {name: b}
---
---
# nothing
";
    let resources = read(text).unwrap();
    let skipped: Vec<String> = resources
        .skipped
        .iter()
        .map(|skipped| {
            let places: Vec<String> = skipped.places.iter().map(ToString::to_string).collect();
            format!("{} {} {}", skipped.api_version, skipped.kind, places.join(" "))
        })
        .collect();
    assert_eq!(skipped, ["batch/v1 Job f.yaml:1:1 f.yaml:9:1", "networking.istio.io/v1alpha3 EnvoyFilter f.yaml:5:1"]);
    for (text, expected) in [
        (
            "apiVersion: networking.istio.io/v1\nkind: VirtualServices\n",
            "kind: \"VirtualServices\": networking.istio.io has no such kind",
        ),
        ("apiVersion: v2\nkind: Service\nmetadata: {name: a}\n", "apiVersion: \"v2\": Service is served as v1"),
        ("kind: Service\nmetadata: {name: a}\n", "apiVersion: nothing: required field is missing"),
        ("apiVersion: v1\nkind: 5\nmetadata: {name: a}\n", "kind: 5: expected a string"),
        ("apiVersion: v1\nkind: Service\n", "metadata: nothing: required field is missing"),
        ("- 1\n", "[1]: expected a resource: an object with apiVersion, kind and metadata"),
        ("text\n", "\"text\": expected a resource: an object with apiVersion, kind and metadata"),
    ] {
        let said = faults(text);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains(expected), "{said:?}");
    }
}

#[test]
fn the_namespace_is_that_of_the_resource_or_the_default() {
    let files = [file("f.yaml", SERVICE)];
    let options = Options { namespace: istio_api::scalar::DnsLabel::new("shop").unwrap(), ..Options::default() };
    assert_eq!(read_files(&files, &options).unwrap().services[0].metadata.namespace(), "shop");
    let said = faults("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n");
    assert_eq!(said, ["Namespace b/a metadata.namespace: \"b\": a Namespace has no namespace (f.yaml:3:32)"]);
}

#[test]
fn metadata_is_checked() {
    let text = "apiVersion: v1\nkind: Service\nmetadata:\n  name: A_b\n  namespace: a.b\n  labels: {version: 1.10}\n  annotations: {a: yes}\n  creationTimestamp: yesterday\n  generation: one\n  label: a\n";
    assert_eq!(
        faults(text),
        [
            "Service a.b/A_b metadata.name: \"A_b\": expected a DNS name: labels of a-z, 0-9 and -, joined by dots \
             (f.yaml:4:9)",
            "Service a.b/A_b metadata.namespace: \"a.b\": expected a DNS label: at most 63 of a-z, 0-9 and -, the first \
             and the last no - (f.yaml:5:14)",
            "Service a.b/A_b metadata.labels.version: 1.10: expected a string (f.yaml:6:21)",
            "Service a.b/A_b metadata.annotations.a: true: expected a string (f.yaml:7:20)",
            "Service a.b/A_b metadata.creationTimestamp: \"yesterday\": expected a time such as \
             \"2026-11-22T08:34:00Z\" (f.yaml:8:22)",
            "Service a.b/A_b metadata.generation: \"one\": expected a whole number (f.yaml:9:15)",
            "Service a.b/A_b metadata.label: \"a\": unknown field, expected one of name, namespace, labels, annotations, \
             creationTimestamp, generation, resourceVersion, generateName, selfLink, uid, deletionTimestamp, \
             deletionGracePeriodSeconds, ownerReferences, finalizers, managedFields (f.yaml:10:10)",
        ]
    );
    let null = "apiVersion: v1\nkind: Service\nmetadata: {name: a, creationTimestamp: null, managedFields: [{a: 1}]}\n";
    assert!(read(null).unwrap().services[0].metadata.creation_timestamp.is_none());
}

#[test]
fn a_name_is_one_resource_s() {
    let text = format!("{SERVICE}---\n{}---\n{SERVICE}", SERVICE.replace("a}", "a, namespace: b}"));
    assert_eq!(
        faults(&text),
        ["Service default/a metadata.name: \"a\": another Service of this name is at f.yaml:3:18 (f.yaml:11:18)"]
    );
}

#[test]
fn a_service_says_who_sees_it_in_an_annotation() {
    let annotated =
        |text: &str| SERVICE.replace("a}", &format!("a, annotations: {{networking.istio.io/exportTo: {text:?}}}}}"));
    assert_eq!(faults(&annotated("., shop")), [""; 0]);
    assert_eq!(
        faults(&annotated("*,shop")),
        [
            "Service default/a spec: \"*,shop\": the annotation networking.istio.io/exportTo: [0]: \"*\": cannot stand beside \
          other namespaces (f.yaml:1:1)"
        ]
    );
}

#[test]
fn beside_spec_there_is_only_status() {
    let text = "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: a}\nspec: {address: 10.0.0.1}\nstatus: {x: y}\nhosts: []\n";
    assert_eq!(
        faults(text),
        ["WorkloadEntry default/a hosts: []: unknown field, expected one of apiVersion, kind, metadata, spec, status \
          (f.yaml:6:1)"]
    );
    let list = "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: a}\nspec: [1]\n";
    assert_eq!(faults(list), ["WorkloadEntry default/a spec: [1]: expected an object (f.yaml:4:1)"]);
}

#[test]
fn yaml_that_kubernetes_reads_otherwise_is_refused() {
    let annotated =
        |line: &str| format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  annotations:\n    {line}\n");
    for (line, expected) in [
        ("a: 0755", "0755: Kubernetes reads this as a number"),
        ("a: 1_000", "1_000: Kubernetes reads this as a number"),
        ("on: a", "on: Kubernetes reads this key as true: put it in quotes"),
        ("~: a", "~: a key must be a text"),
        ("? [a, b]\n    : c", "a key must be a text"),
        ("a: b\n    a: c", "\"a\": duplicate key, first at line 6"),
        ("a: !custom b", "expected no tag, or one of what the value is"),
        ("a: !!int b", "expected no tag, or one of what the value is"),
        ("a: *none", "not YAML: "),
        ("a: &x {b: *x}", "an alias within what it stands for"),
        ("<<: a", "\"<<\": expected an object, or a list of objects, to merge"),
    ] {
        let said = faults(&annotated(line));
        assert!(said.iter().any(|said| said.contains(expected)), "{line}: {said:?}");
    }
    for line in ["a: \"0755\"", "a: !!str 0755", "\"on\": a", "<<: {a: b}", "<<: [{a: b}, {a: c}]\n    a: d", "80: a"] {
        assert_eq!(faults(&annotated(line)), [""; 0], "{line}");
    }
    let merged = read(&annotated("<<: [{a: b}, {a: c, e: f}]\n    a: d")).unwrap();
    let annotations = &merged.services[0].metadata;
    assert_eq!((annotations.annotation("a"), annotations.annotation("e")), (Some("d"), Some("f")));
}

#[test]
fn aliases_cannot_say_a_billion_values() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..10 {
        let items = vec![format!("*a{}", i - 1); 9].join(", ");
        text.push_str(&format!("a{i}: &a{i} [{items}]\n"));
    }
    let said = faults(&text);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("the aliases of this file stand for more than 100000 values"), "{said:?}");
    let deep = format!("a: {}{}\n", "[".repeat(200), "]".repeat(200));
    assert!(faults(&deep)[0].contains("it nests too deeply"), "{:?}", faults(&deep));
}

#[test]
fn a_list_has_its_items_and_their_faults() {
    let text = "\
apiVersion: networking.istio.io/v1
kind: VirtualServiceList
metadata: {resourceVersion: \"5\"}
items:
- apiVersion: networking.istio.io/v1
  kind: VirtualService
  metadata: {name: a}
  spec: {hosts: [a], http: [{timeout: 1}]}
- 5
";
    assert_eq!(
        faults(text),
        [
            "VirtualService default/a spec.http[0].timeout: 1: expected a duration such as \"5s\", \"1.5s\" or \"100ms\" \
             (f.yaml:8:39)",
            "5: expected a resource: an object with apiVersion, kind and metadata (f.yaml:9:3)",
        ]
    );
}
