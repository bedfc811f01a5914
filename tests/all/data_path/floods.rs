//! Clients that cost more than they bring. Each is sent away or held back, what it takes is bounded, and another
//! connection is served all the while.

use crate::data_path::{OK, ask, each, equal, get, trial};
use libtest_mimic::Trial;
use outrigger_tests::case_file::Request;
use outrigger_tests::certs;
use outrigger_tests::client::{Client, Tls};
use outrigger_tests::live::wait_until;
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::http2::{ENHANCE_YOUR_CALM, Frame, flag, kind};
use outrigger_tests::raw::{After, Http2, Served, Socket, Upstream, cluster, resident_memory};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("floods::http2_frames", http2_frames),
        trial("floods::http2_header_bombs", header_bombs),
        trial("floods::http2_heads_that_do_not_end", unfinished_heads),
        trial("floods::slow_heads", slow_heads),
        trial("floods::half_handshakes", half_handshakes),
        trial("floods::a_slow_reader_holds_the_upstream_back", slow_reader),
        trial("floods::closed_windows_hold_the_upstreams_back", closed_windows),
        trial("floods::a_slow_upstream_holds_the_client_back", slow_upstream),
        trial("floods::more_connections_than_there_may_be", too_many_connections),
    ]
}

/// How much memory one hostile connection may cost, with what other tests of this process take meanwhile.
const MEMORY: u64 = 96 << 20;

/// A client that behaves, asking again and again.
struct Bystander {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    thread: JoinHandle<Result<(), String>>,
}

impl Bystander {
    fn start(port: u16) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, count) = (stop.clone(), answers.clone());
        let thread = std::thread::spawn(move || {
            let mut client = Socket::connect(port)?;
            while !stopped.load(Ordering::SeqCst) {
                client.send(get("/bystander"))?;
                let answer = http1::read(&mut client, Kind::Response("GET"))?.ok_or("no answer")?;
                equal("the bystander's answer", answer.status(), 200)?;
                count.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
        Self { stop, answers, thread }
    }

    /// Waits for two answers more: one at least was asked for since.
    fn is_served(&self) -> Result<(), String> {
        let before = self.answers.load(Ordering::SeqCst);
        let served = || self.answers.load(Ordering::SeqCst) >= before + 2 || self.thread.is_finished();
        equal("others are served", wait_until(Duration::from_secs(30), served), true)
    }

    fn stop(self) -> Result<(), String> {
        self.is_served()?;
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|_| "the bystander panicked".to_owned())?
    }
}

/// Frames of a flood, the number of the round given.
type Flood = fn(&mut Http2, u32) -> Vec<Frame>;

fn open(client: &mut Http2, stream: u32) -> Frame {
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a.test"), (":path", "/flood")];
    let block = client.block(&fields);
    Frame::new(kind::HEADERS, flag::END_HEADERS, stream, block)
}

/// CVE-2023-44487, CVE-2025-8671, CVE-2019-9511 to 9518, CVE-2024-27316, RUSTSEC-2026-0258.
const FLOODS: [(&str, Flood); 12] = [
    ("rapid reset", |client, round| {
        let stream = 2 * round + 1;
        vec![open(client, stream), Frame::new(kind::RST_STREAM, 0, stream, 8u32.to_be_bytes())]
    }),
    ("resets that the server is made to send", |client, round| {
        let stream = 2 * round + 1;
        // A window beyond its bound is an error of the stream.
        vec![open(client, stream), Frame::new(kind::WINDOW_UPDATE, 0, stream, 0x7fff_ffffu32.to_be_bytes())]
    }),
    ("requests that are malformed", |client, round| {
        let block = client.block(&[(":method", "GET"), ("X-Upper", "1")]);
        vec![Frame::new(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 2 * round + 1, block)]
    }),
    ("settings", |_, _| vec![Frame::new(kind::SETTINGS, 0, 0, [])]),
    ("pings", |_, _| vec![Frame::new(kind::PING, 0, 0, [0; 8])]),
    ("empty data", |client, round| match round {
        0 => vec![open(client, 1)],
        _ => vec![Frame::new(kind::DATA, 0, 1, [])],
    }),
    ("padding alone", |client, round| match round {
        0 => vec![open(client, 1)],
        _ => vec![Frame::new(kind::DATA, 8, 1, [&[255][..], &[0; 255]].concat())],
    }),
    ("priorities", |_, _| vec![Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 1])]),
    ("window updates", |_, _| vec![Frame::new(kind::WINDOW_UPDATE, 0, 0, 1u32.to_be_bytes())]),
    ("frames of no known kind", |_, _| vec![Frame::new(0xfa, 0, 0, [])]),
    ("empty continuations", |client, round| match round {
        0 => vec![Frame { flags: 0, ..open(client, 1) }],
        _ => vec![Frame::new(kind::CONTINUATION, 0, 1, [])],
    }),
    ("continuations", |client, round| match round {
        0 => vec![Frame { flags: 0, ..open(client, 1) }],
        // A literal that is not indexed: one name, one value of 4 bytes.
        _ => vec![Frame::new(kind::CONTINUATION, 0, 1, b"\0\x01x\x04abcd".repeat(1000))],
    }),
];

fn http2_frames() -> Result<(), String> {
    let upstream = Upstream::start(|mut visit| {
        while let Some(request) = visit.head()? {
            if request.target() == "/flood" {
                return visit.after(After::Stall);
            }
            visit.socket.send(OK)?;
        }
        Ok(())
    })?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
    each(FLOODS, |(name, flood)| {
        let run = || {
            let bystander = Bystander::start(served.port);
            bystander.is_served()?;
            upstream.take();
            let before = resident_memory();
            let mut client = Http2::connect(served.port)?;
            // Until the proxy has had enough.
            let mut rounds = 0..200_000;
            for round in rounds.by_ref() {
                let frames = flood(&mut client, round);
                if client.send(&frames).is_err() {
                    break;
                }
            }
            equal("rounds that are left", rounds.is_empty(), false)?;
            let reason = client.ended()?;
            // The end may overtake its reason. What cannot be read ends at once, whatever its number.
            let unreadable = ["requests that are malformed", "continuations"].contains(name);
            let calm = reason.is_none_or(|reason| reason == ENHANCE_YOUR_CALM || unreadable);
            equal("sent away", calm, true).map_err(|fault| format!("{fault}: {reason:?}"))?;
            let requests = upstream.take().iter().filter(|request| request.target() == "/flood").count();
            equal("few requests upstream", requests <= 500, true).map_err(|fault| format!("{fault}: {requests}"))?;
            let grown = resident_memory().saturating_sub(before);
            equal("memory", grown < MEMORY, true).map_err(|fault| format!("{fault}: {grown}"))?;
            bystander.stop()
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })
}

/// Few bytes that become many (CVE-2026-47774): what counts is the decoded list, field by field.
fn header_bombs() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let served = Served::start(json!({}), vec![cluster("up", &[upstream.port], json!({}))])?;
    let literal = |name: &str, value: &[u8]| {
        // Literal with indexing, lengths in as many bytes as they need.
        let mut bytes = vec![0x40, u8::try_from(name.len()).unwrap_or(0x7e)];
        bytes.extend_from_slice(name.as_bytes());
        let mut length = value.len();
        if length < 127 {
            bytes.push(u8::try_from(length).unwrap_or(0));
        } else {
            bytes.push(127);
            length -= 127;
            while length >= 128 {
                bytes.push(u8::try_from(length % 128).unwrap_or(0) | 0x80);
                length /= 128;
            }
            bytes.push(u8::try_from(length).unwrap_or(0));
        }
        bytes.extend_from_slice(value);
        bytes
    };
    // Index 62: the newest of the dynamic table.
    let again = |count: usize| vec![0x80 | 62; count];
    let rows = [
        ("a large value again and again", [literal("x", &[b'x'; 3900]), again(12_000)].concat()),
        ("an empty value again and again", [literal("x", b""), again(16_000)].concat()),
        ("cookies", [literal("cookie", b"a=b"), again(16_000)].concat()),
        ("accept, by the static table alone", vec![0x80 | 19; 16_000]),
    ];
    each(rows, |(name, bomb)| {
        let run = || {
            let bystander = Bystander::start(served.port);
            let before = resident_memory();
            let mut client = Http2::connect(served.port)?;
            for stream in 0..20 {
                let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/bomb")];
                let block = [client.block(&fields), bomb.clone()].concat();
                let flags = flag::END_HEADERS | flag::END_STREAM;
                let stream = 2 * stream + 1;
                if client.send(&[Frame::new(kind::HEADERS, flags, stream, block)]).is_err() {
                    break;
                }
                let answer = client.answer(stream)?;
                let refused = answer.status() == 431 || answer.reset.is_some() || client.goaway.is_some();
                equal("refused", refused, true).map_err(|fault| format!("{fault}: {answer:?}"))?;
            }
            let grown = resident_memory().saturating_sub(before);
            equal("memory", grown < MEMORY, true).map_err(|fault| format!("{fault}: {grown}"))?;
            let passed = upstream.take().iter().filter(|request| request.target() == "/bomb").count();
            equal("requests upstream", passed, 0)?;
            bystander.stop()
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })
}

/// Writes a part of a head.
type Head = fn(&mut Http2) -> Vec<u8>;

/// As in HTTP/1.1 a head has a time in which to come, also when other streams of the connection are busy.
fn unfinished_heads() -> Result<(), String> {
    let upstream = Upstream::answering("", After::Stall)?;
    let manager = json!({"timeouts": {"head": "0.2s"}});
    let served = Served::start(manager, vec![cluster("up", &[upstream.port], json!({}))])?;
    let rows: [(&str, Head); 3] = [
        ("no CONTINUATION", |client| Frame { flags: 0, ..open(client, 3) }.bytes()),
        ("half a HEADERS", |client| {
            let bytes = open(client, 3).bytes();
            bytes[..bytes.len() / 2].to_vec()
        }),
        ("half a CONTINUATION", |client| {
            let first = Frame { flags: 0, ..open(client, 3) }.bytes();
            [&first[..], &Frame::new(kind::CONTINUATION, flag::END_HEADERS, 3, [0; 100]).bytes()[..50]].concat()
        }),
    ];
    each(rows, |(name, head)| {
        let run = || {
            let mut client = Http2::connect(served.port)?;
            client.get(1, "/")?;
            // Its acknowledgement of the settings must not come in the middle of the head.
            client.settled()?;
            let head = head(&mut client);
            client.socket.send(head)?;
            equal("GOAWAY", client.ended()?, Some(ENHANCE_YOUR_CALM))
        };
        run().map_err(|fault| ((*name).to_owned(), fault))
    })
}

/// Many at once, each told so and closed.
fn slow_heads() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let manager = json!({"timeouts": {"head": "0.3s"}});
    let served = Served::start(manager, vec![cluster("up", &[upstream.port], json!({}))])?;
    let bystander = Bystander::start(served.port);
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut client = Socket::connect(served.port)?;
        client.send("GET / HTTP/1.1\r\nhost: a.test\r\nx: ")?;
        slow.push(client);
    }
    for mut client in slow {
        let (answer, _) = client.rest()?;
        equal("told", answer.starts_with(b"HTTP/1.1 408 "), true)?;
    }
    bystander.stop()
}

/// A thousand clients that do not bring their handshakes to an end: others' are served, each is counted by what it did,
/// and nothing is left of them when they have gone. Those that stay are closed in ten seconds, as `host/src/downstream`
/// shows with a clock of its own.
fn half_handshakes() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let server = certs::issue(&[], Some("proxy.test"))?;
    let certificate = json!({"certificateChain": {"inline": server.certificate}, "privateKey": {"inline": server.key}});
    let chain = json!({
        "transportSocket": {"certificates": [certificate]},
        "networkFilter": {"httpConnectionManager": {"destination": {"cluster": "up"}}},
    });
    let listeners = json!([{"name": "in", "address": "127.0.0.1:0", "filterChains": [chain]}]);
    let clusters = vec![cluster("up", &[upstream.port], json!({}))];
    let served = Served::start_with(json!({}), clusters, json!({"listeners": listeners}))?;
    let hello = client_hello()?;
    let openings: [&[u8]; 4] = [b"", &hello[..hello.len() / 2], &hello, b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"];
    tls_answer(served.port)?;
    let (active, rejected) = ("envoy_listener_downstream_cx_active", "outrigger_listener_connections_rejected");
    equal("none is left", wait_until(Duration::from_secs(30), || served.metric(active) == 0.0), true)?;
    let before = resident_memory();
    let mut half = Vec::new();
    for number in 0..1000 {
        let mut client = Socket::connect(served.port)?;
        client.send(openings[number % openings.len()])?;
        half.push(client);
        if number % 100 == 99 {
            tls_answer(served.port)?;
        }
    }
    // What is not TLS is told so at once; on a busy machine the time of others may be over as well.
    let settled = || served.metric(rejected) >= 250.0 && served.metric(active) + served.metric(rejected) == 1000.0;
    equal("sent away, or waited for", wait_until(Duration::from_secs(30), settled), true)?;
    equal("memory", resident_memory().saturating_sub(before) < MEMORY, true)?;
    tls_answer(served.port)?;
    drop(half);
    equal("none is left", wait_until(Duration::from_secs(30), || served.metric(active) == 0.0), true)?;
    equal("counted", served.metric(rejected), 1000.0)?;
    tls_answer(served.port)
}

/// What a client says first.
fn client_hello() -> Result<Vec<u8>, String> {
    let name = "proxy.test".try_into().map_err(|_| "no name")?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let settings = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let settings = settings.map_err(|error| error.to_string())?.with_root_certificates(rustls::RootCertStore::empty());
    let client = rustls::ClientConnection::new(Arc::new(settings.with_no_client_auth()), name);
    let mut hello = Vec::new();
    client.map_err(|error| error.to_string())?.write_tls(&mut hello).map_err(|error| error.to_string())?;
    Ok(hello)
}

/// A client that behaves, on a connection of its own: that it is served.
fn tls_answer(port: u16) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.map_err(|error| error.to_string())?.block_on(async {
        let mut client = Client::connect(port, Some(&Tls::default())).await?;
        client.send(&Request::default(), "well").await
    })?;
    equal("a client that behaves", answer.status, 200)
}

/// An upstream that writes until it is stopped, and counts: what it got rid of, when it was cut off.
fn gushing() -> Result<(Upstream, Arc<AtomicUsize>), String> {
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let upstream = Upstream::start(move |mut visit| {
        while let Some(request) = visit.request()? {
            if request.target() != "/large" {
                visit.socket.send(OK)?;
                continue;
            }
            visit.socket.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {GUSH}\r\n\r\n"))?;
            for _ in 0..GUSH / PART.len() {
                if visit.socket.send(&PART[..]).is_err() {
                    return Ok(());
                }
                count.fetch_add(PART.len(), Ordering::SeqCst);
            }
        }
        Ok(())
    })?;
    Ok((upstream, written))
}

const GUSH: usize = 256 << 20;

/// Of a body, as much as is written at a time.
static PART: [u8; 64 << 10] = [0; 64 << 10];

/// What the system's buffers of two connections may take, beside what the proxy keeps.
const SOCKET_BUFFERS: usize = 16 << 20;

/// Who does not read is not read for: the proxy keeps little, and the upstream waits.
fn slow_reader() -> Result<(), String> {
    let (upstream, written) = gushing()?;
    let manager = json!({"timeouts": {"streamIdle": "0.5s"}});
    let served = Served::start(manager, vec![cluster("up", &[upstream.port], json!({}))])?;
    let bystander = Bystander::start(served.port);
    let before = resident_memory();
    let mut client = Socket::connect(served.port)?;
    client.bound_receive_buffer(16 << 10)?;
    client.send(get("/large"))?;
    // The proxy gives up: nothing has moved for the time that a stream may be idle.
    let log = loop {
        let line = served.logged()?;
        if !line.starts_with("200 - ") {
            break line;
        }
    };
    equal("log", log.starts_with("200 SI "), true).map_err(|fault| format!("{fault}: {log}"))?;
    let written = written.load(Ordering::SeqCst);
    equal("held back", written < SOCKET_BUFFERS, true).map_err(|fault| format!("{fault}: {written}"))?;
    let grown = resident_memory().saturating_sub(before);
    equal("memory", grown < MEMORY, true).map_err(|fault| format!("{fault}: {grown}"))?;
    let (bytes, _) = client.rest()?;
    equal("cut", bytes.len() < GUSH, true)?;
    bystander.stop()
}

/// Streams whose windows stay shut cost the proxy little each, and their upstreams wait.
fn closed_windows() -> Result<(), String> {
    const STREAMS: u32 = 100;
    let (upstream, written) = gushing()?;
    let manager = json!({"timeouts": {"streamIdle": "1s"}});
    let served = Served::start(manager, vec![cluster("up", &[upstream.port], json!({}))])?;
    let bystander = Bystander::start(served.port);
    let before = resident_memory();
    // SETTINGS_INITIAL_WINDOW_SIZE: nothing.
    let mut client = Http2::connect_with(served.port, &[(4, 0)])?;
    (0..STREAMS).try_for_each(|number| client.get(2 * number + 1, "/large"))?;
    for number in 0..STREAMS {
        client.head(2 * number + 1)?;
    }
    let mut most = 0;
    for number in 0..STREAMS {
        let answer = client.answer(2 * number + 1)?;
        most = most.max(resident_memory().saturating_sub(before));
        equal("answer", (answer.status(), answer.body.len(), answer.whole), (200, 0, false))?;
    }
    let written = written.load(Ordering::SeqCst) / STREAMS as usize;
    equal("held back", written < SOCKET_BUFFERS, true).map_err(|fault| format!("{fault}: {written} each"))?;
    equal("memory", most < MEMORY, true).map_err(|fault| format!("{fault}: {most}"))?;
    bystander.stop()
}

/// A client sends as fast as the upstream takes, no faster.
fn slow_upstream() -> Result<(), String> {
    let upstream = Upstream::start(|mut visit| {
        let Some(head) = visit.head()? else { return Ok(()) };
        if head.target() != "/upload" {
            return visit.socket.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
        }
        // Nothing is read, until the other side ends.
        visit.socket.wait_for_end_without_reading()
    })?;
    let manager = json!({"timeouts": {"streamIdle": "0.5s"}});
    let served = Served::start(manager, vec![cluster("up", &[upstream.port], json!({}))])?;
    let bystander = Bystander::start(served.port);
    let before = resident_memory();
    let mut client = Socket::connect(served.port)?;
    client.send(format!("POST /upload HTTP/1.1\r\nhost: a.test\r\ncontent-length: {GUSH}\r\n\r\n"))?;
    let mut sent = 0;
    while sent < GUSH && client.send(&PART[..]).is_ok() {
        sent += PART.len();
    }
    equal("held back", sent < SOCKET_BUFFERS, true).map_err(|fault| format!("{fault}: {sent}"))?;
    let grown = resident_memory().saturating_sub(before);
    equal("memory", grown < MEMORY, true).map_err(|fault| format!("{fault}: {grown}"))?;
    bystander.stop()
}

/// Those beyond the bound are closed at once, those within it are served, and room comes back.
fn too_many_connections() -> Result<(), String> {
    let upstream = Upstream::answering(OK, After::Keep)?;
    let more = json!({"overload": {"maxConnections": 4}});
    let served = Served::start_with(json!({}), vec![cluster("up", &[upstream.port], json!({}))], more)?;
    let mut within = Vec::new();
    for _ in 0..4 {
        within.push(ask(served.port, &get("/"))?);
    }
    for _ in 0..20 {
        let mut client = Socket::connect(served.port)?;
        equal("what follows", client.rest()?.0, Vec::new())?;
    }
    for (_, client) in &mut within {
        client.send(get("/"))?;
        equal("status", http1::read(client, Kind::Response("GET"))?.ok_or("no answer")?.status(), 200)?;
    }
    drop(within);
    let back = wait_until(Duration::from_secs(30), || ask(served.port, &get("/")).is_ok());
    equal("room comes back", back, true)
}
