//! The data path over raw sockets: what hostile or broken neighbours say, and what the proxy makes of it.

mod answers;
mod beside;
mod catalogue;
mod combinations;
mod floods;
mod handshakes;
mod http2_requests;
mod limits;
mod mutated;
mod operation;
mod requests;
mod retries;
mod tcp;
mod timeouts;
mod tunnels;

use libtest_mimic::{Failed, Trial};
use outrigger_tests::raw::http1::{self, Kind};
use outrigger_tests::raw::{Message, Socket};
use serde_json::{Value, json};
use std::net::TcpListener;

/// A 200 with the body `ok`, on a connection that goes on.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The tests.
pub(crate) fn trials() -> Vec<Trial> {
    let all = [
        requests::trials(),
        mutated::trials(),
        answers::trials(),
        beside::trials(),
        tcp::trials(),
        handshakes::trials(),
        catalogue::trials(),
        retries::trials(),
        timeouts::trials(),
        limits::trials(),
        http2_requests::trials(),
        combinations::trials(),
        tunnels::trials(),
        floods::trials(),
        operation::trials(),
    ];
    all.into_iter().flatten().collect()
}

/// A listener whose requests go where routes of a VirtualService say.
fn routed(routes: Vec<Value>) -> Value {
    let rules = json!({"virtualHosts": [{"name": "all", "domains": ["*"], "routes": routes}]});
    json!({
        "destination": {"clusterHeader": {"name": "x-outrigger-cluster"}},
        "plugins": [{"name": "rules", "module": "header-rules", "configuration": rules}],
    })
}

/// A route for one path.
fn route(path: &str, cluster: &str, more: Value) -> Value {
    let route = json!({"match": [{"uri": {"exact": path}}], "cluster": cluster});
    outrigger_tests::raw::merged(route, &more)
}

/// A port of the loopback address at which nobody listens, as long as this lives.
struct Refusing(socket2::Socket);

impl Refusing {
    fn new() -> Result<Self, String> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into();
        let bound = socket.and_then(|socket| socket.bind(&address).map(|()| socket));
        bound.map(Self).map_err(|error| error.to_string())
    }

    fn port(&self) -> Result<u16, String> {
        let address = self.0.local_addr().map_err(|error| error.to_string())?;
        address.as_socket().map(|address| address.port()).ok_or_else(|| "no address".into())
    }
}

/// A port at which connections are neither accepted nor refused, as long as this lives: its queue is full.
struct BlackHole {
    listener: TcpListener,
    _queued: Vec<socket2::Socket>,
}

impl BlackHole {
    fn new() -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let refusing = Refusing::new()?;
        refusing.0.listen(1).map_err(text)?;
        let listener = TcpListener::from(refusing.0);
        let address = listener.local_addr().map_err(text)?.into();
        let mut queued = Vec::new();
        for _ in 0..8 {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).map_err(text)?;
            socket.set_nonblocking(true).map_err(text)?;
            // Under way, whatever becomes of it.
            let _ = socket.connect(&address);
            queued.push(socket);
        }
        Ok(Self { listener, _queued: queued })
    }

    fn port(&self) -> Result<u16, String> {
        self.listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
    }
}

/// Sends a request on a new connection: its answer, and the connection.
fn ask(port: u16, request: &str) -> Result<(Message, Socket), String> {
    let mut client = Socket::connect(port)?;
    client.send(request)?;
    let method = request.split(' ').next().unwrap_or_default();
    let answer = http1::read(&mut client, Kind::Response(method))?.ok_or("no answer")?;
    Ok((answer, client))
}

/// A GET of a path.
fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n")
}

/// A test of the data path.
fn trial(name: &str, run: fn() -> Result<(), String>) -> Trial {
    Trial::test(format!("data_path::{name}"), move || run().map_err(Failed::from))
}

/// Runs every row of a table: those that are not as they should be.
fn each<R>(
    rows: impl IntoIterator<Item = R>,
    mut run: impl FnMut(&R) -> Result<(), (String, String)>,
) -> Result<(), String> {
    let wrong = rows.into_iter().filter_map(|row| run(&row).err());
    let wrong: Vec<String> = wrong.map(|(name, fault)| format!("{name}: {fault}")).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// What is not equal, as an error.
fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found:?}, not {expected:?}")) }
}
