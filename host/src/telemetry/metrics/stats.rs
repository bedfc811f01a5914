//! Envoy's `/stats`: a line for each metric, or JSON.

use crate::telemetry::metrics::histogram::HistogramValue;
use crate::telemetry::metrics::names::envoy_name;
use crate::telemetry::metrics::registry::{Sample, Value};
use regex_lite::Regex;
use serde_json::{Value as Json, json};
use std::fmt::Write;

/// The quantiles that Envoy shows.
const QUANTILES: [f64; 10] = [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0];

/// Which metrics are wanted.
#[derive(Clone, Debug, Default)]
pub struct StatsQuery {
    /// Whose Envoy name has a match of this in it.
    pub filter: Option<Regex>,
    /// That were used.
    pub used_only: bool,
}

/// Values by Envoy name.
type Named<T> = Vec<(String, T)>;

impl StatsQuery {
    pub(super) fn wants(&self, sample: &Sample) -> bool {
        let used = sample.used || !self.used_only;
        used && self.filter.as_ref().is_none_or(|filter| filter.is_match(&envoy_name(sample)))
    }

    /// Those wanted, by Envoy name: numbers first.
    fn sorted<'s>(&self, samples: &'s [Sample]) -> (Named<u64>, Named<&'s HistogramValue>) {
        let (mut numbers, mut histograms) = (Vec::new(), Vec::new());
        for sample in samples.iter().filter(|sample| self.wants(sample)) {
            match &sample.value {
                Value::Counter(number) | Value::Gauge(number) => numbers.push((envoy_name(sample), *number)),
                Value::Histogram(value) => histograms.push((envoy_name(sample), &**value)),
            }
        }
        numbers.sort();
        histograms.sort_by(|one, other| one.0.cmp(&other.0));
        (numbers, histograms)
    }
}

/// The samples that a query asks for: `name: value`, histograms by quantiles.
pub fn stats_text(samples: &[Sample], query: &StatsQuery) -> String {
    let (numbers, histograms) = query.sorted(samples);
    let mut out = String::with_capacity(samples.len() * 48);
    for (name, number) in numbers {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name}: {number}");
    }
    for (name, value) in histograms {
        out.push_str(&name);
        out.push(':');
        if value.count() == 0 {
            out.push_str(" No recorded values");
        } else {
            // Envoy shows the last few seconds beside all of it; there is one number here.
            for (percent, value) in quantiles(value) {
                let _ = write!(out, " P{percent}(nan,{})", value.unwrap_or_default());
            }
        }
        out.push('\n');
    }
    out
}

/// The same as JSON, in Envoy's form.
pub fn stats_json(samples: &[Sample], query: &StatsQuery) -> Json {
    let (numbers, histograms) = query.sorted(samples);
    let mut stats: Vec<Json> =
        numbers.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let computed: Vec<Json> = histograms
        .into_iter()
        .map(|(name, value)| {
            let values: Vec<Json> =
                quantiles(value).map(|(_, value)| json!({ "cumulative": value, "interval": null })).collect();
            json!({ "name": name, "values": values })
        })
        .collect();
    if !computed.is_empty() {
        stats.push(json!({ "histograms": { "supported_quantiles": QUANTILES, "computed_quantiles": computed } }));
    }
    json!({ "stats": stats })
}

fn quantiles(value: &HistogramValue) -> impl Iterator<Item = (f64, Option<f64>)> {
    QUANTILES.into_iter().map(|percent| (percent, value.quantile(percent / 100.0)))
}
