//! At the client's proxy: virtual host, routes, what the chosen one does.

use super::{DescribedRequest, Explanation, condition, place, refused};
use crate::compile::outbound::{self, Routes};
use crate::compile::{CompileError, FilterConfigs};
use crate::mesh::{Mesh, Workload};
use header_rules::{Compiled, Decision, RouteConfig, UnknownAuthorityPolicy, VirtualHostConfig};
use http_match::{Request, port_of};
use plugin_config::At;
use std::fmt::Display;

/// Explains it, and tells which clusters the request may go to.
pub(super) fn explain(
    mesh: &Mesh<'_>,
    from: &Workload,
    request: &DescribedRequest,
    explanation: &mut Explanation,
) -> Result<Vec<String>, CompileError> {
    let Routes { configs, origins } = outbound::routes(mesh, from);
    let at = format!("client {}/{}", from.namespace, from.name);
    let headers = request.header_list();
    let mut asked = Request::new(&headers);
    asked.port = port_of(request.authority.as_bytes());
    let mut faults = At::root();
    let compiled = Compiled::compile(&configs.header_rules, &mut faults);
    let Some(compiled) = compiled.filter(|_| faults.is_good()) else { return Err(refused(&faults.into_faults())) };
    let (name, chosen) = match compiled.decide(&asked) {
        Decision::Route(host, route, _) => (host.name(), Some(route.id())),
        Decision::NoRoute(host) => (host.name(), None),
        Decision::UnknownAuthority | Decision::Unrouted => {
            return Ok(unknown(&configs, request, &at, explanation));
        }
    };
    let hosts = &configs.header_rules.virtual_hosts;
    let Some(host) = hosts.iter().find(|host| host.name.as_deref() == name) else { return Ok(Vec::new()) };
    explanation.push(&at, "virtual host", host.name.clone().unwrap_or_default(), None);
    let route = routes(host, chosen, &asked, &|id| place(&origins, id), &at, explanation);
    match route {
        Some(route) => Ok(actions(&configs, route, &at, explanation)),
        None => {
            explanation.push(&at, "answer", "404: no route of the virtual host matches, and no other is tried", None);
            Ok(Vec::new())
        }
    }
}

fn unknown(
    configs: &FilterConfigs,
    request: &DescribedRequest,
    at: &str,
    explanation: &mut Explanation,
) -> Vec<String> {
    let subject = format!("authority {}", request.authority);
    let policy = configs.header_rules.unknown_authority.as_ref();
    let verdict = match policy.map(|unknown| unknown.policy) {
        Some(UnknownAuthorityPolicy::Forward) => {
            "no service has it: forwarded as it is (ALLOW_ANY), without any policy"
        }
        Some(UnknownAuthorityPolicy::Reject) => "no service has it: 502 (REGISTRY_ONLY)",
        _ => "no service has it: 404",
    };
    explanation.push(at, subject, verdict, None);
    Vec::new()
}

/// The routes up to the chosen one, and why those before it were not. `chosen`: its id, if there is one.
fn routes<'h>(
    host: &'h VirtualHostConfig,
    chosen: Option<Option<&str>>,
    request: &Request<'_>,
    place: &dyn Fn(Option<&str>) -> Option<String>,
    at: &str,
    explanation: &mut Explanation,
) -> Option<&'h RouteConfig> {
    for route in &host.routes {
        let id = route.id.as_deref();
        let subject = format!("route {}", id.unwrap_or("default"));
        if chosen == Some(id) {
            explanation.push(at, subject, "matches", place(id));
            return Some(route);
        }
        let unmet: Vec<String> =
            route.matches.iter().map(|wanted| condition::unmet(wanted, request).join(" and ")).collect();
        explanation.push(at, subject, format!("does not match: not {}", unmet.join("; nor ")), place(id));
    }
    None
}

/// What a route does, in the order in which the filters act. The clusters that it may send the request to.
fn actions(configs: &FilterConfigs, route: &RouteConfig, at: &str, explanation: &mut Explanation) -> Vec<String> {
    let id = route.id.as_deref().unwrap_or_default();
    let mut say = |subject: &str, verdict: String| explanation.push(at, subject, verdict, None);
    if let Some(redirect) = &route.redirect {
        let to = redirect.uri.as_ref().or(redirect.authority.as_ref()).or(redirect.scheme.as_ref());
        say("answer", format!("{} to {}", redirect.redirect_code.unwrap_or(301), to.map_or("", String::as_str)));
        return Vec::new();
    }
    if let Some(response) = &route.direct_response {
        say("answer", format!("{}, from the proxy itself", response.status));
        return Vec::new();
    }
    if let Some((_, fault)) = configs.fault_injection.routes.0.iter().find(|(known, _)| known == id) {
        if let Some(delay) = &fault.delay {
            say("delay", format!("{} of requests by {}", share(delay.percentage, delay.percent), delay.fixed_delay));
        }
        if let Some(abort) = &fault.abort {
            let status = abort.http_status.map(|status| status.to_string());
            let status = status.or_else(|| abort.grpc_status.clone()).unwrap_or_default();
            say("abort", format!("{} of requests with {status}", share(abort.percentage, abort.percent)));
        }
    }
    if let Some(rewrite) = &route.rewrite {
        let to = [
            rewrite.uri.as_deref(),
            rewrite.authority.as_deref(),
            rewrite.uri_regex_rewrite.as_ref().map(|regex| regex.rewrite.as_str()),
        ];
        say("rewrite", to.into_iter().flatten().collect::<Vec<_>>().join(", authority "));
    }
    if let Some(timeout) = route.timeout {
        say("timeout", timeout.to_string());
    }
    if let Some(retries) = &route.retries {
        let per_try = retries.per_try_timeout.map(|limit| format!(", {limit} each")).unwrap_or_default();
        let on = retries.retry_on.as_deref().unwrap_or("Istio's default conditions");
        say("retries", format!("{} on {on}{per_try}", retries.attempts));
    }
    let clusters = destinations(configs, route, id, &mut say);
    if let Some((_, policy)) = configs.mirroring.routes.0.iter().find(|(known, _)| known == id) {
        for mirror in &policy.mirrors {
            say(
                "mirror",
                format!("{} of requests to {}", mirror.percentage.map_or("all".to_owned(), words), mirror.cluster),
            );
        }
    }
    clusters
}

fn destinations(
    configs: &FilterConfigs,
    route: &RouteConfig,
    id: &str,
    say: &mut dyn FnMut(&str, String),
) -> Vec<String> {
    if let Some(cluster) = &route.cluster {
        say("destination", format!("100% to {cluster}"));
        return vec![cluster.clone()];
    }
    let Some((_, policy)) = configs.weighted_shifting.routes.0.iter().find(|(known, _)| known == id) else {
        return Vec::new();
    };
    let only = policy.destinations.len() == 1;
    let weight = |one: &weighted_shifting::Destination| f64::from(if only { 1 } else { one.weight.unwrap_or(0) });
    let sum: f64 = policy.destinations.iter().map(weight).sum();
    let mut clusters = Vec::new();
    for destination in &policy.destinations {
        let share = 100.0 * weight(destination) / sum;
        say("destination", format!("{share:.4}% to {}", destination.cluster).replace(".0000%", "%"));
        if weight(destination) > 0.0 {
            clusters.push(destination.cluster.clone());
        }
    }
    clusters
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
