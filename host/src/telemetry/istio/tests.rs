//! Which series a stream or a connection counts in.

use super::*;
use crate::telemetry::istio::series::MAX_SERIES;
use crate::telemetry::{Registry, ResponseFlags, Sample, Value, fixtures};
use crate::wasm::StreamState;
use compiler::snapshot::Direction;
use std::sync::Arc;
use std::time::Duration;

const PEER: &str = "spiffe://cluster.local/ns/shop/sa/web";

fn reporter(direction: Direction) -> Reporter {
    let workload = LocalWorkload {
        name: "reviews-v1".into(),
        namespace: "bookinfo".into(),
        app: "reviews".into(),
        version: "v1".into(),
        canonical_service: "reviews".into(),
        canonical_revision: "v1".into(),
        cluster: "Kubernetes".into(),
    };
    let service = (direction == Direction::Inbound).then(|| "reviews.bookinfo.svc.cluster.local".into());
    Reporter { direction, workload: Arc::new(workload), service }
}

fn stream(cluster: &str, status: &str) -> StreamState {
    let mut state = fixtures::stream();
    state.cluster = cluster.into();
    state.response = [(":status", status)].into_iter().collect();
    state.body_bytes = [20, 3000];
    state
}

fn record(metrics: &RequestMetrics, state: &StreamState) {
    metrics.record(state, ResponseFlags::NONE, Duration::from_millis(7));
}

fn samples(registry: &Registry, name: &str) -> Vec<Sample> {
    registry.collect().into_iter().filter(|sample| &*sample.name == name).collect()
}

fn label<'s>(sample: &'s Sample, name: &str) -> &'s str {
    sample.labels.iter().find(|(known, _)| &**known == name).map_or("(absent)", |(_, value)| value)
}

fn assert_labels(sample: &Sample, wanted: &[(&str, &str)]) {
    for (name, value) in wanted {
        assert_eq!(label(sample, name), *value, "{name}");
    }
}

#[test]
fn a_source_knows_itself_and_the_service() {
    let registry = Registry::for_threads(1);
    let metrics = RequestMetrics::new(registry.clone(), reporter(Direction::Outbound));
    record(&metrics, &stream("outbound|9080|v1|ratings.bookinfo.svc.cluster.local", "503"));
    let found = samples(&registry, "istio_requests_total");
    let [sample] = found.as_slice() else { panic!("{found:?}") };
    assert_labels(
        sample,
        &[
            ("reporter", "source"),
            ("source_workload", "reviews-v1"),
            ("source_workload_namespace", "bookinfo"),
            ("source_app", "reviews"),
            ("source_version", "v1"),
            ("source_canonical_service", "reviews"),
            ("source_canonical_revision", "v1"),
            ("source_cluster", "Kubernetes"),
            ("source_principal", "unknown"),
            ("destination_workload", "unknown"),
            ("destination_principal", "unknown"),
            ("destination_service", "ratings.bookinfo.svc.cluster.local"),
            ("destination_service_name", "ratings"),
            ("destination_service_namespace", "bookinfo"),
            ("request_protocol", "http"),
            ("response_code", "503"),
            ("grpc_response_status", ""),
            ("response_flags", "-"),
            ("connection_security_policy", "unknown"),
        ],
    );
    assert_eq!((sample.labels.len(), &sample.value), (25, &Value::Counter(1)));
}

#[test]
fn a_destination_knows_itself_and_who_came() {
    let registry = Registry::for_threads(1);
    let metrics = RequestMetrics::new(registry.clone(), reporter(Direction::Inbound));
    record(&metrics, &stream("inbound|9080||", "200"));
    let mut state = stream("inbound|9080||", "200");
    state.connection = fixtures::connection_of(Some(PEER));
    record(&metrics, &state);
    record(&metrics, &state);
    let found = samples(&registry, "istio_requests_total");
    let [mutual, plain] = found.as_slice() else { panic!("{found:?}") };
    let common = [
        ("reporter", "destination"),
        ("destination_workload", "reviews-v1"),
        ("destination_service_name", "reviews"),
        ("destination_service", "reviews.bookinfo.svc.cluster.local"),
        ("source_workload", "unknown"),
    ];
    assert_labels(mutual, &common);
    assert_labels(plain, &common);
    assert_labels(
        mutual,
        &[
            ("source_principal", PEER),
            ("source_workload_namespace", "shop"),
            ("connection_security_policy", "mutual_tls"),
        ],
    );
    assert_labels(
        plain,
        &[
            ("source_principal", "unknown"),
            ("source_workload_namespace", "unknown"),
            ("connection_security_policy", "none"),
        ],
    );
    assert_eq!((&mutual.value, &plain.value), (&Value::Counter(2), &Value::Counter(1)));
}

#[test]
fn durations_and_sizes_are_those_of_the_stream() {
    let registry = Registry::for_threads(1);
    record(&RequestMetrics::new(registry.clone(), reporter(Direction::Outbound)), &stream("a", "200"));
    let sum = |name| match samples(&registry, name).first().map(|sample| sample.value.clone()) {
        Some(Value::Histogram(value)) => (value.count(), value.sum),
        other => panic!("{other:?}"),
    };
    assert_eq!(sum("istio_request_duration_milliseconds"), (1, 7));
    assert_eq!(sum("istio_request_bytes"), (1, 20));
    assert_eq!(sum("istio_response_bytes"), (1, 3000));
}

#[test]
fn grpc_calls_have_their_own_status() {
    let registry = Registry::for_threads(1);
    let metrics = RequestMetrics::new(registry.clone(), reporter(Direction::Outbound));
    let rows = [("0", "0"), ("7", "7"), ("16", "16"), ("17", "2"), ("nonsense", "2")];
    for (status, wanted) in rows {
        let mut state = stream(&format!("c{status}"), "200");
        state.request.add("content-type", b"application/grpc+proto");
        state.response_trailers = [("grpc-status", status)].into_iter().collect();
        record(&metrics, &state);
        let found = samples(&registry, "istio_requests_total");
        let named = found.iter().find(|sample| label(sample, "destination_service_name") == state.cluster).unwrap();
        assert_labels(
            named,
            &[("request_protocol", "grpc"), ("grpc_response_status", wanted), ("response_code", "200")],
        );
    }
    let mut web = stream("web", "200");
    web.request.add("content-type", b"application/grpc-web");
    record(&metrics, &web);
    let found = samples(&registry, "istio_requests_total");
    let web = found.iter().find(|sample| label(sample, "destination_service_name") == "web").unwrap();
    assert_eq!(label(web, "request_protocol"), "http");
}

#[test]
fn a_stream_that_was_never_answered_has_code_0() {
    let registry = Registry::for_threads(1);
    let metrics = RequestMetrics::new(registry.clone(), reporter(Direction::Unspecified));
    let mut state = stream("", "200");
    state.response.clear();
    metrics.record(&state, ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION, Duration::ZERO);
    let found = samples(&registry, "istio_requests_total");
    let wanted = [("response_code", "0"), ("response_flags", "DC"), ("reporter", "source")];
    assert_labels(&found[0], &wanted);
    assert_labels(&found[0], &[("destination_service", "unknown"), ("destination_service_name", "unknown")]);
}

#[test]
fn workers_count_in_the_same_series_and_reloads_go_on() {
    let registry = Registry::for_threads(2);
    for _ in 0..3 {
        let metrics = RequestMetrics::new(registry.clone(), reporter(Direction::Outbound));
        (0..2).for_each(|_| record(&metrics, &stream("a", "200")));
    }
    let found = samples(&registry, "istio_requests_total");
    assert_eq!(found.iter().map(|sample| sample.value.clone()).collect::<Vec<_>>(), [Value::Counter(6)]);
}

#[test]
fn beyond_the_bound_one_series_counts_the_rest() {
    let registry = Registry::for_threads(1);
    let metrics = RequestMetrics::new(registry.clone(), reporter(Direction::Outbound));
    for cluster in 0..MAX_SERIES + 500 {
        record(&metrics, &stream(&format!("c{cluster}"), "200"));
    }
    record(&metrics, &stream("c0", "200"));
    let found = samples(&registry, "istio_requests_total");
    assert_eq!(found.len(), MAX_SERIES + 1);
    let of = |name| found.iter().find(|sample| label(sample, "destination_service_name") == name).unwrap();
    assert_eq!((&of("unknown").value, &of("c0").value), (&Value::Counter(500), &Value::Counter(2)));
    let total: u64 = found.iter().map(|sample| if let Value::Counter(count) = sample.value { count } else { 0 }).sum();
    assert_eq!(total, 2501, "no request is lost");
}

#[test]
fn tcp_connections_open_carry_bytes_and_close() {
    let registry = Registry::for_threads(1);
    let metrics = TcpMetrics::new(registry.clone(), reporter(Direction::Inbound));
    let value = |name, flags| {
        let found = samples(&registry, name);
        let found = found.iter().find(|sample| label(sample, "response_flags") == flags);
        found.map(|sample| sample.value.clone())
    };
    let mut failed = metrics.open(fixtures::connection_of(Some(PEER)), "inbound|5432||".into());
    let fine = metrics.open(fixtures::connection_of(Some(PEER)), "inbound|5432||".into());
    failed.flags = ResponseFlags::UPSTREAM_CONNECTION_FAILURE;
    fine.sent(10);
    fine.sent(5);
    fine.received(7);
    assert_eq!(value("istio_tcp_connections_closed_total", "-"), Some(Value::Counter(0)));
    drop((failed, fine));
    let rows = [
        ("istio_tcp_connections_opened_total", "-", 2),
        ("istio_tcp_connections_closed_total", "-", 1),
        ("istio_tcp_connections_closed_total", "UF", 1),
        ("istio_tcp_sent_bytes_total", "-", 15),
        ("istio_tcp_received_bytes_total", "-", 7),
    ];
    for (name, flags, wanted) in rows {
        assert_eq!(value(name, flags), Some(Value::Counter(wanted)), "{name} {flags}");
    }
    let opened = samples(&registry, "istio_tcp_connections_opened_total");
    assert_labels(&opened[0], &[("request_protocol", "tcp"), ("connection_security_policy", "mutual_tls")]);
}
