//! What a Telemetry's fields say together.

use super::{CustomTag, Metrics, TagOperation, Telemetry};
use crate::selector::check_targets;
use plugin_config::{At, Quoted};

/// Records every fault.
pub(super) fn check(telemetry: &Telemetry, at: &mut At) {
    check_targets(telemetry.selector.as_ref(), telemetry.target_ref.as_ref(), &telemetry.target_refs, at);
    at.field("tracing", |at| {
        for (i, tracing) in telemetry.tracing.iter().enumerate() {
            at.index(i, |at| {
                if let Some(percent) = tracing.random_sampling_percentage.filter(|percent| percent.get() > 100.0) {
                    at.field("randomSamplingPercentage", |at| at.refuse(percent, "expected a number from 0 to 100"));
                }
                at.field("customTags", |at| {
                    for (name, tag) in tracing.custom_tags.iter() {
                        at.key(name, |at| check_tag(tag, at));
                    }
                });
            });
        }
    });
    at.field("metrics", |at| {
        for (i, metrics) in telemetry.metrics.iter().enumerate() {
            at.index(i, |at| check_metrics(metrics, at));
        }
    });
}

fn check_tag(tag: &CustomTag, at: &mut At) {
    let given = [tag.literal.is_some(), tag.environment.is_some(), tag.header.is_some(), tag.formatter.is_some()];
    if given.into_iter().filter(|given| *given).count() != 1 {
        at.refuse("", "expected exactly one of literal, environment, header and formatter");
    }
}

fn check_metrics(metrics: &Metrics, at: &mut At) {
    at.field("overrides", |at| {
        for (i, other) in metrics.overrides.iter().enumerate() {
            at.index(i, |at| {
                if other.r#match.as_ref().is_some_and(|m| m.metric.is_some() && m.custom_metric.is_some()) {
                    at.field("match", |at| at.refuse("", "expected only one of metric and customMetric"));
                }
                at.field("tagOverrides", |at| {
                    for (name, tag) in other.tag_overrides.iter() {
                        at.key(name, |at| match (tag.operation, tag.value.as_deref()) {
                            _ if at.is_unread("operation") => {}
                            (TagOperation::Upsert, None) => {
                                at.field("value", |at| at.refuse("nothing", "UPSERT needs a value"));
                            }
                            (TagOperation::Remove, Some(value)) => {
                                at.field("value", |at| at.refuse(Quoted(value), "REMOVE takes no value"));
                            }
                            _ => {}
                        });
                    }
                });
            });
        }
    });
}
