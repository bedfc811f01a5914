//! `cargo bench -p outrigger-benches --bench filters [-- sizes | instructions | configure | time | envoy]`
//!
//! Sizes of the modules, guest instructions per request as configurations grow, cost of configuring 10,000 rules, time
//! per request in wasmtime, and CPU per request in stock Envoy beside five trivial filters made with the Rust SDK.

use outrigger_benches::configurations::{INDEXED, LINEAR, Shape, combined, six_filters};
use outrigger_benches::envoy_load::{Envoy, Upstream};
use outrigger_benches::guest::Guest;
use outrigger_tests::{optimised, tools};
use serde_json::Value;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

type Outcome = Result<(), Box<dyn Error>>;
type Section = fn() -> Outcome;

fn main() -> Outcome {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let sections: [(&str, Section); 5] =
        [("sizes", sizes), ("instructions", instructions), ("configure", configure), ("time", time), ("envoy", envoy)];
    for (name, section) in sections {
        if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
            println!("\n## {name}");
            section()?;
        }
    }
    Ok(())
}

/// The optimised module's bytes: what ships.
fn module(name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    Ok(std::fs::read(optimised::path(name)?)?)
}

fn sizes() -> Outcome {
    println!("| module | bytes | share of 200 KB |\n|---|---|---|");
    let mut six = 0;
    for embedded in modules::ALL {
        let size = module(embedded.name)?.len();
        six += if embedded.name == "traffic" { 0 } else { size };
        println!("| {} | {size} | {:.0} % |", embedded.name, size as f64 / 2048.0);
    }
    println!("| the six single ones | {six} | {:.0} % of 1 MB |", six as f64 / 10_485.76);
    Ok(())
}

/// An ordinary request with some headers replaced. A `principal` is no header: it becomes a property.
fn request(own: &[(String, String)]) -> Vec<(String, String)> {
    let ordinary = [
        (":authority", "store.example.com"),
        (":path", "/item/x"),
        (":method", "GET"),
        (":scheme", "http"),
        ("user-agent", "bench/1"),
        ("accept", "*/*"),
        ("accept-language", "en"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "0f2c5a0e-6a0b-4f53-9d5e-2f6a5c1b7d11"),
    ];
    let mut headers: Vec<(String, String)> = ordinary
        .iter()
        .filter(|(name, _)| own.iter().all(|(own, _)| own != name))
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    headers.extend(own.iter().filter(|(name, _)| name != "principal").cloned());
    headers
}

fn run_shape(shape: &Shape, n: usize, count: bool, requests: usize) -> Result<(u64, Duration, u64), Box<dyn Error>> {
    let (mut guest, _) = Guest::configure(&module(shape.module)?, &(shape.configuration)(n).to_string(), count)?;
    let own = (shape.request)(n);
    if let Some((_, principal)) = own.iter().find(|(name, _)| name == "principal") {
        guest.property("connection.mtls", &[1]);
        guest.property("connection.uri_san_peer_certificate", principal.as_bytes());
    }
    let headers = request(&own);
    let mut times = Vec::with_capacity(requests);
    let mut last = guest.request(&headers)?;
    for _ in 0..requests {
        last = guest.request(&headers)?;
        times.push(last.time);
        if last.action != 0 {
            return Err(format!("{} with {n} entries: the request was not let through", shape.name).into());
        }
    }
    times.sort_unstable();
    Ok((last.instructions, times[times.len() / 2], last.hostcalls))
}

fn instructions() -> Outcome {
    println!("Guest instructions per request (create, request headers, delete), by number of entries.\n");
    println!("| shape | 10 | 100 | 1,000 | 10,000 | 10,000 ÷ 10 | hostcalls |\n|---|---|---|---|---|---|---|");
    for shape in &INDEXED {
        let mut row = Vec::new();
        let mut hostcalls = 0;
        for n in [10, 100, 1_000, 10_000] {
            let (count, _, calls) = run_shape(shape, n, true, 2)?;
            row.push(count);
            hostcalls = calls;
        }
        print_row(shape.name, &row, hostcalls);
    }
    println!("\nShapes no index helps, with 10, 100 and 1,000 entries:\n");
    println!("| shape | 10 | 100 | 1,000 | 1,000 ÷ 10 | hostcalls |\n|---|---|---|---|---|---|");
    for shape in &LINEAR {
        let counts: Result<Vec<_>, _> = [10, 100, 1_000].iter().map(|&n| run_shape(shape, n, true, 2)).collect();
        let counts = counts?;
        print_row(shape.name, &counts.iter().map(|(count, ..)| *count).collect::<Vec<_>>(), counts[0].2);
    }
    Ok(())
}

fn print_row(name: &str, row: &[u64], hostcalls: u64) {
    let cells: Vec<String> = row.iter().map(u64::to_string).collect();
    let ratio = row[row.len() - 1] as f64 / row[0] as f64;
    println!("| {name} | {} | {ratio:.2} | {hostcalls} |", cells.join(" | "));
}

fn configure() -> Outcome {
    println!("| 10,000 entries of | configuration, KiB | configure, ms | guest memory, MiB |\n|---|---|---|---|");
    for shape in &INDEXED {
        let configuration = (shape.configuration)(10_000).to_string();
        let (_, cost) = Guest::configure(&module(shape.module)?, &configuration, false)?;
        let (kib, millis) = (configuration.len() / 1024, cost.time.as_secs_f64() * 1e3);
        println!("| {} | {kib} | {millis:.0} | {:.1} |", shape.name, cost.memory as f64 / 1_048_576.0);
    }
    Ok(())
}

fn time() -> Outcome {
    println!("Wall time per request in wasmtime (median of 2,000), host side included.\n");
    println!("| shape | 10 entries, ns | 10,000 entries, ns |\n|---|---|---|");
    for shape in &INDEXED {
        let (_, few, _) = run_shape(shape, 10, false, 2_000)?;
        let (_, many, _) = run_shape(shape, 10_000, false, 2_000)?;
        println!("| {} | {} | {} |", shape.name, few.as_nanos(), many.as_nanos());
    }
    Ok(())
}

/// Requests per measurement, and rounds: short enough that a busy machine disturbs a whole round or none.
const REQUESTS: usize = 20_000;
const ROUNDS: usize = 7;

fn envoy() -> Outcome {
    let directory = tempdir()?;
    let upstream = Upstream::start()?;
    let binary = tools::envoy()?;
    let baseline = sdk_baseline()?;
    let paths: Vec<(PathBuf, Value)> = six_filters()
        .into_iter()
        .map(|(name, value)| Ok((optimised::path(name)?, value)))
        .collect::<Result<_, Box<dyn Error>>>()?;
    let six: Vec<(&Path, Value)> = paths.iter().map(|(path, value)| (path.as_path(), value.clone())).collect();
    let traffic = optimised::path("traffic")?;
    let setups: [(&str, Vec<(&Path, Value)>); 4] = [
        ("no filter", vec![]),
        ("five trivial SDK filters", vec![(baseline.as_path(), serde_json::json!({})); 5]),
        ("our six, chained", six),
        ("our six, one module", vec![(traffic.as_path(), combined())]),
    ];
    let mut proxies = Vec::new();
    for (_, filters) in &setups {
        let proxy = Envoy::start(&binary, filters, upstream.port, &directory)?;
        proxy.cpu_per_request(2_000)?;
        proxies.push(proxy);
    }
    let mut rounds: Vec<Vec<Duration>> = Vec::new();
    for round in 0..ROUNDS {
        let mut costs = vec![Duration::ZERO; proxies.len()];
        let order: Vec<usize> =
            if round % 2 == 0 { (0..proxies.len()).collect() } else { (0..proxies.len()).rev().collect() };
        for i in order {
            costs[i] = proxies[i].cpu_per_request(REQUESTS)?;
        }
        rounds.push(costs);
    }
    report(&setups.map(|(name, _)| name), &rounds);
    Ok(())
}

fn report(names: &[&str], rounds: &[Vec<Duration>]) {
    println!("CPU µs per request, {ROUNDS} interleaved rounds of {REQUESTS} requests; added = over no filter;");
    println!("ratio = added ÷ added by five trivial SDK filters, median (min–max) of the rounds.\n");
    println!("| Envoy with | CPU µs | added µs | ratio |\n|---|---|---|---|");
    for (i, name) in names.iter().enumerate() {
        let micros = |round: &Vec<Duration>| round[i].as_secs_f64() * 1e6;
        let added = |round: &Vec<Duration>| micros(round) - round[0].as_secs_f64() * 1e6;
        let ratio = |round: &Vec<Duration>| added(round) / ((round[1].as_secs_f64() - round[0].as_secs_f64()) * 1e6);
        let (cpu, more, share) = (spread(rounds, micros), spread(rounds, added), spread(rounds, ratio));
        println!("| {name} | {:.1} | {:.1} | {:.2} ({:.2}–{:.2}) |", cpu.1, more.1, share.1, share.0, share.2);
    }
}

/// Minimum, median and maximum of a figure over the rounds.
fn spread(rounds: &[Vec<Duration>], figure: impl Fn(&Vec<Duration>) -> f64) -> (f64, f64, f64) {
    let mut values: Vec<f64> = rounds.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}

fn tempdir() -> std::io::Result<PathBuf> {
    let directory = std::env::temp_dir().join(format!("outrigger-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Builds the SDK filter that ours are measured against.
fn sdk_baseline() -> Result<PathBuf, Box<dyn Error>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk-baseline");
    let target = tools::directory().join("sdk-baseline");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "module", "--target", "wasm32-wasip1", "--manifest-path"])
        .arg(manifest.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()?;
    if !status.success() {
        return Err("the SDK baseline does not build".into());
    }
    Ok(target.join("wasm32-wasip1/module/sdk_baseline.wasm"))
}
