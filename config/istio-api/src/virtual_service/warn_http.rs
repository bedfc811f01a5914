//! What is taken of an HTTP route's fields, but hardly what was meant.

use super::validate_http::{body_size, optional};
use super::{Abort, Fault, HttpMatchRequest, HttpRoute};
use plugin_config::At;
use std::collections::HashMap;

/// Records what is taken in a list of routes, but hardly what was meant.
pub(super) fn warn(routes: &[HttpRoute], at: &mut At) {
    let catch_all = routes.iter().position(is_catch_all);
    let mut clauses: HashMap<String, usize> = HashMap::new();
    for (i, route) in routes.iter().enumerate() {
        at.index(i, |at| {
            warn_route(route, at);
            if let Some(place) = catch_all.filter(|place| *place < i) {
                return at.refuse("", format!("is never reached: http[{place}] takes every request"));
            }
            at.field("match", |at| {
                for (k, clause) in route.matches.iter().enumerate() {
                    let place = *clauses.entry(condition(clause)).or_insert(i);
                    if place < i {
                        at.index(k, |at| at.refuse("", format!("is never reached: http[{place}] has the same match")));
                    }
                }
            });
        });
    }
}

/// Whether a route takes every request that comes to it.
fn is_catch_all(route: &HttpRoute) -> bool {
    let clause = |clause: &HttpMatchRequest| {
        let restricted = !clause.gateways.is_empty()
            || !clause.source_labels.is_empty()
            || clause.source_namespace.is_some()
            || clause.request.port.is_some();
        !restricted && clause.request.is_catch_all()
    };
    route.matches.is_empty() || route.matches.iter().any(clause)
}

/// What a clause asks of a request: the same for two that differ in name alone.
fn condition(clause: &HttpMatchRequest) -> String {
    let mut condition = clause.clone();
    condition.request.name = None;
    condition.stat_prefix = None.into();
    serde_json::to_string(&condition).unwrap_or_default()
}

/// The largest body that is not remarked on, in bytes.
const LARGE_BODY: usize = 100 << 10;

fn warn_route(route: &HttpRoute, at: &mut At) {
    let deprecated = [("mirrorPercent", route.mirror_percent), ("mirror_percent", route.mirror_percent_snake)];
    for (field, percent) in deprecated {
        if let Some(percent) = percent {
            at.field(field, |at| at.refuse(percent, "deprecated: write mirrorPercentage"));
        }
    }
    optional("fault", &route.fault, at, warn_fault);
    optional("corsPolicy", &route.cors_policy, at, |policy, at| {
        if !policy.allow_origin.is_empty() {
            at.field("allowOrigin", |at| at.refuse("", "deprecated: write allowOrigins"));
        }
    });
    optional("directResponse", &route.direct_response, at, |response, at| {
        if body_size(response) > LARGE_BODY {
            at.field("body", |at| at.refuse(body_size(response), "a large body is held by every proxy"));
        }
    });
}

fn warn_fault(fault: &Fault, at: &mut At) {
    const NEVER: &str = "without a percentage it never happens";
    optional("delay", &fault.delay, at, |delay, at| {
        match (delay.percentage, delay.percent) {
            (None, None) => at.field("percentage", |at| at.refuse("nothing", NEVER)),
            (_, Some(percent)) => at.field("percent", |at| at.refuse(percent, "deprecated: write percentage")),
            _ => {}
        };
    });
    optional("abort", &fault.abort, at, |abort: &Abort, at| {
        if abort.http_status.is_none() && abort.grpc_status.is_none() {
            at.refuse("", "has no effect without httpStatus or grpcStatus");
        } else if abort.percentage.is_none() {
            at.field("percentage", |at| at.refuse("nothing", NEVER));
        }
    });
}
