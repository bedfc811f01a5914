//! What a route does, in the order in which the filters act.

use super::exchange::Outcome;
use super::{DescribedRequest, Walk};
use crate::compile::FilterConfigs;
use cors::CorsPolicy;
use filter_api::{HeaderOperationsConfig, HeadersConfig};
use header_rules::RouteConfig;
use plugin_config::ListMap;
use std::fmt::Display;
use weighted_shifting::{Destination, ShiftingPolicy};

/// Where a route may send a request.
pub(super) struct Target {
    pub(super) cluster: String,
    /// What weighted-shifting has when it has chosen this one; `None` where there is nothing to choose.
    pub(super) chosen: Option<weighted_shifting::Config>,
}

impl Walk<'_, '_> {
    /// Says what a route does with a request. Where it may send it.
    pub(super) fn actions(
        &mut self,
        at: &str,
        configs: &FilterConfigs,
        route: &RouteConfig,
        request: &DescribedRequest,
        outcome: &Outcome,
    ) -> Vec<Target> {
        let id = route.id.as_deref().unwrap_or_default();
        let mut say = |subject: &str, verdict: String| self.push(at, subject, verdict);
        if route.redirect.is_some() && outcome.is_answered() {
            let (status, location) = (outcome.response_header(":status"), outcome.response_header("location"));
            say("answer", format!("{status} to {location}"));
            return Vec::new();
        }
        if route.direct_response.is_some() && outcome.is_answered() {
            say("answer", format!("{}, from the proxy itself", outcome.response_header(":status")));
            return Vec::new();
        }
        rewrite(request, outcome, &mut say);
        headers("headers", route.headers.as_ref(), &mut say);
        if let Some(fault) = of(&configs.fault_injection.routes, id) {
            if let Some(delay) = &fault.delay {
                let share = share(delay.percentage, delay.percent);
                say("delay", format!("{share} of requests by {:?}", delay.fixed_delay.0));
            }
            if let Some(abort) = &fault.abort {
                let status = abort.http_status.map(|status| status.to_string());
                let status = status.or_else(|| abort.grpc_status.clone()).unwrap_or_default();
                say("abort", format!("{} of requests with {status}", share(abort.percentage, abort.percent)));
            }
        }
        if let Some(policy) = of(&configs.cors.routes, id) {
            say("CORS", origin(policy, request, outcome));
            if outcome.is_answered() {
                let allowed = outcome.response_header("access-control-allow-methods");
                let allowed = if allowed.is_empty() { "no method".to_owned() } else { allowed };
                say(
                    "answer",
                    format!(
                        "{} to the preflight, from the proxy itself: {allowed}",
                        outcome.response_header(":status")
                    ),
                );
                return Vec::new();
            }
        }
        if let Some(timeout) = route.timeout {
            say("timeout", format!("{:?}", timeout.0));
        }
        if let Some(retries) = &route.retries {
            let per_try = retries.per_try_timeout.map(|limit| format!(", {:?} each", limit.0)).unwrap_or_default();
            let on = retries.retry_on.as_deref().unwrap_or("Istio's default conditions");
            say("retries", format!("{} on {on}{per_try}", retries.attempts));
        }
        let targets = destinations(configs, route, id, &mut say);
        for mirror in of(&configs.mirroring.routes, id).iter().flat_map(|policy| &policy.mirrors) {
            let share = mirror.percentage.map_or("all".to_owned(), words);
            say("mirror", format!("{share} of requests to {}", mirror.cluster));
        }
        targets
    }
}

/// What a filter has for a route.
fn of<'c, P>(routes: &'c ListMap<P>, id: &str) -> Option<&'c P> {
    routes.0.iter().find(|(known, _)| known == id).map(|(_, policy)| policy)
}

/// What was made of path and authority.
fn rewrite(request: &DescribedRequest, outcome: &Outcome, say: &mut dyn FnMut(&str, String)) {
    let forwarded = outcome.forwarded(request);
    let mut changed = Vec::new();
    if forwarded.target != request.target {
        changed.push(forwarded.target);
    }
    if forwarded.authority != request.authority {
        changed.push(format!("authority {}", forwarded.authority));
    }
    if !changed.is_empty() {
        say("rewrite", format!("goes on as {}", changed.join(", ")));
    }
}

fn headers(subject: &str, written: Option<&HeadersConfig>, say: &mut dyn FnMut(&str, String)) {
    let parts = written.iter().flat_map(|headers| [("request", &headers.request), ("response", &headers.response)]);
    for (message, operations) in parts {
        let Some(HeaderOperationsConfig { set, add, remove }) = operations else { continue };
        let named = |(name, value): &(_, String)| format!("{name}: {value}");
        let mut words: Vec<String> = Vec::new();
        words.extend(set.0.iter().map(|one| format!("set {}", named(one))));
        words.extend(add.0.iter().map(|one| format!("add {}", named(one))));
        words.extend(remove.iter().map(|name| format!("remove {name}")));
        if !words.is_empty() {
            say(subject, format!("of the {message}: {}", words.join("; ")));
        }
    }
}

fn origin(policy: &CorsPolicy, request: &DescribedRequest, outcome: &Outcome) -> String {
    let origin = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("origin"));
    let Some((_, origin)) = origin else {
        let origins = policy.allow_origins.len() + policy.allow_origin.len();
        return format!("the request names no origin, so nothing is added ({origins} may read responses)");
    };
    match outcome.response_header("access-control-allow-origin").is_empty() {
        true => format!("pages of {origin} may not read the response"),
        false => format!("pages of {origin} may read the response"),
    }
}

fn destinations(
    configs: &FilterConfigs,
    route: &RouteConfig,
    id: &str,
    say: &mut dyn FnMut(&str, String),
) -> Vec<Target> {
    if let Some(cluster) = &route.cluster {
        say("destination", format!("100% to {cluster}"));
        return vec![Target { cluster: cluster.clone(), chosen: None }];
    }
    let Some(policy) = of(&configs.weighted_shifting.routes, id) else { return Vec::new() };
    headers("headers", policy.headers.as_ref(), say);
    let only = policy.destinations.len() == 1;
    let weight = |one: &Destination| f64::from(if only { 1 } else { one.weight.unwrap_or(0) });
    let sum: f64 = policy.destinations.iter().map(weight).sum();
    let mut targets = Vec::new();
    for (index, destination) in (0_usize..).zip(&policy.destinations) {
        let share = 100.0 * weight(destination) / sum;
        say("destination", format!("{share:.4}% to {}", destination.cluster).replace(".0000%", "%"));
        headers("headers there", destination.headers.as_ref(), say);
        if weight(destination) > 0.0 {
            // All of them stay: how headers are changed depends on how many there are.
            let weights = (0..).zip(&policy.destinations);
            let weights =
                weights.map(|(other, one)| Destination { weight: Some((other == index).into()), ..one.clone() });
            let only = ShiftingPolicy { destinations: weights.collect(), ..policy.clone() };
            let routes = ListMap(vec![(id.to_owned(), only)]);
            let chosen = weighted_shifting::Config { routes, ..configs.weighted_shifting.clone() };
            targets.push(Target { cluster: destination.cluster.clone(), chosen: Some(chosen) });
        }
    }
    targets
}

/// The share that a fault has; none where nothing is said.
fn share(percentage: Option<plugin_config::Percent>, percent: Option<u32>) -> String {
    match (percentage, percent) {
        (Some(percentage), _) => words(percentage),
        (None, Some(percent)) => format!("{percent}%"),
        (None, None) => "0%".to_owned(),
    }
}

fn words(percentage: plugin_config::Percent) -> String {
    let percent: &dyn Display = &(f64::from(percentage.per_million()) / 10_000.0);
    format!("{percent}%")
}
