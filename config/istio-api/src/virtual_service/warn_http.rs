//! What is taken of an HTTP route's fields, but hardly what was meant.

use super::validate_http::{body_size, optional};
use super::{Abort, Fault, HttpRoute};
use plugin_config::At;

/// Records what is taken in a list of routes, but hardly what was meant.
pub(super) fn warn(routes: &[HttpRoute], at: &mut At) {
    for (i, route) in routes.iter().enumerate() {
        at.index(i, |at| warn_route(route, at));
    }
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
