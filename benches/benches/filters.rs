//! `cargo bench -p outrigger-benches --bench filters [-- sizes | calls | instructions | tokens | configure | time | envoy]`
//!
//! Sizes of the modules, who calls whom how often for one request, guest instructions per request as configurations grow,
//! what tokens cost, cost of configuring 10,000 rules, time per request in wasmtime, and CPU per request in stock Envoy
//! beside five trivial filters made with the Rust SDK.

use outrigger_benches::configurations::{INDEXED, LINEAR, Shape, combined, request, six_filters};
use outrigger_benches::figures::Figure;
use outrigger_benches::guest::{Guest, Tally};
use outrigger_benches::proxies::{Filters, Kind, Listener, Plugin, Setup, Surroundings, binary, module_cache};
use outrigger_benches::rounds::{self, Contestant, Saturated};
use outrigger_benches::sdk;
use outrigger_benches::settle::settle_down;
use outrigger_benches::tls::Certificates;
use outrigger_benches::upstream::Upstream;
use outrigger_tests::{jwt, optimised};
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

type Outcome = Result<(), Box<dyn Error>>;
type Section = fn() -> Outcome;

fn main() -> Outcome {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let sections: [(&str, Section); 7] = [
        ("sizes", sizes),
        ("calls", calls),
        ("instructions", instructions),
        ("tokens", tokens),
        ("configure", configure),
        ("time", time),
        ("envoy", envoy),
    ];
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    if is_chosen("envoy") {
        settle_down()?;
    }
    for (name, section) in sections {
        if is_chosen(name) {
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
        six += if ["jwt-authn", "traffic"].contains(&embedded.name) { 0 } else { size };
        println!("| {} | {size} | {:.0} % |", embedded.name, size as f64 / 2048.0);
    }
    println!("| the six single ones | {six} | {:.0} % of 1 MB |", six as f64 / 10_485.76);
    Ok(())
}

fn run_shape(shape: &Shape, n: usize, count: bool, requests: usize) -> Result<(u64, Duration, u64), Box<dyn Error>> {
    let (mut guest, _) = Guest::configure(&module(shape.module)?, &(shape.configuration)(n).to_string(), count)?;
    shape.properties(n).iter().for_each(|(path, value)| guest.property(path, value));
    let headers = shape.headers(n);
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

/// Instructions, callbacks and hostcalls of one ordinary request that the six filters let through, with its answer.
fn calls() -> Outcome {
    println!("The second request of a VM.\n");
    println!("| plugin | instructions | callbacks | hostcalls | values returned | which hostcalls |");
    println!("|---|---|---|---|---|---|");
    let ordinary = request(&[(":path".to_owned(), "/store/x".to_owned())]);
    let mut trivial = Guest::configure(&std::fs::read(sdk::build("sdk-baseline")?)?, "", true)?.0;
    trivial.property("source.address", b"127.0.0.1:1");
    trivial.property("destination.port", &80_u64.to_le_bytes());
    trivial.exchange(&ordinary)?;
    print_calls("trivial SDK filter", &trivial.exchange(&ordinary)?);
    let mut before: Option<Guest> = None;
    for (name, configuration) in six_filters() {
        let (mut guest, _) = Guest::configure(&module(name)?, &configuration.to_string(), true)?;
        if let Some(before) = &before {
            before.hand_on(&mut guest);
        }
        guest.exchange(&ordinary)?;
        print_calls(name, &guest.exchange(&ordinary)?);
        before = Some(guest);
    }
    let (mut traffic, _) = Guest::configure(&module("traffic")?, &combined().to_string(), true)?;
    traffic.exchange(&ordinary)?;
    print_calls("traffic", &traffic.exchange(&ordinary)?);
    Ok(())
}

fn print_calls(name: &str, tally: &Tally) {
    let which = tally.hostcalls.iter().map(|(name, times)| format!("{times} {name}")).collect::<Vec<_>>().join(", ");
    let Tally { instructions, callbacks, returned, .. } = tally;
    println!("| {name} | {instructions} | {callbacks} | {} | {returned} | {which} |", tally.total());
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

/// What a token costs when it is seen first, and when it is known.
fn tokens() -> Outcome {
    println!(
        "A request with a token, in wasmtime: guest instructions, and wall time (of the known: median of 1,000).\n"
    );
    println!("| algorithm | first | known | first ÷ known | first, µs | known, µs |\n|---|---|---|---|---|---|");
    let module = module("jwt-authn")?;
    for algorithm in ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"] {
        let jwks = jwt::expand("${jwks rsa p256 p384 p521 ed25519}")?;
        let configuration = serde_json::json!({"providers": [{"name": "p", "issuer": "i", "jwks": jwks}]}).to_string();
        let token = jwt::expand(&format!(r#"Bearer ${{jwt {algorithm} {{"iss":"i","sub":"alice"}}}}"#))?;
        let headers = request(&[("authorization".to_owned(), token)]);
        let (mut counting, _) = Guest::configure(&module, &configuration, true)?;
        let (first, known) = (counting.request(&headers)?, counting.request(&headers)?);
        let (mut timed, _) = Guest::configure(&module, &configuration, false)?;
        let cold = timed.request(&headers)?.time;
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..1_000 {
            times.push(timed.request(&headers)?.time);
        }
        times.sort_unstable();
        if first.action != 0 || known.action != 0 {
            return Err(format!("a token with {algorithm} was refused").into());
        }
        let (first, known) = (first.instructions, known.instructions);
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let (ratio, warm) = (first as f64 / known as f64, micros(times[times.len() / 2]));
        println!("| {algorithm} | {first} | {known} | {ratio:.0} | {:.0} | {warm:.1} |", micros(cold));
    }
    Ok(())
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

/// Requests per measurement: short enough that a busy machine disturbs a whole round or none.
const REQUESTS: usize = 20_000;
/// Two starts of Envoy with the same modules differ by more than the rounds of one: each is measured in several.
const STARTS: usize = 5;
const ROUNDS: usize = 3;

fn envoy() -> Outcome {
    let directory = tempdir()?;
    let upstream = Upstream::start()?;
    let certificates = Certificates::make(&directory)?;
    let (port, module_cache) = (upstream.port, module_cache());
    let (ours, before) = (&binary(), None);
    let surroundings =
        Surroundings { upstream: port, directory: &directory, certificates: &certificates, module_cache, ours, before };
    let trivial = Plugin { module: sdk::build("sdk-baseline")?, ours: None, configuration: serde_json::json!({}) };
    let six = six_filters().into_iter().map(|(name, configuration)| {
        let module = optimised::path(name)?;
        Ok::<_, String>(Plugin { module, ours: None, configuration })
    });
    let six: Vec<Plugin> = six.collect::<Result<_, _>>()?;
    let traffic = Plugin { module: optimised::path("traffic")?, ours: None, configuration: combined() };
    let contestants = [
        ("no filter", vec![]),
        ("five trivial SDK filters", vec![trivial; 5]),
        ("our six, chained", six),
        ("our six, one module", vec![traffic]),
    ];
    let contestants = contestants.map(|(name, plugins)| {
        let filters = if plugins.is_empty() { Filters::None } else { Filters::Wasm(plugins) };
        Contestant { name, setup: Setup { kind: Kind::Envoy, filters, listener: Listener::HTTP1 } }
    });
    let mut rows: Vec<(&str, Vec<Saturated>)> = contestants.iter().map(|one| (one.name, Vec::new())).collect();
    for _ in 0..STARTS {
        let mut running = rounds::start(&contestants, 16, &surroundings)?;
        for running in &mut running {
            rounds::saturated(running, 2_000)?;
        }
        let one = |running: &mut _| rounds::saturated(running, REQUESTS);
        let measured = rounds::measure(&contestants, &mut running, ROUNDS, one)?;
        rows.iter_mut().zip(measured.rows()).for_each(|((_, all), (_, _, rounds))| all.extend(rounds));
    }
    report(&rows);
    Ok(())
}

fn report(rows: &[(&str, Vec<Saturated>)]) {
    println!(
        "CPU µs per request, {STARTS} starts of {ROUNDS} interleaved rounds of {REQUESTS} requests; added = over no filter;"
    );
    println!("ratio = added ÷ added by five trivial SDK filters, median (min–max) of the rounds.\n");
    println!("| Envoy with | CPU µs | added µs | ratio |\n|---|---|---|---|");
    let [(_, plain), (_, trivial), ..] = rows else { return };
    for (name, rounds) in rows {
        let added = |round: usize| rounds[round].cpu - plain[round].cpu;
        let ratio = |round: usize| added(round) / (trivial[round].cpu - plain[round].cpu);
        let median = |figure: &dyn Fn(usize) -> f64| {
            Figure::of((0..rounds.len()).map(figure)).map_or_else(String::new, |figure| figure.to_string())
        };
        println!("| {name} | {} | {} | {} |", median(&|round| rounds[round].cpu), median(&added), median(&ratio));
    }
}

fn tempdir() -> std::io::Result<PathBuf> {
    let directory = std::env::temp_dir().join(format!("outrigger-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}
