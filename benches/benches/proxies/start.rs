//! From the start of the process to the first 200.

use crate::Outcome;
use crate::bench::Bench;
use crate::contestants::{KINDS, NO_FILTER, SIX};
use outrigger_benches::figures::Figure;
use outrigger_benches::proxies::{Filters, Kind, Listener, Setup};
use std::error::Error;

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    println!("Milliseconds from the start of the process to the first 200; {} starts.\n", bench.options.rounds);
    println!("| proxy | ms |\n|---|---|");
    let six = |kind| Setup { kind, filters: bench.modules.six(0.0), listener: Listener::HTTP1 };
    let warm = time(bench, "outrigger, our six, warm cache", &six(Kind::Outrigger), false)?;
    let cold = time(bench, "outrigger, our six, cold", &six(Kind::Outrigger), true)?;
    for kind in KINDS {
        let plain = Setup { kind, filters: Filters::None, listener: Listener::HTTP1 };
        time(bench, &format!("{kind}, {NO_FILTER}"), &plain, false)?;
    }
    time(bench, &format!("{}, {SIX}", Kind::Envoy), &six(Kind::Envoy), false)?;
    bench.report.judge("start to the first 200, our six, warm cache", "ms", (60.0, 20.0), warm);
    bench.report.judge("start to the first 200, our six, cold", "ms", (250.0, 150.0), cold);
    Ok(())
}

/// Starts a proxy again and again. `cold`: with nothing compiled.
fn time(bench: &Bench, name: &str, setup: &Setup, cold: bool) -> Result<Figure, Box<dyn Error>> {
    let mut times = Vec::new();
    for round in 0..bench.options.rounds {
        let mut surroundings = bench.surroundings();
        if cold {
            surroundings.module_cache = surroundings.directory.join(format!("cold-{round}"));
        }
        times.push(setup.start(&surroundings)?.started.as_secs_f64() * 1e3);
    }
    let figure = Figure::of(times).ok_or("no rounds")?;
    println!("| {name} | {figure} |");
    Ok(figure)
}
