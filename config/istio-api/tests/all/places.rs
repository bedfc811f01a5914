//! Where faults are said to be.

use crate::support::{faults, file, read};
use istio_api::{Options, read_files};

const ROUTES: &str = "\
# Routes.
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
  namespace: shop
spec:
  hosts: [reviews]
  http:
  - match:
    - uri: {prefix: /a}
    route:
    - destination: {host: reviews}
  - fault:
      abort:
        httpStatus: 99
        percentage: {value: 10}
    route:
    - destination:
        host: reviews
      weigth: 20
";

#[test]
fn a_fault_names_resource_field_value_reason_and_place() {
    assert_eq!(
        faults(ROUTES),
        [
            "VirtualService shop/reviews spec.http[1].fault.abort.httpStatus: 99: expected a whole number from 200 to 599 \
             (f.yaml:16:21)",
            "VirtualService shop/reviews spec.http[1].route[0].weigth: 20: unknown field, expected one of destination, \
             weight, headers (f.yaml:21:15)",
        ]
    );
}

#[test]
fn all_faults_of_all_files_are_said_and_a_syntax_fault_costs_its_own_file() {
    let files = [
        file("a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 0}]}\n---\nx: [\n"),
        file(
            "b.json",
            r#"{"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "B"},
            "spec": {"hosts": ["b.example"]}}"#,
        ),
    ];
    let faults = read_files(&files, &Options::default()).unwrap_err();
    let said: Vec<String> = faults.faults.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 3, "{said:#?}");
    assert_eq!(
        said[0],
        "Service default/a spec.ports[0].port: 0: expected a whole number from 1 to 65535 (a.yaml:4:23)"
    );
    assert!(said[1].starts_with("not YAML: ") && said[1].ends_with("(a.yaml:6:4)"), "{said:#?}");
    assert!(said[2].starts_with("ServiceEntry default/B metadata.name: \"B\": expected a DNS name"), "{said:#?}");
}

#[test]
fn places_are_found_in_later_documents_and_in_lists() {
    let text = "\
apiVersion: v1
kind: Service
metadata: {name: a}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: b}
- apiVersion: v1
  kind: Service
  metadata:
    name: c
    labels: {\"example.com/app\": c}
  spec:
    ports:
    - {name: http, port: 80, targetPort: 8080}
";
    let resources = read(text).unwrap();
    let names: Vec<_> = resources.services.iter().map(|service| service.resource_name().to_string()).collect();
    assert_eq!(names, ["Service default/a", "Service default/b", "Service default/c"]);
    let source = &resources.services[2].source;
    for (path, place) in [
        ("$", "f.yaml:11:3"),
        ("spec.ports[0].targetPort", "f.yaml:18:42"),
        ("spec.ports[0].protocol", "f.yaml:18:7"),
        ("spec.ports[1]", "f.yaml:17:5"),
        ("spec", "f.yaml:16:3"),
        ("metadata.labels[\"example.com/app\"]", "f.yaml:15:33"),
        ("nothing.like[3].this", "f.yaml:11:3"),
    ] {
        assert_eq!(source.place(path).to_string(), place, "{path}");
    }
    let place = source.place("spec.ports[0].targetPort");
    assert_eq!(&text[place.bytes], "8080");
}
