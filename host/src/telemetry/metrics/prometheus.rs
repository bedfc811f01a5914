//! The Prometheus text format, version 0.0.4.
//!
//! Written here and not by `prometheus-client`: that one speaks OpenMetrics, where every counter's name ends in
//! `_total`, and Envoy's do not (`envoy_cluster_upstream_rq_retry`); dashboards know Envoy's.

use crate::telemetry::metrics::histogram::{BOUNDS, HistogramValue};
use crate::telemetry::metrics::names::{escape_value, is_custom, prometheus_label, prometheus_name};
use crate::telemetry::metrics::registry::{Sample, Value};
use crate::telemetry::metrics::stats::StatsQuery;
use std::collections::BTreeMap;
use std::fmt::Write;

/// `Content-Type` of what [`prometheus_text`] writes.
pub const PROMETHEUS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Samples of one name and kind; values by the text of their labels.
struct Family {
    kind: &'static str,
    series: BTreeMap<String, Value>,
}

/// The samples that a query asks for, as Prometheus reads them.
pub fn prometheus_text(samples: &[Sample], query: &StatsQuery) -> String {
    let mut out = String::with_capacity(samples.len() * 96);
    for (name, family) in families(samples, query) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "# TYPE {name} {}", family.kind);
        for (labels, value) in &family.series {
            write_series(&mut out, &name, labels, value);
        }
    }
    out
}

/// Families by name. What the proxy itself defines comes first.
fn families(samples: &[Sample], query: &StatsQuery) -> BTreeMap<String, Family> {
    let (mut families, mut names) = (BTreeMap::new(), Names::default());
    let (custom, own): (Vec<_>, Vec<_>) = samples.iter().partition(|sample| is_custom(&sample.name));
    for sample in own.into_iter().chain(custom) {
        let name = names.assign(sample);
        if query.wants(sample) {
            insert(&mut families, name, sample);
        }
    }
    families
}

/// Which family has a name, by all the names that lines begin with. A guest's metric whose name is taken, by one of
/// another kind or by the proxy's own, keeps a prefix: no guest can break or bend the numbers of others.
#[derive(Default)]
struct Names(BTreeMap<String, Claim>);

/// Whether a guest's, its kind, its family.
type Claim = (bool, &'static str, String);

impl Names {
    fn assign(&mut self, sample: &Sample) -> String {
        let (custom, kind) = (is_custom(&sample.name), kind_of(&sample.value));
        let name = prometheus_name(&sample.name).into_owned();
        if self.claim(&name, custom, kind) || !custom {
            return name;
        }
        format!("wasmcustom_{kind}_{name}")
    }

    fn claim(&mut self, name: &str, custom: bool, kind: &'static str) -> bool {
        let claim = (custom, kind, name.to_owned());
        let ends: &[&str] = if kind == "histogram" { &["", "_bucket", "_sum", "_count"] } else { &[""] };
        let parts: Vec<_> = ends.iter().map(|end| format!("{name}{end}")).collect();
        let free = parts.iter().all(|part| self.0.get(part).is_none_or(|held| *held == claim));
        if free {
            self.0.extend(parts.into_iter().map(|part| (part, claim.clone())));
        }
        free
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Counter(_) => "counter",
        Value::Gauge(_) => "gauge",
        Value::Histogram(_) => "histogram",
    }
}

/// Adds a sample to its family. Two that are spelt alike are one: their values add up.
fn insert(families: &mut BTreeMap<String, Family>, name: String, sample: &Sample) {
    let kind = kind_of(&sample.value);
    let family = families.entry(name).or_insert_with(|| Family { kind, series: BTreeMap::new() });
    let value = family.series.entry(labels_text(sample));
    value.and_modify(|value| add(value, &sample.value)).or_insert_with(|| sample.value.clone());
}

fn add(value: &mut Value, more: &Value) {
    match (value, more) {
        (Value::Counter(sum) | Value::Gauge(sum), Value::Counter(more) | Value::Gauge(more)) => {
            *sum = sum.wrapping_add(*more);
        }
        (Value::Histogram(sum), Value::Histogram(more)) => {
            sum.sum = sum.sum.wrapping_add(more.sum);
            for (bucket, more) in sum.buckets.iter_mut().zip(&more.buckets) {
                *bucket = bucket.wrapping_add(*more);
            }
        }
        _ => {}
    }
}

/// `a="1",b="2"`
fn labels_text(sample: &Sample) -> String {
    let mut out = String::new();
    for (name, value) in sample.labels.iter() {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&prometheus_label(name));
        out.push_str("=\"");
        escape_value(value, &mut out);
        out.push('"');
    }
    out
}

fn write_series(out: &mut String, name: &str, labels: &str, value: &Value) {
    match value {
        Value::Counter(number) | Value::Gauge(number) => {
            let _ = writeln!(out, "{name}{{{labels}}} {number}");
        }
        Value::Histogram(value) => write_histogram(out, name, labels, value),
    }
}

fn write_histogram(out: &mut String, name: &str, labels: &str, value: &HistogramValue) {
    let comma = if labels.is_empty() { "" } else { "," };
    let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
    let mut upto: u64 = 0;
    for (bound, bucket) in bounds.zip(&value.buckets) {
        upto = upto.wrapping_add(*bucket);
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {upto}");
    }
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", value.sum);
    let _ = writeln!(out, "{name}_count{{{labels}}} {upto}");
}
