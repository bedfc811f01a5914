//! A delay, an abort, a split, a mirrored copy and a refusal, in stock Envoy on the loopback address.

use outrigger_tests::case_file::{Body, Bytes, Request};
use outrigger_tests::client::Client;
use outrigger_tests::engine::Observed;
use outrigger_tests::{optimised, tools};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const BOOTSTRAP: &str = include_str!("../../envoy-configs/examples/traffic/envoy.yaml");
/// Where the bootstrap listens.
const PROXY: u16 = 10000;
const ADMIN: u16 = 9901;
/// Requests of the split, and how far from 20 % v2 may be: four standard deviations.
const SPLIT: usize = 500;
const SPLIT_OFF: f64 = 36.0;

/// Runs the demo until Envoy ends, or, with `once`, takes the tour.
pub(crate) fn run(once: bool) -> Result<(), String> {
    let directory = tools::target_directory().join("demo");
    let bootstrap = write_bootstrap(&directory)?;
    let log = directory.join("envoy.log");
    let mut envoy = Envoy(start(&bootstrap, &log)?);
    let runtime = Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(ready(&mut envoy, &log))?;
    println!("Stock Envoy runs with all six filters, configured in\n  {}\n", bootstrap.display());
    if once {
        return runtime.block_on(tour(&log));
    }
    println!("In another terminal:\n{}", tries());
    println!("Edit the file and start again to change what happens. Requests are logged in {}.", log.display());
    envoy.0.wait().map_err(|error| error.to_string()).map(|_| ())
}

/// An Envoy that ends with the demo.
struct Envoy(Child);

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example bootstrap, unless the user has edited one already.
fn write_bootstrap(directory: &Path) -> Result<PathBuf, String> {
    let at = |error: std::io::Error| format!("{}: {error}", directory.display());
    fs::create_dir_all(directory).map_err(at)?;
    let file = directory.join("envoy.yaml");
    if !file.exists() {
        let module = optimised::path("traffic")?.display().to_string();
        fs::write(&file, BOOTSTRAP.replace("target/wasm/traffic.wasm", &module)).map_err(at)?;
    }
    Ok(file)
}

fn start(bootstrap: &Path, log: &Path) -> Result<Child, String> {
    let output = fs::File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    let mut command = Command::new(tools::envoy()?);
    command.args(["--use-dynamic-base-id", "-l", "warning", "--file-flush-interval-msec", "50", "-c"]).arg(bootstrap);
    command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().map_err(|error| error.to_string())
}

async fn ready(envoy: &mut Envoy, log: &Path) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end {
        if let Ok(Some(status)) = envoy.0.try_wait() {
            let said = fs::read_to_string(log).unwrap_or_default();
            return Err(format!("Envoy ended with {status}:\n{said}"));
        }
        if get(ADMIN, "/ready", &[], None).await.is_ok_and(|answer| answer.body.starts_with(b"LIVE")) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("Envoy is not ready after half a minute".into())
}

/// What the bootstrap's own head says to try.
fn tries() -> String {
    BOOTSTRAP
        .lines()
        .filter_map(|line| line.strip_prefix("#   curl").or_else(|| line.strip_prefix("#   for")))
        .zip(1..)
        .map(|(line, _)| {
            let word = if line.contains("seq") { "for" } else { "curl" };
            format!("  {word}{line}\n")
        })
        .collect()
}

/// Every result checked; the first that is wrong ends the tour.
async fn tour(log: &Path) -> Result<(), String> {
    let held = get(PROXY, "/", &[("end-user", "jason")], None).await?;
    check("a delay: jason waits two seconds", held.status == 200 && held.held >= Duration::from_secs(2), &held)?;
    let aborted = get(PROXY, "/checkout", &[], None).await?;
    check("an abort: /checkout answers 503", aborted.status == 503 && aborted.body == b"fault filter abort", &aborted)?;
    let mut second = 0;
    let mut last = Observed::default();
    for _ in 0..SPLIT {
        last = get(PROXY, "/", &[], None).await?;
        second += usize::from(last.body == b"v2\n");
    }
    let off = (second as f64 - 0.2 * SPLIT as f64).abs();
    check(&format!("a split: {second} of {SPLIT} requests went to v2"), off <= SPLIT_OFF, &last)?;
    let ordered = get(PROXY, "/orders", &[], Some("{\"item\": 1}")).await?;
    let copied = copied(log).await;
    check("a mirrored copy of an order arrived", ordered.status == 200 && copied, &ordered)?;
    let refused = get(PROXY, "/admin", &[], None).await?;
    let denied = refused.status == 403 && refused.body == b"RBAC: access denied";
    check("a refusal: /admin answers 403", denied, &refused)
}

fn check(what: &str, right: bool, observed: &Observed) -> Result<(), String> {
    if right {
        println!("ok    {what}");
        return Ok(());
    }
    let body = String::from_utf8_lossy(&observed.body);
    Err(format!("not so: {what}; the last answer was {} after {:?}: {body}", observed.status, observed.held))
}

/// Whether the mirror's access log shows the copy, which may come a little later.
async fn copied(log: &Path) -> bool {
    for _ in 0..100 {
        if fs::read_to_string(log).is_ok_and(|log| log.contains("at mirror: POST /orders")) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

async fn get(port: u16, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Result<Observed, String> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Bytes::Text((*value).to_owned())));
    let request = Request {
        method: if body.is_some() { "POST" } else { "GET" }.to_owned(),
        path: path.to_owned(),
        headers: headers.collect(),
        body: body.map(|body| Body::Text(body.to_owned())),
        ..Request::default()
    };
    Client::connect(port, None).await?.send(&request, "demo").await
}
