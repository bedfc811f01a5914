//! `cargo bench -p outrigger-benches --bench proxies [-- http1 http2 mtls paced start connections hostcalls
//! system-calls instructions] [rounds=5] [requests=20000]`
//!
//! Our proxy beside stock Envoy with the same modules, Envoy's native filters, haproxy and nginx: one worker each, on
//! loopback, in interleaved rounds. The figure to look at is CPU time for a request, as the ratio within a round.

use outrigger_benches::configurations::{combined, six_filters};
use outrigger_benches::count;
use outrigger_benches::figures::{Figure, Report};
use outrigger_benches::load::{Load, Protocol};
use outrigger_benches::process::LOAD_CPU;
use outrigger_benches::proxies::{
    Filters, Kind, Listener, Plugin, Proxy, Setup, StartError, Surroundings, binary, module_cache,
};
use outrigger_benches::rounds::{self, Contestant, Measured, Paced, Saturated};
use outrigger_benches::sdk;
use outrigger_benches::tls::Certificates;
use outrigger_benches::upstream::Upstream;
use outrigger_tests::optimised;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

type Outcome = Result<(), Box<dyn Error>>;

/// What the command line says.
struct Options {
    sections: Vec<String>,
    rounds: usize,
    requests: usize,
}

/// What every section works with.
struct Bench {
    options: Options,
    surroundings: Inputs,
    modules: Modules,
    report: Report,
}

/// Everything that configurations name.
struct Inputs {
    upstream: Upstream,
    directory: PathBuf,
    certificates: Certificates,
}

/// The filters, as files.
struct Modules {
    baseline: PathBuf,
    hostcalls: PathBuf,
    six: Vec<(PathBuf, &'static str)>,
    traffic: PathBuf,
}

type Section = fn(&mut Bench) -> Outcome;

const SECTIONS: [(&str, Section); 9] = [
    ("http1", http1),
    ("http2", http2),
    ("mtls", mtls),
    ("paced", paced),
    ("start", start),
    ("connections", connections),
    ("hostcalls", hostcalls),
    ("system-calls", system_calls),
    ("instructions", instructions),
];

fn main() -> Outcome {
    settle_down()?;
    let mut bench = Bench::new(Options::read())?;
    println!("Our proxy is {}.", binary()?.display());
    for (name, section) in SECTIONS {
        let chosen = &bench.options.sections;
        if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
            println!("\n## {name}\n");
            section(&mut bench)?;
        }
    }
    println!("\n## goals\n\n{}", bench.report);
    Ok(())
}

/// Runs this program anew on its own CPU, and at real-time priority where that is allowed: proxies inherit it, and
/// what else runs on the machine then disturbs less.
fn settle_down() -> Outcome {
    const SETTLED: &str = "--settled";
    if std::env::args().any(|argument| argument == SETTLED) {
        return Ok(());
    }
    let real_time = Command::new("chrt").args(["-f", "1", "true"]).status().is_ok_and(|status| status.success());
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_CPU]);
    if real_time {
        command.args(["chrt", "-f", "1"]);
    }
    println!("Real-time priority: {}.", if real_time { "yes" } else { "no, expect noise" });
    Err(command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).arg(SETTLED).exec().into())
}

impl Options {
    fn read() -> Self {
        let mut options = Self { sections: Vec::new(), rounds: 5, requests: 20_000 };
        for argument in std::env::args().skip(1).filter(|argument| !argument.starts_with('-')) {
            let number = |text: &str| text.parse().ok();
            match argument.split_once('=') {
                Some(("rounds", text)) => options.rounds = number(text).unwrap_or(options.rounds),
                Some(("requests", text)) => options.requests = number(text).unwrap_or(options.requests),
                _ => options.sections.push(argument),
            }
        }
        options
    }
}

impl Bench {
    fn new(options: Options) -> Result<Self, Box<dyn Error>> {
        // As many connections as a section opens; the proxies inherit it.
        let most = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?;
        let directory = std::env::temp_dir().join(format!("outrigger-bench-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let certificates = Certificates::make(&directory)?;
        let six = six_filters().into_iter().map(|(name, _)| Ok((optimised::path(name)?, name)));
        let modules = Modules {
            baseline: sdk::build("sdk-baseline")?,
            hostcalls: sdk::build("sdk-hostcalls")?,
            six: six.collect::<Result<_, String>>()?,
            traffic: optimised::path("traffic")?,
        };
        let surroundings = Inputs { upstream: Upstream::start()?, directory, certificates };
        let bench = Self { options, surroundings, modules, report: Report::default() };
        // Compiles what is not in the cache: no figure is to be that of a compiler.
        for filters in [bench.modules.six(0.0), bench.modules.traffic(), bench.modules.trivial(5)] {
            setup(Kind::Outrigger, filters, Listener::HTTP1).start(&bench.surroundings())?;
        }
        setup(Kind::Outrigger, bench.modules.hostcall("hit"), Listener::HTTP1).start(&bench.surroundings())?;
        Ok(bench)
    }

    fn surroundings(&self) -> Surroundings<'_> {
        let Inputs { upstream, directory, certificates } = &self.surroundings;
        Surroundings { upstream: upstream.port, directory, certificates, module_cache: module_cache() }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Logs of a run that failed have been shown.
        let _ = std::fs::remove_dir_all(&self.surroundings.directory);
    }
}

impl Modules {
    /// So many trivial filters as the SDK makes them.
    fn trivial(&self, count: usize) -> Filters {
        let trivial = Plugin { module: self.baseline.clone(), configuration: json!({}) };
        Filters::Wasm(vec![trivial; count])
    }

    /// Our six. `mirrored`: percent of requests; about none for 0.
    fn six(&self, mirrored: f64) -> Filters {
        let configured = six_filters().into_iter().zip(&self.six);
        let plugins = configured.map(|((_, mut configuration), (module, name))| {
            if *name == "mirroring" && mirrored > 0.0 {
                let routes = configuration["routes"].as_object_mut().into_iter().flatten();
                routes.for_each(|(_, route)| route["mirrors"][0]["percentage"] = json!({"value": mirrored}));
            }
            Plugin { module: module.clone(), configuration }
        });
        Filters::Wasm(plugins.collect())
    }

    /// The same as one module.
    fn traffic(&self) -> Filters {
        Filters::Wasm(vec![Plugin { module: self.traffic.clone(), configuration: combined() }])
    }

    /// A filter that makes one hostcall over and over.
    fn hostcall(&self, which: &str) -> Filters {
        Filters::Wasm(vec![Plugin { module: self.hostcalls.clone(), configuration: json!(which) }])
    }
}

fn setup(kind: Kind, filters: Filters, listener: Listener) -> Setup {
    Setup { kind, filters, listener }
}

const NO_FILTER: &str = "no filter";
const TRIVIAL: &str = "five trivial SDK filters";
const SIX: &str = "our six";
const COMBINED: &str = "our six as one";
const SIX_MIRRORING: &str = "our six, 10 % mirrored";
const NATIVE: &str = "its own filters";
const NATIVE_MIRRORING: &str = "its own filters, 10 % mirrored";

/// Everything that is compared at saturation.
fn contestants(modules: &Modules, listener: Listener) -> Vec<Contestant> {
    use Kind::{Envoy, Haproxy, Nginx, Outrigger};
    let mut all = Vec::new();
    let mut add = |kind, name, filters| all.push(Contestant { name, setup: setup(kind, filters, listener) });
    for kind in [Outrigger, Envoy] {
        add(kind, NO_FILTER, Filters::None);
        add(kind, TRIVIAL, modules.trivial(5));
        add(kind, SIX, modules.six(0.0));
        add(kind, COMBINED, modules.traffic());
        add(kind, SIX_MIRRORING, modules.six(10.0));
    }
    add(Envoy, NATIVE, Filters::Native { mirrored: 0.0 });
    add(Envoy, NATIVE_MIRRORING, Filters::Native { mirrored: 10.0 });
    add(Haproxy, NO_FILTER, Filters::None);
    add(Nginx, NO_FILTER, Filters::None);
    all
}

fn http1(bench: &mut Bench) -> Outcome {
    saturate(bench, "HTTP/1.1", Listener::HTTP1, 32)
}

fn http2(bench: &mut Bench) -> Outcome {
    saturate(bench, "HTTP/2", Listener { protocol: Protocol::Http2 { streams: 16 }, tls: false }, 4)
}

fn mtls(bench: &mut Bench) -> Outcome {
    saturate(bench, "mutual TLS", Listener { protocol: Protocol::Http1, tls: true }, 32)
}

/// All proxies at saturation.
fn saturate(bench: &mut Bench, what: &str, listener: Listener, connections: usize) -> Outcome {
    let contestants = contestants(&bench.modules, listener);
    let mut running = rounds::start(&contestants, connections, &bench.surroundings())?;
    for running in running.iter_mut().flatten() {
        // Caches are filled, branches are known.
        rounds::saturated(running, 2_000)?;
    }
    let Options { rounds, requests, .. } = bench.options;
    let measured = rounds::measure(&contestants, &mut running, rounds, |running| rounds::saturated(running, requests))?;
    println!("{rounds} rounds of {requests} requests, {connections} connections; median (least–most).\n");
    println!(
        "| proxy | CPU µs/request | requests/s | busy | RSS MiB | ours with the same ÷ it |\n|---|---|---|---|---|---|"
    );
    for ((kind, name, rounds), running) in measured.rows().zip(&running) {
        let Some(rounds) = rounds else {
            println!("| {kind}, {name} | not installed | | | | |");
            continue;
        };
        let figure = |of: fn(&Saturated) -> f64| Figure::of(rounds.iter().map(of)).map(|figure| figure.to_string());
        let cpu = figure(|round| round.cpu).unwrap_or_default();
        let rate = figure(|round| round.rate).unwrap_or_default();
        let busy = Figure::of(rounds.iter().map(|round| round.busy)).map_or(0.0, |figure| figure.median);
        let memory = running.as_ref().map(|running| running.proxy.process.memory()).transpose()?.unwrap_or(0);
        let ratio = measured.ratio((Kind::Outrigger, same(name)), (kind, name), |round| round.cpu);
        let ratio = ratio.filter(|_| kind != Kind::Outrigger).map_or_else(String::new, |ratio| ratio.to_string());
        println!("| {kind}, {name} | {cpu} | {rate} | {busy:.2} | {} | {ratio} |", mebibytes(memory));
    }
    judge(&mut bench.report, what, &measured);
    if listener == Listener::HTTP1 {
        let six = contestants.iter().position(|one| (one.setup.kind, one.name) == (Kind::Outrigger, SIX));
        let six = six.and_then(|place| running[place].as_ref()).map(|running| running.proxy.process.memory());
        let six = six.transpose()?.map(|bytes| bytes as f64 / MEBIBYTE);
        bench.report.judge(
            "RSS with our six filters after load",
            "MiB",
            (24.0, 12.0),
            six.and_then(|six| Figure::of([six])),
        );
    }
    Ok(())
}

const MEBIBYTE: f64 = 1_048_576.0;

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / MEBIBYTE)
}

/// What of ours does what a row does.
fn same(name: &str) -> &str {
    match name {
        NATIVE => SIX,
        NATIVE_MIRRORING => SIX_MIRRORING,
        name => name,
    }
}

fn judge(report: &mut Report, what: &str, measured: &Measured<Saturated>) {
    use Kind::{Envoy, Haproxy, Nginx};
    let goals = [
        (SIX, (Envoy, SIX), (0.30, 0.18)),
        (SIX, (Envoy, NATIVE), (0.65, 0.45)),
        (SIX_MIRRORING, (Envoy, NATIVE_MIRRORING), (0.65, 0.45)),
        (NO_FILTER, (Envoy, NO_FILTER), (0.55, 0.35)),
        (NO_FILTER, (Haproxy, NO_FILTER), (1.25, 0.90)),
        (NO_FILTER, (Nginx, NO_FILTER), (1.20, 0.80)),
    ];
    for (ours, to, goal) in goals {
        let ratio = measured.ratio((Kind::Outrigger, ours), to, |round| round.cpu);
        report.judge(format!("{what}: CPU, {ours} ÷ {}, {}", to.0, to.1), "×", goal, ratio);
    }
}

/// Latency at a rate that no proxy is busy with.
fn paced(bench: &mut Bench) -> Outcome {
    const RATE: u32 = 2_000;
    const REQUESTS: usize = 4_000;
    let all = contestants(&bench.modules, Listener::HTTP1);
    let contestants: Vec<_> =
        all.into_iter().filter(|one| [NO_FILTER, SIX, COMBINED, NATIVE].contains(&one.name)).collect();
    let mut running = rounds::start(&contestants, 32, &bench.surroundings())?;
    let rounds = bench.options.rounds;
    let measured =
        rounds::measure(&contestants, &mut running, rounds, |running| rounds::paced(running, RATE, REQUESTS))?;
    println!("{rounds} rounds of {REQUESTS} requests at {RATE} a second, 32 connections.\n");
    println!("| proxy | p50 µs | p99 µs | CPU µs/request | our p99 with the same ÷ it |\n|---|---|---|---|---|");
    for (kind, name, rounds) in measured.rows() {
        let Some(rounds) = rounds else {
            println!("| {kind}, {name} | not installed | | | |");
            continue;
        };
        let figure =
            |of: fn(&Paced) -> f64| Figure::of(rounds.iter().map(of)).map_or_else(String::new, |f| f.to_string());
        let (p50, p99, cpu) = (figure(|round| round.p50), figure(|round| round.p99), figure(|round| round.cpu));
        let ratio = measured.ratio((Kind::Outrigger, same(name)), (kind, name), |round| round.p99);
        let ratio = ratio.filter(|_| kind != Kind::Outrigger).map_or_else(String::new, |ratio| ratio.to_string());
        println!("| {kind}, {name} | {p50} | {p99} | {cpu} | {ratio} |");
    }
    let ours = (Kind::Outrigger, SIX);
    let p99 = measured.ratio(ours, (Kind::Envoy, SIX), |round| round.p99);
    bench.report.judge(format!("p99 at {RATE}/s, our six ÷ Envoy, our six"), "×", (0.9, 0.6), p99);
    let p50 = measured.ratio(ours, (Kind::Envoy, SIX), |round| round.p50);
    bench.report.judge(format!("p50 at {RATE}/s, our six ÷ Envoy, our six"), "×", (0.9, 0.6), p50);
    Ok(())
}

/// From the start of the process to the first 200.
fn start(bench: &mut Bench) -> Outcome {
    println!("Milliseconds from the start of the process to the first 200; {} starts.\n", bench.options.rounds);
    println!("| proxy | ms |\n|---|---|");
    let time = |name: &str, setup: &Setup, cold: bool| -> Result<Option<Figure>, Box<dyn Error>> {
        let mut times = Vec::new();
        for round in 0..bench.options.rounds {
            let mut surroundings = bench.surroundings();
            if cold {
                surroundings.module_cache = surroundings.directory.join(format!("cold-{round}"));
            }
            match setup.start(&surroundings) {
                Ok(proxy) => times.push(proxy.started.as_secs_f64() * 1e3),
                Err(StartError::NotInstalled) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let figure = Figure::of(times);
        println!("| {name} | {} |", figure.map_or_else(|| "not installed".into(), |figure| figure.to_string()));
        Ok(figure)
    };
    let six = || bench.modules.six(0.0);
    let warm = time("outrigger, our six, warm cache", &setup(Kind::Outrigger, six(), Listener::HTTP1), false)?;
    let cold = time("outrigger, our six, cold", &setup(Kind::Outrigger, six(), Listener::HTTP1), true)?;
    for kind in [Kind::Outrigger, Kind::Envoy, Kind::Haproxy, Kind::Nginx] {
        time(&format!("{kind}, {NO_FILTER}"), &setup(kind, Filters::None, Listener::HTTP1), false)?;
    }
    time("Envoy, our six", &setup(Kind::Envoy, six(), Listener::HTTP1), false)?;
    bench.report.judge("start to the first 200, our six, warm cache", "ms", (60.0, 20.0), warm);
    bench.report.judge("start to the first 200, our six, cold", "ms", (250.0, 150.0), cold);
    Ok(())
}

/// Memory of connections that all have a request on its way.
fn connections(bench: &mut Bench) -> Outcome {
    const PAIRS: usize = 1_000;
    println!("{PAIRS} connections whose requests are on their way at once, and as many to the upstream.\n");
    println!("| proxy | RSS before, MiB | RSS, MiB | KiB a pair |\n|---|---|---|---|");
    for kind in [Kind::Outrigger, Kind::Envoy, Kind::Haproxy, Kind::Nginx] {
        let proxy = match setup(kind, Filters::None, Listener::HTTP1).start(&bench.surroundings()) {
            Ok(proxy) => proxy,
            Err(StartError::NotInstalled) => {
                println!("| {kind} | not installed | | |");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        Load::open(&proxy.target, 32)?.closed_loop(2_000)?;
        let before = proxy.process.memory()?;
        let busy = busy_memory(&bench.surroundings.upstream, &proxy, PAIRS)?;
        let pair = busy.saturating_sub(before) as f64 / 1024.0 / PAIRS as f64;
        println!("| {kind} | {} | {} | {pair:.1} |", mebibytes(before), mebibytes(busy));
        if kind == Kind::Outrigger {
            bench.report.judge("RSS of a busy pair of connections", "KiB", (56.0, 20.0), Figure::of([pair]));
        }
    }
    Ok(())
}

fn busy_memory(upstream: &Upstream, proxy: &Proxy, pairs: usize) -> Result<u64, Box<dyn Error>> {
    let mut load = Load::connect(&proxy.target, pairs)?;
    let mut most = 0;
    for _ in 0..3 {
        upstream.hold();
        load.ask_each()?;
        upstream.await_held(pairs)?;
        most = most.max(proxy.process.memory()?);
        upstream.release()?;
        load.hear_each()?;
    }
    Ok(most)
}

/// What a hostcall costs a guest, all of it: a thousand for each request, less a request without.
fn hostcalls(bench: &mut Bench) -> Outcome {
    const NAMES: [&str; 4] = ["none", "hit", "miss", "set"];
    const REQUESTS: usize = 1_000;
    let each = |kind| NAMES.map(|name| (kind, name));
    let contestants = [each(Kind::Outrigger), each(Kind::Envoy)]
        .concat()
        .into_iter()
        .map(|(kind, name)| Contestant { name, setup: setup(kind, bench.modules.hostcall(name), Listener::HTTP1) });
    let contestants: Vec<_> = contestants.collect();
    let mut running = rounds::start(&contestants, 8, &bench.surroundings())?;
    let measured = rounds::measure(&contestants, &mut running, bench.options.rounds, |running| {
        rounds::saturated(running, REQUESTS)
    })?;
    println!("Nanoseconds for one get_header that finds, one that does not, one set_header, with the Rust SDK.\n");
    println!("| proxy | hit | miss | set |\n|---|---|---|---|");
    // In microseconds for a thousand: nanoseconds for one.
    let cost = |kind, name| {
        let (with, without) = (measured.find((kind, name))?, measured.find((kind, "none"))?);
        Figure::of(with.iter().zip(without).map(|(with, without)| with.cpu - without.cpu))
    };
    for kind in [Kind::Outrigger, Kind::Envoy] {
        let shown = |name| cost(kind, name).map_or_else(String::new, |figure| figure.to_string());
        println!("| {kind} | {} | {} | {} |", shown("hit"), shown("miss"), shown("set"));
    }
    for (name, goal) in [("hit", (150.0, 80.0)), ("miss", (40.0, 15.0)), ("set", (80.0, 30.0))] {
        bench.report.judge(format!("hostcall: header {name}"), "ns", goal, cost(Kind::Outrigger, name));
    }
    Ok(())
}

fn system_calls(bench: &mut Bench) -> Outcome {
    println!("| proxy | a request | of these |\n|---|---|---|");
    let http2 = Listener { protocol: Protocol::Http2 { streams: 16 }, tls: false };
    let rows = [("HTTP/1.1", Listener::HTTP1, 32, (4.4, 4.2)), ("HTTP/2", http2, 4, (3.6, 2.6))];
    for (what, listener, connections, goal) in rows {
        for kind in [Kind::Outrigger, Kind::Envoy, Kind::Haproxy, Kind::Nginx] {
            let proxy = match setup(kind, Filters::None, listener).start(&bench.surroundings()) {
                Ok(proxy) => proxy,
                Err(StartError::NotInstalled) => {
                    println!("| {kind}, {what} | not installed | |");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let mut load = Load::open(&proxy.target, connections)?;
            let calls = count::system_calls(&proxy, &mut load, &bench.surroundings.directory)?;
            let all: f64 = calls.values().sum();
            let most = calls.iter().filter(|(_, count)| **count >= 0.02);
            let most: Vec<String> = most.map(|(name, count)| format!("{name} {count:.2}")).collect();
            println!("| {kind}, {what} | {all:.2} | {} |", most.join(", "));
            if kind == Kind::Outrigger {
                bench.report.judge(format!("system calls a request, {what}"), "", goal, Figure::of([all]));
            }
        }
    }
    Ok(())
}

/// Instructions in user space: the same on a busy machine, and so what to hold changes against.
fn instructions(bench: &mut Bench) -> Outcome {
    println!("| proxy | instructions/request |\n|---|---|");
    let http2 = Listener { protocol: Protocol::Http2 { streams: 16 }, tls: false };
    let rows = [
        (Kind::Outrigger, NO_FILTER, Filters::None, Listener::HTTP1),
        (Kind::Outrigger, TRIVIAL, bench.modules.trivial(5), Listener::HTTP1),
        (Kind::Outrigger, SIX, bench.modules.six(0.0), Listener::HTTP1),
        (Kind::Outrigger, COMBINED, bench.modules.traffic(), Listener::HTTP1),
        (Kind::Outrigger, "no filter, HTTP/2", Filters::None, http2),
        (Kind::Haproxy, NO_FILTER, Filters::None, Listener::HTTP1),
    ];
    let mut counts = Vec::new();
    for (kind, name, filters, listener) in rows {
        let count = match count::instructions(&setup(kind, filters, listener), &bench.surroundings()) {
            Ok(count) => Some(count),
            Err(StartError::NotInstalled) => None,
            Err(error) => return Err(error.into()),
        };
        println!(
            "| {kind}, {name} | {} |",
            count.map_or_else(|| "not installed".into(), |count| format!("{count:.0}"))
        );
        counts.push(count);
    }
    let [Some(plain), Some(five), ..] = counts[..] else { return Ok(()) };
    bench.report.judge("instructions a request, no filter", "", (40_000.0, 14_000.0), Figure::of([plain]));
    let filter = (five - plain) / 5.0;
    bench.report.judge("instructions a trivial SDK filter", "", (15_000.0, 10_000.0), Figure::of([filter]));
    Ok(())
}
