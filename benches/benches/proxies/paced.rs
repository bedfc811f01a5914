//! Latency at a rate that no proxy is busy with.

use crate::Outcome;
use crate::bench::Bench;
use crate::contestants::{self, COMBINED, NATIVE, NO_FILTER, SIX, TRIVIAL, same, shown};
use outrigger_benches::load::{Load, Protocol, Target};
use outrigger_benches::proxies::{Kind, Listener};
use outrigger_benches::rounds::{self, Latency, Paced};

const RATE: u32 = 2_000;
const REQUESTS: usize = 4_000;
const CONNECTIONS: usize = 32;

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    let mut contestants = contestants::all(&bench.modules, Listener::HTTP1);
    contestants.retain(|one| [NO_FILTER, TRIVIAL, SIX, COMBINED, NATIVE].contains(&one.name));
    let mut running = rounds::start(&contestants, CONNECTIONS, &bench.surroundings())?;
    let upstream = Target { port: bench.upstream.port, protocol: Protocol::Http1, tls: None };
    let mut direct = Load::open(&upstream, CONNECTIONS)?;
    let measured = rounds::measure(&contestants, &mut running, bench.options.rounds, |running| {
        // Beside each, as what the machine does changes from moment to moment.
        let direct = Latency::of(direct.open_loop(RATE, REQUESTS / 4)?);
        Ok(Round { direct, paced: rounds::paced(running, RATE, REQUESTS)? })
    })?;
    println!("{} rounds of {REQUESTS} requests at {RATE} a second, {CONNECTIONS} connections.\n", bench.options.rounds);
    println!(
        "| proxy | p50 µs | added to p50 without a proxy | p99 µs | CPU µs/request | our p99 with the same ÷ it |\n\
         |---|---|---|---|---|---|"
    );
    for (kind, name, _) in measured.rows() {
        let figure = |of: fn(&Round) -> f64| measured.figure((kind, name), of);
        let (p50, p99) = (figure(|round| round.paced.latency.p50)?, figure(|round| round.paced.latency.p99)?);
        let (added, cpu) = (figure(Round::added)?, figure(|round| round.paced.cpu)?);
        let ratio = measured.ratio((Kind::Outrigger, same(name)), (kind, name), |round| round.paced.latency.p99)?;
        println!("| {kind}, {name} | {p50} | {added} | {p99} | {cpu} | {} |", shown(kind, ratio));
    }
    for name in [TRIVIAL, SIX] {
        let (ours, envoy) = ((Kind::Outrigger, name), (Kind::Envoy, name));
        let p99 = measured.ratio(ours, envoy, |round| round.paced.latency.p99)?;
        bench.report.judge(format!("p99 at {RATE}/s, ours ÷ Envoy, {name}"), "×", (0.9, 0.6), p99);
        let added = measured.ratio(ours, envoy, Round::added)?;
        bench.report.judge(format!("added to p50 at {RATE}/s, ours ÷ Envoy, {name}"), "×", (0.6, 0.4), added);
    }
    Ok(())
}

/// A round of one proxy, with the upstream alone beside it.
struct Round {
    direct: Latency,
    paced: Paced,
}

impl Round {
    /// Microseconds that the proxy adds to the median.
    fn added(&self) -> f64 {
        self.paced.latency.p50 - self.direct.p50
    }
}
