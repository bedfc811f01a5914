//! Where a status alone does not tell: what becomes of a connection, and what is logged of it. Stock Envoy runs the same
//! snapshot and is asked the same; where the two are to differ, the row says why.

use crate::data_path::{OK, Refusing, ask, equal, get, route, routed, trial};
use libtest_mimic::Trial;
use outrigger_tests::live::wait_until;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::http2::Answer;
use outrigger_tests::raw::{After, Beside, Http2, Served, Socket, Upstream, cluster};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("beside::malformed_fields_beside_other_streams", malformed_fields),
        trial("beside::responses_that_are_cut", cut_responses),
        trial("beside::counts_of_clusters", counts_of_clusters),
        trial("beside::attempts_are_counted", attempts_are_counted),
    ]
}

/// Both proxies.
pub(super) struct Both {
    pub(super) served: Served,
    beside: Beside,
}

impl Both {
    /// As [`Served::start_with`].
    pub(super) fn start(manager: Value, clusters: Vec<Value>, more: Value) -> Result<Self, String> {
        let beside = Beside::start(&manager, &clusters, &more)?;
        Ok(Self { served: Served::start_with(manager, clusters, more)?, beside })
    }

    /// What each does: ours, then Envoy's.
    pub(super) fn each(&self, mut scene: impl FnMut(u16) -> Result<String, String>) -> Result<[String; 2], String> {
        let ours = scene(self.served.port).map_err(|fault| format!("ours: {fault}"))?;
        Ok([ours, scene(self.beside.port).map_err(|fault| format!("Envoy: {fault}"))?])
    }

    /// As [`Self::each`], with the next line of the log.
    pub(super) fn logged(&self, scene: impl FnMut(u16) -> Result<String, String>) -> Result<[String; 2], String> {
        let [ours, theirs] = self.each(scene)?;
        Ok([format!("{ours}; {}", self.served.logged()?), format!("{theirs}; {}", self.beside.logged()?)])
    }
}

/// A row: what is done, and what both do then, or each.
pub(super) type Row<W> = (&'static str, W, [&'static str; 2]);

/// Runs every row: those in which one of the two does not as the row says.
pub(super) fn compare<W>(
    rows: &[Row<W>],
    mut run: impl FnMut(&W) -> Result<[String; 2], String>,
) -> Result<(), String> {
    let mut wrong = Vec::new();
    for (name, what, expected) in rows {
        match run(what) {
            Ok(found) if found == *expected => {}
            Ok([ours, theirs]) => wrong.push(format!("{name}:\n    ours {ours}\n    Envoy's {theirs}")),
            Err(fault) => wrong.push(format!("{name}: {fault}")),
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const AUTHORITY: (&str, &str) = (":authority", "a.test");
const PATH: (&str, &str) = (":path", "/");

type Fields = Vec<(&'static str, &'static str)>;

/// A request with a malformed field, while another of the connection waits for its answer.
fn malformed_fields() -> Result<(), String> {
    let with = |field: (&'static str, &'static str)| -> Fields { vec![METHOD, SCHEME, AUTHORITY, PATH, field] };
    const ENVOYS: &str = "nothing, the other nothing, the connection ends";
    // A stream's matter, as RFC 9113 section 8.1.1 has it.
    const STREAM: [&str; 2] = ["reset for 1, the other 200, the connection goes on", ENVOYS];
    // What reads the fields takes no such text for a field: no other stream of the connection is answered any more, but
    // the client is told why.
    const CONNECTION: [&str; 2] = ["nothing, the other nothing, the connection ends for 1", ENVOYS];
    let rows: Vec<Row<Fields>> = vec![
        ("a name in upper case", with(("X-Upper", "1")), CONNECTION),
        ("a space in a name", with(("x y", "1")), CONNECTION),
        ("an empty name", with(("", "1")), CONNECTION),
        ("a line feed in a value", with(("x", "1\nevil: 1")), CONNECTION),
        ("an unknown pseudo-header", with((":evil", "1")), CONNECTION),
        ("a method with a space", vec![(":method", "GET /"), SCHEME, AUTHORITY, PATH], CONNECTION),
        ("connection", with(("connection", "close")), STREAM),
        ("transfer-encoding", with(("transfer-encoding", "chunked")), STREAM),
        ("te other than trailers", with(("te", "gzip")), STREAM),
        ("a pseudo-header behind fields", vec![METHOD, SCHEME, AUTHORITY, ("x", "1"), PATH], STREAM),
        ("no method", vec![SCHEME, AUTHORITY, PATH], STREAM),
        ("two paths", with(PATH), STREAM),
    ];
    let released = Arc::new(Mutex::new(BTreeSet::new()));
    let known = released.clone();
    let upstream = Upstream::start(move |mut visit| {
        while let Some(request) = visit.request()? {
            let path = request.target().to_owned();
            let is_released = || known.lock().is_ok_and(|known| known.contains(&path));
            if path.starts_with("/slow") && !wait_until(Duration::from_secs(30), is_released) {
                return Err(format!("{path} is never released"));
            }
            visit.socket.send(OK)?;
        }
        Ok(())
    })?;
    let both = Both::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))], json!({}))?;
    let sent = AtomicUsize::new(0);
    compare(&rows, |fields| {
        both.each(|port| {
            let slow = format!("/slow-{}", sent.fetch_add(1, Ordering::SeqCst));
            let mut client = Http2::connect(port)?;
            client.get(1, &slow)?;
            client.headers(3, fields, true)?;
            let malformed = client.answer(3)?;
            released.lock().map_err(|error| error.to_string())?.insert(slow);
            let other = client.answer(1)?;
            // It may have gone since.
            let _ = client.get(5, "/next");
            let next = client.answer(5)?;
            let connection = match (next.status(), client.goaway) {
                (200, _) => "goes on".to_owned(),
                (_, None) => "ends".to_owned(),
                (_, Some(reason)) => format!("ends for {reason}"),
            };
            Ok(format!("{}, the other {}, the connection {connection}", fate(&malformed), fate(&other)))
        })
    })
}

/// What became of a stream.
fn fate(answer: &Answer) -> String {
    match (answer.reset, answer.status()) {
        (Some(reason), _) => format!("reset for {reason}"),
        (None, 0) => "nothing".to_owned(),
        (None, status) => status.to_string(),
    }
}

/// What a client of HTTP/1.1 gets of a response that its upstream does not bring to its end, and the log.
fn cut_responses() -> Result<(), String> {
    let rows: Vec<Row<(&str, After)>> = vec![
        ("a length, closed", ("content-length: 9\r\n\r\nok", After::Close), CUT),
        ("a length, reset", ("content-length: 9\r\n\r\nok", After::Reset), CUT),
        ("chunks, closed", ("transfer-encoding: chunked\r\n\r\n2\r\nok\r\n", After::Close), CUT),
        ("in a chunk", ("transfer-encoding: chunked\r\n\r\n9\r\nok", After::Close), CUT),
        ("no chunk", ("transfer-encoding: chunked\r\n\r\n2\r\nok\r\nx\r\n", After::Stall), CUT),
        ("until the end, closed", ("x: 1\r\n\r\nok", After::Close), WHOLE),
        // Nothing says that it is whole; Envoy takes a reset for its end.
        ("until the end, reset", ("x: 1\r\n\r\nok", After::Reset), [CUT[0], WHOLE[0]]),
    ];
    compare(&rows, |(reply, after)| {
        let upstream = Upstream::answering(format!("HTTP/1.1 200 OK\r\n{reply}"), *after)?;
        let both = Both::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))], json!({}))?;
        both.logged(|port| {
            let mut client = Socket::connect(port)?;
            client.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n")?;
            let answer = http1::read(&mut client, Kind::Response("GET"))?.ok_or("no answer")?;
            Ok(format!("{} {}", answer.status(), if answer.whole { "whole" } else { "cut" }))
        })
    })
}

const WHOLE: [&str; 2] = ["200 whole; 200 - via_upstream"; 2];
const CUT: [&str; 2] = ["200 cut; 200 UPE upstream_reset_after_response_started{protocol_error}"; 2];

/// What a cluster counts of its answers, and of what stands in their place.
fn counts_of_clusters() -> Result<(), String> {
    let reply = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
    let in_turn = |replies: &[&str]| {
        let replies = replies.iter().map(|status| (reply(status).into_bytes(), After::Keep));
        Upstream::in_turn(replies.collect())
    };
    let ok = Upstream::answering(OK, After::Keep)?;
    let mixed = in_turn(&["200 OK", "404 x", "301 x", "503 x"])?;
    let mixed_beside = in_turn(&["200 OK", "404 x", "301 x", "503 x"])?;
    let (closes, stalls) = (Upstream::answering("", After::Close)?, Upstream::answering("", After::Stall)?);
    let garbage = Upstream::answering("no HTTP\r\n\r\n", After::Close)?;
    let refusing = Refusing::new()?;
    let once = json!({"retries": {"attempts": 0}});
    let again = json!({"retries": {"attempts": 2, "retryOn": "5xx"}});
    let late = json!({"timeout": "0.1s"});
    let routes = vec![
        route("/mixed", "mixed", once.clone()),
        route("/refused", "refused", once.clone()),
        route("/closes", "closes", again),
        route("/stalls", "stalls", late),
        route("/garbage", "garbage", once.clone()),
        route("/empty", "empty", once.clone()),
        route("/full", "full", once),
        route("/missing", "missing", json!({})),
    ];
    let plain = |name: &str, port: u16| cluster(name, &[port], json!({}));
    let clusters = |mixed: u16| -> Result<Vec<Value>, String> {
        Ok(vec![
            plain("mixed", mixed),
            plain("refused", refusing.port()?),
            plain("closes", closes.port),
            plain("stalls", stalls.port),
            plain("garbage", garbage.port),
            plain("copies", ok.port),
            cluster("empty", &[], json!({})),
            cluster("full", &[ok.port], json!({"circuitBreakers": {"maxRequests": 0}})),
        ])
    };
    let mut manager = routed(routes);
    // What plugins send is counted as well.
    let copied = json!({"rules": [{"match": [{"uri": {"exact": "/mixed"}}], "mirrors": [{"cluster": "copies"}]}]});
    let plugins = manager["plugins"].as_array_mut().ok_or("no plugins")?;
    plugins.push(json!({"name": "mirroring", "module": "mirroring", "configuration": copied}));
    let modules = json!({"modules": {"mirroring": {"embedded": "mirroring"}}});
    let beside = Beside::start(&manager, &clusters(mixed_beside.port)?, &modules)?;
    let served = Served::start_with(manager, clusters(mixed.port)?, modules)?;
    let paths =
        ["mixed", "mixed", "mixed", "mixed", "refused", "closes", "stalls", "garbage", "empty", "full", "missing"];
    for path in paths {
        for port in [served.port, beside.port] {
            ask(port, &get(&format!("/{path}")))?;
        }
    }
    let lines = || Ok::<_, String>((counted(served.stats(".upstream_rq_")), counted(beside.stats(".upstream_rq_")?)));
    // Nobody waits for copies.
    let copies = "cluster.copies.upstream_rq_completed: 4".to_owned();
    let all_there = || lines().is_ok_and(|(ours, theirs)| ours.contains(&copies) && theirs.contains(&copies));
    wait_until(Duration::from_secs(30), all_there);
    let (ours, theirs) = lines()?;
    equal("how many lines there are", ours.len(), 19)?;
    equal("what is counted", ours, theirs)
}

/// The lines that say how many answers there were, of those that there were.
fn counted(stats: Vec<String>) -> Vec<String> {
    let kept = |line: &String| line.contains("xx: ") || line.contains("upstream_rq_completed");
    // Envoy counts anew by where requests come from.
    let origin = |line: &String| line.contains(".external.") || line.contains(".internal.");
    stats.into_iter().filter(|line| kept(line) && !origin(line) && !line.ends_with(": 0")).collect()
}

/// The upstream is told which attempt it sees, whatever a client says; not by the proxy of whom is called.
fn attempts_are_counted() -> Result<(), String> {
    let unavailable = "HTTP/1.1 503 x\r\ncontent-length: 2\r\n\r\nno";
    let rows: Vec<Row<&str>> = vec![
        ("of who calls", "outbound", ["1 2 3"; 2]),
        ("of a gateway", "unspecified", ["1 2 3"; 2]),
        ("of who is called", "inbound", ["- - -"; 2]),
    ];
    compare(&rows, |direction| {
        let upstream = Upstream::answering(unavailable, After::Keep)?;
        let routes = vec![route("/", "up", json!({"retries": {"attempts": 2, "retryOn": "5xx"}}))];
        let manager = routed(routes);
        let chain = json!({"networkFilter": {"httpConnectionManager": manager}});
        let listener = json!({"name": "in", "address": "127.0.0.1:0", "direction": direction, "filterChains": [chain]});
        let clusters = vec![cluster("up", &[upstream.port], json!({}))];
        let both = Both::start(manager, clusters, json!({"listeners": [listener]}))?;
        both.each(|port| {
            ask(port, &get("/").replace("\r\n\r\n", "\r\nx-envoy-attempt-count: 9\r\n\r\n"))?;
            let told = upstream.take().into_iter().map(|request| request.header("x-envoy-attempt-count"));
            Ok(told.map(|count| count.unwrap_or("-".to_owned())).collect::<Vec<_>>().join(" "))
        })
    })
}
