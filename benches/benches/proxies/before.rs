//! Our proxy beside another build of it: what a change has brought.

use crate::Outcome;
use crate::bench::Bench;
use crate::contestants::{HTTP2, MUTUAL_TLS, NO_FILTER, SIX, TRIVIAL};
use outrigger_benches::proxies::{Filters, Kind, Listener, Setup};
use outrigger_benches::rounds::{self, Contestant};

const KINDS: [Kind; 2] = [Kind::Outrigger, Kind::Before];

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    println!("| | CPU µs/request | before | ratio |\n|---|---|---|---|");
    for (what, listener, connections) in
        [("HTTP/1.1", Listener::HTTP1, 32), ("HTTP/2", HTTP2, 4), ("mutual TLS", MUTUAL_TLS, 32)]
    {
        compare(bench, what, listener, connections)?;
    }
    Ok(())
}

fn compare(bench: &Bench, what: &str, listener: Listener, connections: usize) -> Outcome {
    let modules = &bench.modules;
    let filters = [(NO_FILTER, Filters::None), (TRIVIAL, modules.trivial(5)), (SIX, modules.six(0.0))];
    let each = filters.iter().flat_map(|(name, filters)| {
        KINDS.map(|kind| Contestant { name, setup: Setup { kind, filters: filters.clone(), listener } })
    });
    let contestants: Vec<_> = each.collect();
    let mut running = rounds::start(&contestants, connections, &bench.surroundings())?;
    for running in &mut running {
        rounds::saturated(running, 2_000)?;
    }
    let measured = rounds::measure(&contestants, &mut running, bench.options.rounds, |running| {
        rounds::saturated(running, bench.options.requests)
    })?;
    for (name, _) in filters {
        let [now, before] = KINDS.map(|kind| measured.figure((kind, name), |round| round.cpu));
        let ratio = measured.ratio((Kind::Outrigger, name), (Kind::Before, name), |round| round.cpu)?;
        println!("| {what}, {name} | {} | {} | {ratio} |", now?, before?);
    }
    Ok(())
}
