//! Every page: one table says what there is, what it takes, and who answers.

use crate::admin::answer::{Answer, Asked};
use crate::admin::{certs, clusters, config_dump, lifecycle, listeners, logging, stats, vms};
use http::StatusCode;
use std::fmt::Write;

/// A page.
pub(super) struct Route {
    pub(super) path: &'static str,
    /// It changes something: POST only.
    pub(super) mutates: bool,
    says: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    pub(super) answer: fn(&Asked<'_>) -> Answer,
}

const FORMAT: (&str, &str) = ("format", "text or json");
const USED_ONLY: (&str, &str) = ("usedonly", "only what was used");
const FILTER_STATS: (&str, &str) = ("filter", "a regular expression that names must have a match of");

/// Every page, in the order of paths.
pub(super) const ROUTES: [Route; 19] = [
    route("/", "this list, with links", &[], home),
    route("/certs", "the certificates in use", &[], certs::certs),
    route(
        "/clusters",
        "clusters, their endpoints and their health",
        &[("filter", "a regular expression"), FORMAT],
        clusters::clusters,
    ),
    route("/config_dump", "the configuration that serves, without its secrets", &[], config_dump::config_dump),
    mutation(
        "/drain_listeners",
        "accept no more connections, let streams finish",
        &[("inboundonly", "only at inbound listeners")],
        lifecycle::drain_listeners,
    ),
    route("/help", "this list", &[], help),
    route("/listeners", "listeners and their addresses", &[FORMAT], listeners::listeners),
    route("/live", "whether the process runs", &[], lifecycle::live),
    mutation(
        "/logging",
        "levels of the log; sets them",
        &[
            ("level", "the level of everything"),
            ("paths", "target:level,target:level"),
            ("<target>", "the level of a target"),
        ],
        logging::logging,
    ),
    route("/memory", "memory of the process", &[], lifecycle::memory),
    route("/metrics", "metrics for Prometheus", &[FILTER_STATS, USED_ONLY], stats::prometheus),
    mutation("/quitquitquit", "end the process", &[], lifecycle::quit),
    route("/ready", "whether new requests are welcome", &[], lifecycle::ready),
    mutation("/reopen_logs", "open log files anew", &[], lifecycle::reopen_logs),
    route("/server_info", "version, state, age", &[], lifecycle::server_info),
    route(
        "/stats",
        "metrics under Envoy's names",
        &[FILTER_STATS, USED_ONLY, ("format", "text, json or prometheus")],
        stats::stats,
    ),
    route("/stats/prometheus", "metrics for Prometheus", &[FILTER_STATS, USED_ONLY], stats::prometheus),
    route("/version", "the version", &[], lifecycle::version),
    route("/wasm", "plugins and their VMs on each worker", &[FORMAT], vms::vms),
];

const fn route(
    path: &'static str,
    says: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    answer: fn(&Asked<'_>) -> Answer,
) -> Route {
    Route { path, mutates: false, says, parameters, answer }
}

const fn mutation(
    path: &'static str,
    says: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    answer: fn(&Asked<'_>) -> Answer,
) -> Route {
    Route { path, mutates: true, says, parameters, answer }
}

/// The page of a path.
pub(super) fn find(path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.path == path)
}

/// There is no such page; what there is instead.
pub(super) fn unknown() -> Answer {
    Answer::text(format!("invalid path. {}", list())).with_status(StatusCode::NOT_FOUND)
}

fn help(_: &Asked<'_>) -> Answer {
    Answer::text(list())
}

fn list() -> String {
    let mut out = String::from("admin commands are:\n");
    for Route { path, mutates, says, parameters, .. } in &ROUTES {
        // Writing to a string does not fail.
        let _ = writeln!(out, "  {path}{}: {says}", if *mutates { " (POST)" } else { "" });
        for (name, says) in *parameters {
            let _ = writeln!(out, "      {name}: {says}");
        }
    }
    out
}

fn home(_: &Asked<'_>) -> Answer {
    let mut out =
        String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<title>outrigger</title>\n<h1>outrigger</h1>\n<dl>\n");
    for Route { path, mutates, says, .. } in &ROUTES {
        let _ = match mutates {
            true => writeln!(out, "<dt>{path} (POST)<dd>{says}"),
            false => writeln!(out, "<dt><a href=\"{path}\">{path}</a><dd>{says}"),
        };
    }
    Answer::with_kind("text/html; charset=utf-8", out + "</dl>\n")
}
