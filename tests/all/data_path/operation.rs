//! Reloads and ends, with requests on their way.

use crate::data_path::{OK, ask, equal, get, trial};
use libtest_mimic::Trial;
use outrigger_tests::live::wait_until;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::{After, Http2, Served, Socket, Upstream, cluster};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("operation::reloads_under_load", reloads),
        trial("operation::a_refused_snapshot_changes_nothing", refused),
        trial("operation::streams_outlive_a_reload", streams_outlive_a_reload),
        trial("operation::drain_lets_streams_finish", drain),
        trial("operation::drain_is_bounded", bounded_drain),
        trial("operation::load_is_shed_before_memory_runs_out", shedding),
        trial("operation::endpoints_that_come_and_go", endpoints_come_and_go),
    ]
}

const RELOADS: usize = 200;

/// Snapshots that differ in what is swapped: filters, limits, clusters and their settings.
fn variant(number: usize, ports: &[u16]) -> (Value, Vec<Value>) {
    let rules = json!({"rules": [{"response": {"set": {"x-generation": number.to_string()}}}]});
    let plugins = json!([{"name": "rules", "module": "header-rules", "configuration": rules}]);
    let manager = json!({"plugins": plugins, "limits": {"headerFields": 100 + number % 7}});
    let more = match number % 3 {
        0 => json!({}),
        1 => json!({"outlierDetection": {}}),
        _ => json!({"circuitBreakers": {"maxConnections": 1000 + number}}),
    };
    let ports = if number.is_multiple_of(2) { &ports[..1] } else { ports };
    (manager, vec![cluster("up", ports, more)])
}

/// 200 snapshots under clients of both protocols: no request fails, and none is served by two.
fn reloads() -> Result<(), String> {
    let upstreams = [Upstream::answering(OK, After::Keep)?, Upstream::answering(OK, After::Keep)?];
    let ports = [upstreams[0].port, upstreams[1].port];
    let (manager, clusters) = variant(0, &ports);
    let served = Served::start(manager, clusters)?;
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let client = |run: fn(u16, &mut dyn FnMut() -> bool) -> Result<(), String>| {
        let (port, stop, answers) = (served.port, stop.clone(), answers.clone());
        std::thread::spawn(move || {
            run(port, &mut || {
                answers.fetch_add(1, Ordering::SeqCst);
                !stop.load(Ordering::SeqCst)
            })
        })
    };
    let clients = [client(over_one_connection), client(over_new_connections), client(over_http2), client(over_http2)];
    let mut outcome = Ok(());
    for number in 1..=RELOADS {
        let (manager, clusters) = variant(number, &ports);
        outcome = served.reload(manager, clusters, json!({})).map_err(|fault| format!("reload {number}: {fault}"));
        let before = answers.load(Ordering::SeqCst);
        let on = || answers.load(Ordering::SeqCst) > before || clients.iter().any(|client| client.is_finished());
        if outcome.is_err() || !wait_until(Duration::from_secs(30), on) {
            break;
        }
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().map_err(|_| "a client panicked".to_owned())??;
    }
    outcome?;
    let generation = ask(served.port, &get("/"))?.0.header("x-generation");
    equal("generation", generation, Some(RELOADS.to_string()))?;
    let answers = answers.load(Ordering::SeqCst);
    equal("requests", answers >= RELOADS, true).map_err(|fault| format!("{fault}: {answers}"))
}

fn over_one_connection(port: u16, on: &mut dyn FnMut() -> bool) -> Result<(), String> {
    let mut client = Socket::connect(port)?;
    loop {
        client.send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5\r\n\r\nhello")?;
        let answer = http1::read(&mut client, Kind::Response("POST"))?.ok_or("no answer")?;
        equal("answer", (answer.status(), answer.text().as_str()), (200, "ok"))?;
        if !on() {
            return Ok(());
        }
    }
}

fn over_new_connections(port: u16, on: &mut dyn FnMut() -> bool) -> Result<(), String> {
    loop {
        let (answer, _) = ask(port, &get("/"))?;
        equal("answer", (answer.status(), answer.text().as_str()), (200, "ok"))?;
        if !on() {
            return Ok(());
        }
    }
}

fn over_http2(port: u16, on: &mut dyn FnMut() -> bool) -> Result<(), String> {
    let mut client = Http2::connect(port)?;
    let mut stream = 1;
    loop {
        let streams = [stream, stream + 2, stream + 4];
        streams.into_iter().try_for_each(|stream| client.get(stream, "/"))?;
        for stream in streams {
            let answer = client.answer(stream)?;
            equal("answer", (answer.status(), answer.text().as_str()), (200, "ok"))?;
        }
        stream += 6;
        if !on() {
            return Ok(());
        }
    }
}

fn refused() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let clusters = vec![cluster("up", &[upstream.port], json!({}))];
    let served = Served::start(json!({}), clusters.clone())?;
    let bad = [
        json!({"plugins": [{"name": "x", "module": "missing"}]}),
        json!({"plugins": [{"name": "x", "module": "header-rules", "configuration": {"rules": 1}}]}),
    ];
    for manager in bad {
        equal("refused", served.reload(manager, clusters.clone(), json!({})).is_err(), true)?;
        equal("status", ask(served.port, &get("/"))?.0.status(), 200)?;
    }
    Ok(())
}

/// An upstream whose answer to `/slow` waits for the second part of the request.
fn by_parts() -> Result<Upstream, String> {
    Upstream::start(|mut visit| {
        while let Some(head) = visit.head()? {
            if head.target() == "/slow" {
                visit.socket.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")?;
                let body = visit.socket.take(4)?;
                equal("body", body.as_deref(), Some(&b"slow"[..]))?;
                visit.socket.send("lf")?;
            } else {
                visit.socket.send(OK)?;
            }
        }
        Ok(())
    })
}

/// A request that is half done, over HTTP/1.1.
fn half_done(port: u16) -> Result<Socket, String> {
    let mut client = Socket::connect(port)?;
    client.send("POST /slow HTTP/1.1\r\nhost: a.test\r\ncontent-length: 4\r\n\r\nsl")?;
    while !client.read.ends_with(b"ha") {
        if !client.fill()? {
            return Err("the connection has ended".into());
        }
    }
    Ok(client)
}

fn half_done_http2(port: u16) -> Result<Http2, String> {
    let mut client = Http2::connect(port)?;
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a.test"), (":path", "/slow")];
    client.headers(1, &[&fields[..], &[("content-length", "4")]].concat(), false)?;
    client.data(1, "sl", false)?;
    while client.so_far(1).body.len() < 2 {
        client.frame()?.ok_or("the connection has ended")?;
    }
    Ok(client)
}

fn finish(mut client: Socket) -> Result<Socket, String> {
    client.send("ow")?;
    let answer = http1::read(&mut client, Kind::Response("POST"))?.ok_or("no answer")?;
    equal("answer", (answer.text().as_str(), answer.whole), ("half", true))?;
    Ok(client)
}

fn finish_http2(mut client: Http2) -> Result<Http2, String> {
    client.data(1, "ow", true)?;
    let answer = client.answer(1)?;
    equal("answer", (answer.text().as_str(), answer.whole), ("half", true))?;
    Ok(client)
}

/// Streams end with the configuration, and the upstream connections, they began with.
fn streams_outlive_a_reload() -> Result<(), String> {
    let (old, new) =
        (by_parts()?, Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nnew", After::Keep)?);
    let served = Served::start(json!({}), vec![cluster("up", &[old.port], json!({}))])?;
    let (one, two) = (half_done(served.port)?, half_done_http2(served.port)?);
    served.reload(json!({}), vec![cluster("up", &[new.port], json!({}))], json!({}))?;
    equal("new requests", ask(served.port, &get("/"))?.0.text().as_str(), "new")?;
    let (mut one, mut two) = (finish(one)?, finish_http2(two)?);
    // And their connections go on, with the new one.
    one.send(get("/"))?;
    let next = http1::read(&mut one, Kind::Response("GET"))?.ok_or("no answer")?;
    equal("the next answer", next.text().as_str(), "new")?;
    two.get(3, "/")?;
    equal("the next answer", two.answer(3)?.text().as_str(), "new")
}

/// Near the end of its memory the proxy answers 503 and ends connections, nearer still it accepts none; those that come
/// wait, and are served when there is memory again.
fn shedding() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let percent = Arc::new(AtomicUsize::new(0));
    let told = percent.clone();
    let memory_use: host::MemoryUse = Arc::new(move |_| told.load(Ordering::SeqCst) as f64 / 100.0);
    let options = host::Options { memory_use: Some(memory_use), ..host::Options::default() };
    let clusters = vec![cluster("up", &[upstream.port], json!({}))];
    let served = Served::start_as(json!({}), clusters, json!({}), options)?;
    let is_at = |percent: f64| {
        wait_until(Duration::from_secs(30), || served.metric("outrigger_overload_memory_percent") == percent)
    };
    let (_, mut before) = ask(served.port, &get("/"))?;
    let mut http2 = Http2::connect(served.port)?;
    http2.get(1, "/")?;
    equal("status", http2.answer(1)?.status(), 200)?;
    served.logged()?;
    served.logged()?;
    percent.store(92, Ordering::SeqCst);
    equal("noticed", is_at(92.0), true)?;
    let (answer, mut client) = ask(served.port, &get("/"))?;
    equal("answer", (answer.status(), answer.text().as_str()), (503, "overloaded"))?;
    equal("log", served.logged()?, "503 OM overload".to_owned())?;
    equal("connection", answer.header("connection").as_deref(), Some("close"))?;
    equal("what follows", client.rest()?.0, Vec::new())?;
    // A connection that is open already fares no better.
    before.send(get("/"))?;
    let answer = http1::read(&mut before, Kind::Response("GET"))?.ok_or("no answer")?;
    equal("answer", answer.status(), 503)?;
    percent.store(97, Ordering::SeqCst);
    equal("noticed", is_at(97.0), true)?;
    // One accept may have been under way when the proxy looked.
    let mut last = Socket::connect(served.port)?;
    last.send(get("/"))?;
    let mut late = Socket::connect(served.port)?;
    late.send(get("/"))?;
    percent.store(10, Ordering::SeqCst);
    let answer = http1::read(&mut last, Kind::Response("GET"))?.ok_or("no answer")?;
    equal("served in the end", matches!(answer.status(), 200 | 503), true)?;
    let answer = http1::read(&mut late, Kind::Response("GET"))?.ok_or("no answer")?;
    equal("served in the end", answer.status(), 200)?;
    let served_again = wait_until(Duration::from_secs(30), || {
        ask(served.port, &get("/")).is_ok_and(|(answer, _)| answer.status() == 200)
    });
    equal("served again", served_again, true)
}

/// A set of endpoints that changes again and again: requests go to those that are in it, and none fails.
fn endpoints_come_and_go() -> Result<(), String> {
    let upstreams = [Upstream::answering(OK, After::Keep)?, Upstream::answering(OK, After::Keep)?];
    let of = |number: usize| vec![cluster("up", &[upstreams[number % 2].port], json!({}))];
    let served = Served::start(json!({}), of(0))?;
    let mut client = Socket::connect(served.port)?;
    for number in 1..=50 {
        served.reload(json!({}), of(number), json!({}))?;
        upstreams.iter().for_each(|upstream| drop(upstream.take()));
        for _ in 0..3 {
            client.send(get("/"))?;
            let answer = http1::read(&mut client, Kind::Response("GET"))?.ok_or("no answer")?;
            equal("status", answer.status(), 200)?;
        }
        equal("requests to the endpoint that is in", upstreams[number % 2].take().len(), 3)?;
        equal("requests to the one that is out", upstreams[(number + 1) % 2].take().len(), 0)?;
    }
    Ok(())
}

/// New connections are refused, idle ones end, and requests under way are answered.
fn drain() -> Result<(), String> {
    let upstream = by_parts()?;
    let served = Arc::new(Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?);
    let (_, mut idle) = ask(served.port, &get("/"))?;
    let (one, two) = (half_done(served.port)?, half_done_http2(served.port)?);
    let draining = served.clone();
    let drained = std::thread::spawn(move || draining.proxy.drain().map_err(|faults| faults.to_string()));
    equal("idle connection", idle.rest()?.0, Vec::new())?;
    let refused = wait_until(Duration::from_secs(30), || Socket::connect(served.port).is_err());
    equal("new connections refused", refused, true)?;
    let (mut one, mut two) = (finish(one)?, finish_http2(two)?);
    equal("what follows", one.rest()?.0, Vec::new())?;
    equal("GOAWAY", two.ended()?, Some(0))?;
    drained.join().map_err(|_| "panicked".to_owned())?
}

/// Who does not finish is cut off when the time is over.
fn bounded_drain() -> Result<(), String> {
    let upstream = by_parts()?;
    let clusters = vec![cluster("up", &[upstream.port], json!({}))];
    let served = Served::start_with(json!({}), clusters, json!({"drain": "0.2s"}))?;
    let (mut one, mut two) = (half_done(served.port)?, half_done_http2(served.port)?);
    let drained = served.proxy.drain().map_err(|faults| faults.to_string());
    equal("drained", drained, Err("2 connections were cut off".to_owned()))?;
    drop(served);
    one.ended()?;
    two.ended().map(drop)
}
