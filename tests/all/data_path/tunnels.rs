//! Upgrades and CONNECT: bytes pass only once both sides have agreed.

use crate::data_path::{OK, equal, trial};
use libtest_mimic::Trial;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::{After, Http2, Served, Socket, Upstream, cluster};
use serde_json::json;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("tunnels::websocket", websocket),
        trial("tunnels::an_upgrade_that_is_not_taken", not_taken),
        trial("tunnels::an_upgrade_to_something_else", something_else),
        trial("tunnels::connect_over_http1", connect_over_http1),
        trial("tunnels::connect_over_http2", connect_over_http2),
    ]
}

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nhost: a.test\r\nconnection: Upgrade\r\nUpgrade: websocket\r\n\
                       sec-websocket-key: x\r\n\r\n";

/// Bytes in both directions after a 101, also those that were sent ahead, until one side ends.
fn websocket() -> Result<(), String> {
    let upstream = Upstream::start(|mut visit| {
        let Some(request) = visit.head()? else { return Ok(()) };
        let asked = (request.header("connection"), request.header("upgrade"));
        equal("upgrade", asked, (Some("upgrade".into()), Some("websocket".into())))?;
        equal("bytes before the 101", visit.socket.read.len(), 0)?;
        visit
            .socket
            .send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhi ")?;
        let ahead = visit.socket.take(5)?;
        equal("bytes sent ahead", ahead.as_deref(), Some(&b"ahead"[..]))?;
        visit.socket.send("you")?;
        let (rest, _) = visit.socket.rest()?;
        equal("bytes to the end", rest, b"bye".to_vec())
    })?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
    let mut client = Socket::connect(served.port)?;
    client.send([UPGRADE, "ahead"].concat())?;
    let answer = http1::read(&mut client, Kind::Response("GET"))?.ok_or("no answer")?;
    equal("status", answer.status(), 101)?;
    equal("upgrade", answer.header("upgrade").as_deref(), Some("websocket"))?;
    equal("connection", answer.header("connection").as_deref(), Some("upgrade"))?;
    equal("bytes", client.take(6)?.as_deref(), Some(&b"hi you"[..]))?;
    client.send("bye")?;
    client.half_close();
    equal("what follows", client.rest()?.0, Vec::new())?;
    equal("log", served.logged()?, "101 - via_upstream".to_owned())?;
    equal("faults", upstream.faults(), Vec::new())
}

/// An upstream that answers otherwise opens no tunnel: bytes that were sent ahead are nobody's request.
fn not_taken() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
    let mut client = Socket::connect(served.port)?;
    client.send([UPGRADE, "GET /smuggled HTTP/1.1\r\nhost: a.test\r\n\r\n"].concat())?;
    let answer = http1::read(&mut client, Kind::Response("GET"))?.ok_or("no answer")?;
    equal("answer", (answer.status(), answer.text().as_str()), (200, "ok"))?;
    equal("what follows", client.rest()?.0, Vec::new())?;
    equal("requests", upstream.take().len(), 1)?;
    equal("faults", upstream.faults(), Vec::new())
}

/// A 101 to another protocol than the one that was asked for is no answer to it.
fn something_else() -> Result<(), String> {
    let upstream = Upstream::answering(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: evil\r\n\r\n",
        After::Stall,
    )?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
    let mut client = Socket::connect(served.port)?;
    client.send(UPGRADE)?;
    let answer = http1::read(&mut client, Kind::Response("GET"))?.ok_or("no answer")?;
    equal("status", answer.status(), 502)
}

/// An upstream that takes bytes and sends them back in upper case, to the end.
fn shouting() -> Result<Upstream, String> {
    Upstream::start(|mut visit| {
        loop {
            let bytes = std::mem::take(&mut visit.socket.read).to_ascii_uppercase();
            visit.socket.send(bytes)?;
            if !visit.socket.fill()? {
                return Ok(());
            }
        }
    })
}

fn connect_over_http1() -> Result<(), String> {
    let upstream = shouting()?;
    let served = Served::start(json!({"connect": true}), vec![cluster("up", &[upstream.port], json!({}))])?;
    let mut client = Socket::connect(served.port)?;
    client.send("CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n")?;
    let answer = http1::read(&mut client, Kind::Response("CONNECT"))?.ok_or("no answer")?;
    equal("status", answer.status(), 200)?;
    let framing = (answer.header("content-length"), answer.header("transfer-encoding"));
    equal("framing", framing, (None, None))?;
    client.send("hello")?;
    equal("bytes", client.take(5)?.as_deref(), Some(&b"HELLO"[..]))?;
    client.send("bye")?;
    client.half_close();
    equal("bytes", client.rest()?.0, b"BYE".to_vec())
}

fn connect_over_http2() -> Result<(), String> {
    let upstream = shouting()?;
    let served = Served::start(json!({"connect": true}), vec![cluster("up", &[upstream.port], json!({}))])?;
    let mut client = Http2::connect(served.port)?;
    client.headers(1, &[(":method", "CONNECT"), (":authority", "a.test:443")], false)?;
    equal("status", client.head(1)?.get(":status").map(String::as_str), Some("200"))?;
    client.data(1, "hello", false)?;
    while client.so_far(1).body.len() < 5 {
        client.frame()?.ok_or("the connection has ended")?;
    }
    client.data(1, "bye", true)?;
    let answer = client.answer(1)?;
    equal("answer", (answer.text().as_str(), answer.whole), ("HELLOBYE", true))
}
