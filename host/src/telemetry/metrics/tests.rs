//! The registry from definition to text.

use super::*;

fn text(registry: &Registry, query: &StatsQuery) -> String {
    stats_text(&registry.collect(), query)
}

#[test]
fn the_same_name_and_labels_are_the_same_metric() {
    let registry = Registry::for_threads(2);
    let one = registry.counter("a", &[("x", "1"), ("y", "2")]);
    registry.clone().counter("a", &[("y", "2"), ("x", "1")]).add(3);
    registry.counter("a", &[("x", "1"), ("y", "3")]).add(5);
    registry.gauge("a", &[("x", "1"), ("y", "2")]).set(7);
    assert_eq!((one.value(), registry.counters("a"), registry.counters("b")), (3, 2, 0));
}

#[test]
fn gauges_stop_at_zero() {
    let registry = Registry::for_threads(1);
    let gauge = registry.gauge("g", &[]);
    gauge.add(2);
    gauge.sub(5);
    assert_eq!(gauge.value(), 0);
    gauge.add(1);
    gauge.set(9);
    gauge.sub(1);
    assert_eq!(gauge.value(), 8);
}

#[test]
fn what_begins_on_one_thread_may_end_on_another() {
    let registry = Registry::for_threads(4);
    let active = registry.active_gauge("active", &[]);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..100).for_each(|_| active.begin()));
        }
    });
    (0..250).for_each(|_| active.end());
    assert_eq!(active.value(), 50);
}

#[test]
fn threads_lose_no_count_while_others_read() {
    let registry = Registry::for_threads(2);
    let (counter, histogram) = (registry.counter("c", &[]), registry.histogram("h", &[]));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for value in 0..1000 {
                    counter.add(1);
                    histogram.record(value);
                    if value % 100 == 0 {
                        assert!(registry.counter("c", &[]).value() <= 4000);
                    }
                }
            });
        }
    });
    let recorded = histogram.value();
    assert_eq!((counter.value(), recorded.count(), recorded.sum), (4000, 4000, 4 * 499_500));
    assert_eq!(recorded.buckets[..4], [4, 4, 16, 20]);
}

#[test]
fn what_nobody_holds_is_dropped_and_starts_at_zero_when_defined_again() {
    let registry = Registry::for_threads(2);
    let held = registry.counter("held", &[]);
    held.add(1);
    registry.counter("gone", &[]).add(5);
    registry.histogram("gone", &[]).record(5);
    registry.gauge("gone", &[]).set(5);
    assert_eq!(text(&registry, &StatsQuery::default()).lines().count(), 4);
    assert_eq!(registry.drop_unused(), 3);
    assert_eq!(text(&registry, &StatsQuery::default()), "held: 1\n");
    assert_eq!(registry.counter("gone", &[]).value(), 0);
    assert_eq!(registry.histogram("gone", &[]).value(), HistogramValue::default());
}

#[test]
fn reloads_do_not_make_the_registry_grow() {
    let registry = Registry::for_threads(2);
    let kept = registry.counter("kept", &[]);
    let mut most = 0;
    for reload in 0..1000 {
        let clusters = (0..20).map(|cluster| format!("{reload}-{cluster}"));
        let counters: Vec<_> =
            clusters.map(|cluster| registry.counter("rq", &[("envoy_cluster_name", &cluster)])).collect();
        counters.iter().for_each(|counter| counter.add(1));
        most = most.max(registry.counters("rq"));
    }
    kept.add(1);
    assert!(most < 2000, "{most} at a time, of 20,000");
    assert_eq!(registry.counter("kept", &[]).value(), 1);
}

#[test]
fn envoy_and_prometheus_spell_a_metric_their_own_way() {
    type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str, &'static str);
    let rows: [Row; 9] = [
        (
            "envoy_cluster_upstream_rq_total",
            &[("envoy_cluster_name", "outbound|80||a.b")],
            "cluster.outbound|80||a.b.upstream_rq_total: 1\n",
            "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"outbound|80||a.b\"} 1\n",
        ),
        (
            "envoy_http_downstream_rq_xx",
            &[("envoy_http_conn_manager_prefix", "in"), ("envoy_response_code_class", "5")],
            "http.in.downstream_rq_5xx: 1\n",
            "envoy_http_downstream_rq_xx{envoy_http_conn_manager_prefix=\"in\",envoy_response_code_class=\"5\"} 1\n",
        ),
        ("envoy_server_live", &[], "server.live: 1\n", "envoy_server_live{} 1\n"),
        ("envoy_cluster_odd", &[], "cluster.odd: 1\n", "envoy_cluster_odd{} 1\n"),
        (
            "istio_requests_total",
            &[("reporter", "source"), ("response_code", "200")],
            "istiocustom.istio_requests_total.reporter.source.response_code.200: 1\n",
            "istio_requests_total{reporter=\"source\",response_code=\"200\"} 1\n",
        ),
        ("outrigger_x_total", &[], "outrigger_x_total: 1\n", "outrigger_x_total{} 1\n"),
        ("wasmcustom.my.hits:a-b", &[], "wasmcustom.my.hits:a-b: 1\n", "my_hits_a_b{} 1\n"),
        ("wasmcustom.2x", &[], "wasmcustom.2x: 1\n", "_2x{} 1\n"),
        ("x", &[("a-b", "say \"hi\"\\\n")], "x.a-b.say \"hi\"\\_: 1\n", "x{a_b=\"say \\\"hi\\\"\\\\\\n\"} 1\n"),
    ];
    for (name, labels, envoy, prometheus) in rows {
        let registry = Registry::for_threads(1);
        let counter = registry.counter(name, labels);
        counter.add(1);
        let samples = registry.collect();
        assert_eq!(stats_text(&samples, &StatsQuery::default()), envoy);
        let (family, _) = prometheus.split_once('{').unwrap();
        let wanted = format!("# TYPE {family} counter\n{prometheus}");
        assert_eq!(prometheus_text(&samples, &StatsQuery::default()), wanted);
    }
}

#[test]
fn a_histogram_is_cumulative_in_prometheus_and_has_quantiles_in_envoy() {
    let registry = Registry::for_threads(1);
    let histogram = registry.histogram("istio_request_bytes", &[("reporter", "source")]);
    let name = "istiocustom.istio_request_bytes.reporter.source";
    assert_eq!(text(&registry, &StatsQuery::default()), format!("{name}: No recorded values\n"));
    [0, 3, 3, 4_000_000].into_iter().for_each(|value| histogram.record(value));
    let prometheus = prometheus_text(&registry.collect(), &StatsQuery::default());
    for line in [
        "# TYPE istio_request_bytes histogram",
        "istio_request_bytes_bucket{reporter=\"source\",le=\"0.5\"} 1",
        "istio_request_bytes_bucket{reporter=\"source\",le=\"1\"} 1",
        "istio_request_bytes_bucket{reporter=\"source\",le=\"5\"} 3",
        "istio_request_bytes_bucket{reporter=\"source\",le=\"3600000\"} 3",
        "istio_request_bytes_bucket{reporter=\"source\",le=\"+Inf\"} 4",
        "istio_request_bytes_sum{reporter=\"source\"} 4000006",
        "istio_request_bytes_count{reporter=\"source\"} 4",
    ] {
        assert!(prometheus.lines().any(|found| found == line), "{line} in\n{prometheus}");
    }
    assert_eq!(prometheus.lines().count(), 23);
    let envoy = text(&registry, &StatsQuery::default());
    assert!(envoy.starts_with(&format!("{name}: P0(nan,0) P25(nan,0) P50(nan,3)")), "{envoy}");
    let json = stats_json(&registry.collect(), &StatsQuery::default());
    let computed = &json["stats"][0]["histograms"]["computed_quantiles"][0];
    assert_eq!((computed["name"].as_str(), computed["values"][2]["cumulative"].as_f64()), (Some(name), Some(3.0)));
}

#[test]
fn queries_choose() {
    let registry = Registry::for_threads(1);
    let used = registry.counter("envoy_http_a", &[("envoy_http_conn_manager_prefix", "in")]);
    let unused = registry.counter("envoy_http_b", &[("envoy_http_conn_manager_prefix", "in")]);
    let emptied = registry.gauge("envoy_server_c", &[]);
    let idle = registry.active_gauge("envoy_server_d", &[]);
    used.add(1);
    emptied.set(4);
    emptied.set(0);
    let query = |filter: &str, used_only| StatsQuery {
        filter: (!filter.is_empty()).then(|| regex_lite::Regex::new(filter).unwrap()),
        used_only,
    };
    let rows = [
        (query("", false), "http.in.a: 1\nhttp.in.b: 0\nserver.c: 0\nserver.d: 0\n"),
        (query("", true), "http.in.a: 1\nserver.c: 0\n"),
        (query(r"^http\.in\.", false), "http.in.a: 1\nhttp.in.b: 0\n"),
        (query("b$", true), ""),
    ];
    for (query, wanted) in rows {
        assert_eq!(text(&registry, &query), wanted, "{query:?}");
        assert_eq!(prometheus_text(&registry.collect(), &query).lines().count(), wanted.lines().count() * 2);
        assert_eq!(
            stats_json(&registry.collect(), &query)["stats"].as_array().map(Vec::len),
            Some(wanted.lines().count())
        );
    }
    drop((unused, idle));
}

#[test]
fn guests_cannot_bend_the_numbers_of_others() {
    let registry = Registry::for_threads(1);
    let own = registry.counter("istio_requests_total", &[]);
    let duration = registry.histogram("istio_request_duration_milliseconds", &[]);
    let forged = registry.counter("wasmcustom.istio_requests_total", &[]);
    let bucket = registry.gauge("wasmcustom.istio_request_duration_milliseconds_count", &[]);
    let dotted = registry.counter("wasmcustom.my.hits", &[]);
    let spelt_alike = registry.counter("wasmcustom.my_hits", &[]);
    let other_kind = registry.gauge("wasmcustom.my:hits", &[]);
    own.add(1);
    duration.record(1);
    forged.add(100);
    bucket.set(100);
    dotted.add(2);
    spelt_alike.add(3);
    other_kind.set(7);
    let text = prometheus_text(&registry.collect(), &StatsQuery::default());
    for line in [
        "istio_requests_total{} 1",
        "wasmcustom_counter_istio_requests_total{} 100",
        "istio_request_duration_milliseconds_count{} 1",
        "wasmcustom_gauge_istio_request_duration_milliseconds_count{} 100",
        "# TYPE wasmcustom_counter_istio_requests_total counter",
    ] {
        assert_eq!(text.lines().filter(|found| *found == line).count(), 1, "{line} in\n{text}");
    }
    let hits: Vec<_> = text.lines().filter(|line| line.contains("hits") && !line.starts_with('#')).collect();
    assert_eq!(hits, ["my_hits{} 5", "wasmcustom_gauge_my_hits{} 7"]);
    let names: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let mut unique = names.clone();
    unique.dedup();
    assert_eq!(names, unique);
}
