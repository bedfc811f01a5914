//! One name, two spellings: Prometheus has labels where Envoy has parts of the name.

use crate::telemetry::metrics::registry::Sample;
use std::borrow::Cow;

/// Families whose Envoy name has one label in the middle: the start of the Prometheus name, the label, the start of the
/// Envoy name.
const SCOPES: [(&str, &str, &str); 4] = [
    ("envoy_cluster_", "envoy_cluster_name", "cluster"),
    ("envoy_http_", "envoy_http_conn_manager_prefix", "http"),
    ("envoy_listener_", "envoy_listener_address", "listener"),
    ("envoy_tcp_", "envoy_tcp_prefix", "tcp"),
];

/// What guests' metrics begin with; Prometheus shows them without.
const CUSTOM: &str = "wasmcustom.";

/// The name as Envoy's `/stats` has it: `cluster.reviews.upstream_rq_5xx`.
pub(super) fn envoy_name(sample: &Sample) -> String {
    let name: &str = &sample.name;
    let mut taken: &[&str] = &[];
    let mut out = String::with_capacity(name.len() + 32);
    let scope = SCOPES.iter().find_map(|(start, label, to)| {
        let rest = name.strip_prefix(start)?;
        Some((std::slice::from_ref(label), *to, label_of(sample, label)?, rest))
    });
    let rest = if let Some((label, to, value, rest)) = scope {
        taken = label;
        out.extend([to, ".", value, "."]);
        rest
    } else if let Some(rest) = name.strip_prefix("envoy_") {
        let (root, rest) = rest.split_once('_').unwrap_or((rest, ""));
        out.extend([root, if rest.is_empty() { "" } else { "." }]);
        rest
    } else if name.starts_with("istio_") {
        out.push_str("istiocustom.");
        name
    } else {
        name
    };
    match (rest.strip_suffix("_xx"), label_of(sample, "envoy_response_code_class")) {
        (Some(rest), Some(class)) => out.extend([rest, "_", class, "xx"]),
        _ => out.push_str(rest),
    }
    for (label, value) in sample.labels.iter() {
        if !taken.contains(&&**label) && &**label != "envoy_response_code_class" {
            out.extend([".", label, ".", value]);
        }
    }
    match out.contains(char::is_control) {
        true => out.replace(char::is_control, "_"),
        false => out,
    }
}

fn label_of<'s>(sample: &'s Sample, label: &str) -> Option<&'s str> {
    sample.labels.iter().find(|(name, _)| &**name == label).map(|(_, value)| &**value)
}

/// The name as Prometheus has it: a guest's without its prefix, and with `_` for what may not stand in one.
pub(super) fn prometheus_name(name: &str) -> Cow<'_, str> {
    spelt(name.strip_prefix(CUSTOM).unwrap_or(name))
}

/// A label's name as Prometheus has it.
pub(super) fn prometheus_label(name: &str) -> Cow<'_, str> {
    spelt(name)
}

/// Whether a guest defined it.
pub(super) fn is_custom(name: &str) -> bool {
    name.starts_with(CUSTOM)
}

fn spelt(name: &str) -> Cow<'_, str> {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins && name.chars().all(valid) {
        return name.into();
    }
    let spelt: String = name.chars().map(|c| if valid(c) { c } else { '_' }).collect();
    if begins || spelt.starts_with('_') { spelt.into() } else { format!("_{spelt}").into() }
}

/// A label's value between quotes in the Prometheus text.
pub(super) fn escape_value(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            _ => out.push(c),
        }
    }
}
