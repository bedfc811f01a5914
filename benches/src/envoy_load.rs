//! CPU per request of stock Envoy under a closed loop of requests.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// Connections of the load.
const CONNECTIONS: usize = 16;
/// The upstream's answer carries this many bytes.
const BODY: usize = 1024;
/// An ordinary request: nine headers.
const REQUEST: &str = "GET /store/items?page=2 HTTP/1.1\r\nhost: store.example.com\r\nuser-agent: bench/1\r\naccept: */*\r\n\
    accept-language: en\r\naccept-encoding: gzip\r\nx-user: 4711\r\nx-tenant: blue\r\ncookie: session=abcdef0123456789\r\n\
    x-forwarded-for: 10.1.2.3\r\n\r\n";

/// A stock Envoy with some Wasm filters before its router.
pub struct Envoy {
    child: Child,
    port: u16,
}

impl Envoy {
    /// Starts Envoy with one worker, pinned to the first CPU. `filters`: module file and plugin configuration.
    ///
    /// # Errors
    /// When it cannot be started or does not listen within ten seconds.
    pub fn start(binary: &Path, filters: &[(&Path, Value)], upstream: u16, directory: &Path) -> io::Result<Self> {
        let port = free_port()?;
        let file = directory.join(format!("envoy-{port}.json"));
        fs::write(&file, bootstrap(filters, port, upstream).to_string())?;
        let log = fs::File::create(file.with_extension("log"))?;
        let child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(binary)
            .args(["--concurrency", "1", "--use-dynamic-base-id", "-l", "warning", "-c"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let envoy = Self { child, port };
        envoy.wait_until_serving()?;
        Ok(envoy)
    }

    fn wait_until_serving(&self) -> io::Result<()> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let answer = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
                let mut buffer = Vec::new();
                exchange(&mut stream, &mut buffer)
            });
            match answer {
                Ok(status) if status.starts_with(b"HTTP/1.1 200") => return Ok(()),
                Ok(status) => return Err(io::Error::other(String::from_utf8_lossy(&status).into_owned())),
                Err(error) if Instant::now() > end => return Err(error),
                Err(_) => thread::park_timeout(Duration::from_millis(50)),
            }
        }
    }

    /// CPU time per request, user and system, over `requests` requests.
    ///
    /// # Errors
    /// When a request is not answered with 200.
    pub fn cpu_per_request(&self, requests: usize) -> io::Result<Duration> {
        let before = cpu_time(self.child.id())?;
        load(self.port, requests)?;
        let spent = cpu_time(self.child.id())?.saturating_sub(before);
        Ok(spent / u32::try_from(requests).unwrap_or(u32::MAX))
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// User and system time of a process, by its scheduler's clock (nanoseconds), not by ticks.
fn cpu_time(pid: u32) -> io::Result<Duration> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        total += text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(total))
}

fn load(port: u16, requests: usize) -> io::Result<()> {
    let left = Arc::new(AtomicUsize::new(requests));
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let left = left.clone();
            thread::spawn(move || -> io::Result<()> {
                let mut stream = TcpStream::connect(("127.0.0.1", port))?;
                stream.set_nodelay(true)?;
                let mut buffer = Vec::new();
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                    let status = exchange(&mut stream, &mut buffer)?;
                    if !status.starts_with(b"HTTP/1.1 200") {
                        return Err(io::Error::other(String::from_utf8_lossy(&status).into_owned()));
                    }
                }
                Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| io::Error::other("a load thread panicked"))??;
    }
    Ok(())
}

/// One request; the answer's status line.
fn exchange(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    stream.write_all(REQUEST.as_bytes())?;
    buffer.clear();
    let mut chunk = [0; 4096];
    loop {
        let size = stream.read(&mut chunk)?;
        if size == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.extend_from_slice(&chunk[..size]);
        if let Some(end) = find(buffer, b"\r\n\r\n")
            && buffer.len() >= end + 4 + content_length(&buffer[..end])
        {
            let line = find(buffer, b"\r\n").unwrap_or(end);
            return Ok(buffer[..line].to_vec());
        }
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// An upstream that answers every request; stops when dropped.
pub struct Upstream {
    /// Where it listens.
    pub port: u16,
    stop: Arc<AtomicBool>,
}

impl Upstream {
    /// Starts it on a free port of the loopback address.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                thread::spawn(move || answer(stream));
            }
        });
        Ok(Self { port, stop })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {BODY}\r\n\r\n");
    let response = [head.as_bytes(), &[b'x'; BODY]].concat();
    let mut pending = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let size = stream.read(&mut chunk)?;
        if size == 0 {
            return Ok(());
        }
        pending.extend_from_slice(&chunk[..size]);
        while let Some(end) = find(&pending, b"\r\n\r\n") {
            pending.drain(..end + 4);
            stream.write_all(&response)?;
        }
    }
}

fn bootstrap(filters: &[(&Path, Value)], port: u16, upstream: u16) -> Value {
    let mut http_filters: Vec<Value> = filters
        .iter()
        .enumerate()
        .map(|(i, (module, configuration))| {
            json!({
                "name": format!("wasm{i}"),
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                    "config": {
                        "name": format!("wasm{i}"),
                        "root_id": format!("wasm{i}"),
                        // A VM each, as separate plugins have.
                        "vm_config": {
                            "vm_id": format!("vm{i}"),
                            "runtime": "envoy.wasm.runtime.v8",
                            "code": {"local": {"filename": module}},
                        },
                        "configuration": {
                            "@type": "type.googleapis.com/google.protobuf.StringValue",
                            "value": configuration.to_string(),
                        },
                    },
                },
            })
        })
        .collect();
    http_filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    }));
    let route = json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/", "headers": [{"name": "x-outrigger-cluster", "present_match": true}]},
         "route": {"cluster_header": "x-outrigger-cluster"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}},
    ]}]});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": route,
        "http_filters": http_filters,
    });
    json!({"static_resources": {
        "listeners": [{
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"filters": [
                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
        }],
        "clusters": [cluster("upstream", upstream), cluster("upstream2", upstream)],
    }})
}

fn cluster(name: &str, port: u16) -> Value {
    let endpoint = json!({"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}});
    json!({"name": name, "type": "STATIC", "load_assignment": {
        "cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}})
}
