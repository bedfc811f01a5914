//! Why a request is not answered by an upstream, row by row: status, body, response flags, details. The source of each
//! row is stock Envoy 1.40, asked the same.

use crate::data_path::{OK, Refusing, ask, each, equal, get, route, routed, trial};
use libtest_mimic::Trial;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::{After, Served, Socket, Upstream, cluster};
use serde_json::json;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("catalogue::every_row", catalogue),
        trial("catalogue::replies_of_filters", filters),
        trial("catalogue::grpc_clients", grpc_clients),
    ]
}

const RESET: &str = "upstream connect error or disconnect/reset before headers. reset reason: ";
const RETRIED: &str =
    "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: ";

fn catalogue() -> Result<(), String> {
    let refusing = Refusing::new()?;
    let ok = Upstream::answering(OK, After::Keep)?;
    let unavailable = Upstream::answering("HTTP/1.1 503 x\r\ncontent-length: 2\r\n\r\nno", After::Keep)?;
    let closes = Upstream::answering("", After::Close)?;
    let stalls = Upstream::answering("", After::Stall)?;
    let once = json!({"retries": {"attempts": 0}});
    let routes = vec![
        route("/missing", "missing", json!({})),
        route("/empty", "empty", json!({})),
        route("/refused", "refusing", once.clone()),
        route("/refused-again", "refusing", json!({})),
        route("/closed", "closes", json!({})),
        route("/closed-again", "closes", json!({"retries": {"attempts": 1, "retryOn": "reset"}})),
        route("/full", "full", json!({})),
        route("/slow", "stalls", json!({"timeout": "0.1s"})),
        route("/slow-again", "stalls", json!({"retries": {"attempts": 1, "perTryTimeout": "0.05s", "retryOn": "5xx"}})),
        route("/slow-once", "stalls", json!({"retries": {"attempts": 1, "perTryTimeout": "0.05s"}})),
        route("/unavailable", "unavailable", json!({"retries": {"attempts": 1, "retryOn": "5xx"}})),
        route("/no-retry-room", "no-retries", json!({"retries": {"attempts": 1, "retryOn": "5xx"}})),
        route("/ok", "ok", json!({})),
    ];
    let clusters = vec![
        cluster("empty", &[], json!({})),
        cluster("refusing", &[refusing.port()?], json!({})),
        cluster("closes", &[closes.port], json!({})),
        cluster("full", &[ok.port], json!({"circuitBreakers": {"maxRequests": 0}})),
        cluster("stalls", &[stalls.port], json!({})),
        cluster("unavailable", &[unavailable.port], json!({})),
        cluster("no-retries", &[unavailable.port], json!({"circuitBreakers": {"maxRetries": 0}})),
        cluster("ok", &[ok.port], json!({})),
    ];
    let served = Served::start(routed(routes), clusters)?;
    let early = |reason: &str| format!("upstream_reset_before_response_started{{{reason}}}");
    let refused = early("remote_connection_failure|delayed_connect_error:_Connection_refused");
    let rows: Vec<(&str, u16, String, String)> = vec![
        ("/nowhere", 404, String::new(), "NR route_not_found".into()),
        ("/missing", 503, String::new(), "NC cluster_not_found".into()),
        ("/empty", 503, "no healthy upstream".into(), "UH no_healthy_upstream".into()),
        ("/refused", 503, format!("{RESET}remote connection failure"), format!("UF {refused}")),
        ("/refused-again", 503, format!("{RETRIED}remote connection failure"), format!("URX,UF {refused}")),
        ("/closed", 503, format!("{RESET}connection termination"), format!("UC {}", early("connection_termination"))),
        (
            "/closed-again",
            503,
            format!("{RETRIED}connection termination"),
            format!("URX,UC {}", early("connection_termination")),
        ),
        ("/full", 503, format!("{RESET}overflow"), format!("UO {}", early("overflow"))),
        ("/slow", 504, "upstream request timeout".into(), "UT response_timeout".into()),
        ("/slow-again", 504, "upstream request timeout".into(), "URX,UT upstream_per_try_timeout".into()),
        ("/slow-once", 504, "upstream request timeout".into(), "UT upstream_per_try_timeout".into()),
        ("/unavailable", 503, "no".into(), "URX via_upstream".into()),
        ("/no-retry-room", 503, "no".into(), "UO via_upstream".into()),
        ("/ok", 200, "ok".into(), "- via_upstream".into()),
    ];
    each(rows, |(path, status, body, log)| {
        let run = || {
            let (answer, mut client) = ask(served.port, &get(path))?;
            equal("answer", (answer.status(), answer.text()), (*status, body.clone()))?;
            equal("log", served.logged()?, format!("{status} {log}"))?;
            let overloaded = (*path == "/full").then(|| "true".to_owned());
            equal("x-envoy-overloaded", answer.header("x-envoy-overloaded"), overloaded)?;
            let kind = (!body.is_empty() && !log.ends_with("via_upstream")).then(|| "text/plain".to_owned());
            equal("content-type", answer.header("content-type"), kind)?;
            // The connection serves the next request.
            client.send(get("/ok"))?;
            let next = http1::read(&mut client, Kind::Response("GET"))?.ok_or("no further answer")?;
            equal("the next answer", next.status(), 200)?;
            equal("its log", served.logged()?, "200 - via_upstream".to_owned())
        };
        run().map_err(|fault| ((*path).to_owned(), fault))
    })
}

/// What our filters answer in place of Envoy's: the log says what it says of those.
fn filters() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let rule = json!([{"to": [{"operation": {"paths": ["/denied"]}}]}]);
    let policy = json!({"name": "no", "namespace": "shop", "action": "DENY", "rules": rule});
    let abort = json!({"httpStatus": 418, "percentage": {"value": 100}});
    let delay = json!({"fixedDelay": "0.01s", "percentage": {"value": 100}});
    let faults = json!({"rules": [
        {"match": [{"uri": {"exact": "/abort"}}], "abort": abort},
        {"match": [{"uri": {"exact": "/delay"}}], "delay": delay},
        {"match": [{"uri": {"exact": "/delay-abort"}}], "delay": delay, "abort": abort},
    ]});
    let to_up = ["/abort", "/delay", "/delay-abort"].map(|path| route(path, "up", json!({})));
    let host = json!({"name": "a", "domains": ["a.test"], "routes": to_up});
    let routes = json!({"virtualHosts": [host], "unknownAuthority": {"policy": "REJECT"}});
    let manager = json!({
        "destination": {"clusterHeader": {"name": "x-outrigger-cluster"}},
        "plugins": [
            {"name": "authz", "module": "authz", "configuration": {"policies": [policy]}},
            {"name": "rules", "module": "header-rules", "configuration": routes},
            {"name": "fault", "module": "fault-injection", "configuration": faults},
        ],
    });
    let modules = json!({"authz": {"embedded": "authz"}, "fault-injection": {"embedded": "fault-injection"}});
    let clusters = vec![cluster("up", &[upstream.port], json!({}))];
    let served = Served::start_with(manager, clusters, json!({"modules": modules}))?;
    let denied = "rbac_access_denied_matched_policy[ns[shop]-policy[no]-rule[0]]";
    let rows = [
        ("/denied", "a.test", 403, "RBAC: access denied", format!("- {denied}")),
        ("/abort", "a.test", 418, "fault filter abort", "FI fault_filter_abort".into()),
        ("/delay", "a.test", 200, "ok", "DI via_upstream".into()),
        ("/delay-abort", "a.test", 418, "fault filter abort", "DI,FI fault_filter_abort".into()),
        ("/nowhere", "a.test", 404, "", "NR route_not_found".into()),
        ("/", "b.test", 502, "", "- direct_response".into()),
    ];
    each(rows, |(path, authority, status, body, log)| {
        let run = || {
            let (answer, _) = ask(served.port, &get(path).replace("a.test", authority))?;
            equal("answer", (answer.status(), answer.text().as_str()), (*status, *body))?;
            equal("log", served.logged()?, format!("{status} {log}"))
        };
        run().map_err(|fault| ((*path).to_owned(), fault))
    })?;
    equal("requests upstream", upstream.requests().len(), 1)
}

/// A gRPC client is told in its own words: 200, and the status that HTTP's stands for.
fn grpc_clients() -> Result<(), String> {
    let stalls = Upstream::answering("", After::Stall)?;
    let routes = vec![route("/empty", "empty", json!({})), route("/slow", "stalls", json!({"timeout": "0.1s"}))];
    let clusters = vec![cluster("empty", &[], json!({})), cluster("stalls", &[stalls.port], json!({}))];
    let served = Served::start(routed(routes), clusters)?;
    let rows = [
        ("/nowhere", "12", None),
        ("/empty", "14", Some("no healthy upstream")),
        ("/slow", "14", Some("upstream request timeout")),
    ];
    each(rows, |(path, status, message)| {
        let run = || {
            let mut client = Socket::connect(served.port)?;
            let head = format!("POST {path} HTTP/1.1\r\nhost: a.test\r\ncontent-type: application/grpc\r\n");
            client.send(format!("{head}content-length: 5\r\n\r\n\0\0\0\0\0"))?;
            let answer = http1::read(&mut client, Kind::Response("POST"))?.ok_or("no answer")?;
            equal("status", answer.status(), 200)?;
            equal("grpc-status", answer.header("grpc-status").as_deref(), Some(*status))?;
            equal("grpc-message", answer.header("grpc-message").as_deref(), *message)
        };
        run().map_err(|fault| ((*path).to_owned(), fault))
    })
}
