//! TCP connections from end to end: who ends them and how, what the other side sees, and the log, in both proxies.

use crate::data_path::beside::{Both, Row, compare};
use crate::data_path::{BlackHole, Refusing, equal, trial};
use libtest_mimic::Trial;
use outrigger_tests::raw::{After, Socket, Upstream, Visit, cluster, merged};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

pub(super) fn trials() -> Vec<Trial> {
    vec![trial("tcp::connections", connections)]
}

/// Who waits for so long for the other side gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one TCP connection is to look like.
struct Tcp {
    /// Of the cluster.
    settings: Value,
    /// Of the listener's proxy.
    proxy: Value,
    endpoint: Endpoint,
    /// What the upstream does: what it saw.
    upstream: fn(Visit) -> Result<String, String>,
    /// What the client does: what it saw.
    client: fn(Socket) -> Result<String, String>,
}

/// The upstream's end.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Endpoint {
    /// Somebody listens, and gets the connection.
    Reached,
    /// Somebody listens, and is not to get it.
    Spared,
    /// Nobody listens.
    Refuses,
    /// Connecting to it takes for ever.
    Hangs,
}

fn connections() -> Result<(), String> {
    let scene = |client, upstream| {
        let (settings, proxy) = (json!({}), json!({}));
        Tcp { settings, proxy, endpoint: Endpoint::Reached, client, upstream }
    };
    let waits = || scene(waits_for_the_end, |visit| waits_for_the_end(visit.socket));
    let alone = |endpoint| Tcp { endpoint, ..waits() };
    let idle = json!({"idleTimeout": "1s"});
    let full = json!({"circuitBreakers": {"maxConnections": 0}});
    let empty = json!({"cluster": "empty"});
    let same = |text| [text; 2];
    // What ends without having been served is a reset here: no bytes and a plain end would be an answer to some. Envoy
    // says it in its log alone.
    let rows: Vec<Row<Tcp>> = vec![
        (
            "the client ends first",
            scene(asks_and_ends, answers_at_the_end),
            same(r#""answer" Closed "question" Closed; - 8 in 6 out"#),
        ),
        (
            "the upstream ends first",
            scene(answers_what_it_got, says_and_ends),
            same(r#""question" Closed "answer" Closed; - 6 in 8 out"#),
        ),
        ("the client resets", scene(resets_after_a_word, says_a_word), same(r#""word" "" Reset; - 0 in 4 out"#)),
        ("the upstream resets", scene(says_and_waits, hears_and_resets), same(r#""" Reset "word"; UR 4 in 0 out"#)),
        (
            "silence",
            Tcp { proxy: idle, ..waits() },
            [r#""" Reset "" Reset; SI 0 in 0 out"#, r#""" Closed "" Closed; - 0 in 0 out"#],
        ),
        (
            "nobody listens",
            alone(Endpoint::Refuses),
            [r#""" Reset; UF,URX 0 in 0 out"#, r#""" Closed; UF,URX 0 in 0 out"#],
        ),
        (
            "a connection too many",
            Tcp { settings: full, ..alone(Endpoint::Spared) },
            [r#""" Reset; UO 0 in 0 out"#, r#""" Closed; UO 0 in 0 out"#],
        ),
        (
            "no endpoint",
            Tcp { proxy: empty, ..alone(Endpoint::Spared) },
            [r#""" Reset; UH 0 in 0 out"#, r#""" Closed; UH 0 in 0 out"#],
        ),
        (
            "the client goes while the upstream takes its time",
            Tcp { settings: json!({"connectTimeout": "0.2s"}), client: resets, ..alone(Endpoint::Hangs) },
            same("gone; UF,URX 0 in 0 out"),
        ),
    ];
    compare(&rows, run)
}

/// What both proxies do with a connection, and log.
fn run(row: &Tcp) -> Result<[String; 2], String> {
    let (tell, told) = channel();
    let (tell, script) = (Mutex::new(tell), row.upstream);
    let upstream = Upstream::start(move |visit| {
        let saw = script(visit)?;
        let tell = tell.lock().map_err(|error| error.to_string())?;
        tell.send(saw).map_err(|error| error.to_string())
    })?;
    let (refusing, hanging) = (Refusing::new()?, BlackHole::new()?);
    let port = match row.endpoint {
        Endpoint::Reached | Endpoint::Spared => upstream.port,
        Endpoint::Refuses => refusing.port()?,
        Endpoint::Hangs => hanging.port()?,
    };
    let clusters = vec![cluster("up", &[port], row.settings.clone()), cluster("empty", &[], json!({}))];
    let format = "%RESPONSE_FLAGS% %BYTES_RECEIVED% in %BYTES_SENT% out";
    let proxy = json!({"cluster": "up", "accessLog": {"format": format}});
    let both = Both::start(json!({"tcpProxy": merged(proxy, &row.proxy)}), clusters, json!({}))?;
    let found = both.logged(|port| {
        let client = (row.client)(Socket::connect(port)?)?;
        if row.endpoint != Endpoint::Reached {
            return Ok(client);
        }
        Ok(format!("{client} {}", told.recv_timeout(PATIENCE).map_err(|error| error.to_string())?))
    })?;
    let expected = if row.endpoint == Endpoint::Reached { 2 } else { 0 };
    equal("connections upstream", upstream.connections(), expected)?;
    Ok(found)
}

fn saw(mut socket: Socket) -> Result<String, String> {
    let (bytes, ended) = socket.rest()?;
    Ok(format!("{:?} {ended:?}", String::from_utf8_lossy(&bytes)))
}

fn waits_for_the_end(socket: Socket) -> Result<String, String> {
    saw(socket)
}

fn asks_and_ends(mut client: Socket) -> Result<String, String> {
    client.send("question")?;
    client.half_close();
    saw(client)
}

fn answers_at_the_end(mut visit: Visit) -> Result<String, String> {
    let (question, ended) = visit.socket.rest()?;
    visit.socket.send("answer")?;
    Ok(format!("{:?} {ended:?}", String::from_utf8_lossy(&question)))
}

fn says_and_ends(mut visit: Visit) -> Result<String, String> {
    visit.socket.send("question")?;
    visit.socket.half_close();
    saw(visit.socket)
}

fn answers_what_it_got(mut client: Socket) -> Result<String, String> {
    let (question, ended) = client.rest()?;
    client.send("answer")?;
    Ok(format!("{:?} {ended:?}", String::from_utf8_lossy(&question)))
}

fn resets_after_a_word(mut client: Socket) -> Result<String, String> {
    let word = client.take(4)?;
    client.reset();
    Ok(format!("{:?}", String::from_utf8_lossy(&word.unwrap_or_default())))
}

fn says_and_waits(mut client: Socket) -> Result<String, String> {
    client.send("word")?;
    saw(client)
}

fn hears_and_resets(mut visit: Visit) -> Result<String, String> {
    let word = visit.socket.take(4)?;
    visit.after(After::Reset)?;
    Ok(format!("{:?}", String::from_utf8_lossy(&word.unwrap_or_default())))
}

fn resets(client: Socket) -> Result<String, String> {
    client.reset();
    Ok("gone".to_owned())
}

fn says_a_word(mut visit: Visit) -> Result<String, String> {
    visit.socket.send("word")?;
    saw(visit.socket)
}
