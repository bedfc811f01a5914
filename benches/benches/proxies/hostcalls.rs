//! What a hostcall costs a guest, all of it: a thousand for each request, less a request without.

use crate::Outcome;
use crate::bench::Bench;
use outrigger_benches::figures::Figure;
use outrigger_benches::proxies::{Kind, Listener, Setup};
use outrigger_benches::rounds::{self, Contestant, Measured, Saturated};
use std::error::Error;

const NAMES: [&str; 4] = ["none", "hit", "miss", "set"];
const KINDS: [Kind; 2] = [Kind::Outrigger, Kind::Envoy];
const REQUESTS: usize = 1_000;

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    let each = |kind| NAMES.map(|name| (kind, name));
    let contestants = KINDS.map(each).concat().into_iter().map(|(kind, name)| Contestant {
        name,
        setup: Setup { kind, filters: bench.modules.hostcall(name), listener: Listener::HTTP1 },
    });
    let contestants: Vec<_> = contestants.collect();
    let mut running = rounds::start(&contestants, 8, &bench.surroundings())?;
    let measured = rounds::measure(&contestants, &mut running, bench.options.rounds, |running| {
        rounds::saturated(running, REQUESTS)
    })?;
    println!("Nanoseconds for one get_header that finds, one that does not, one set_header, with the Rust SDK.\n");
    println!("| proxy | hit | miss | set |\n|---|---|---|---|");
    for kind in KINDS {
        let [hit, miss, set] = ["hit", "miss", "set"].map(|name| cost(&measured, kind, name));
        println!("| {kind} | {} | {} | {} |", hit?, miss?, set?);
    }
    for (name, goal) in [("hit", (150.0, 80.0)), ("miss", (40.0, 15.0)), ("set", (80.0, 30.0))] {
        let cost = cost(&measured, Kind::Outrigger, name)?;
        bench.report.judge(format!("hostcall: header {name}"), "ns", goal, cost);
    }
    Ok(())
}

/// Microseconds for a thousand: nanoseconds for one.
fn cost(measured: &Measured<Saturated>, kind: Kind, name: &str) -> Result<Figure, Box<dyn Error>> {
    let (with, without) = (measured.find((kind, name))?, measured.find((kind, "none"))?);
    let costs = with.iter().zip(without).map(|(with, without)| with.cpu - without.cpu);
    Ok(Figure::of(costs).ok_or("no rounds")?)
}
