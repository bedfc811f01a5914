//! A connection for each request: what accepting it and a full handshake of mutual TLS cost.

use crate::Outcome;
use crate::bench::Bench;
use crate::contestants::{self, MUTUAL_TLS, NO_FILTER, shown};
use outrigger_benches::load::Load;
use outrigger_benches::proxies::Kind;
use outrigger_benches::rounds::{self, Running};
use std::io;

/// Connections of a round.
const CONNECTIONS: u32 = 200;

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    let contestants = contestants::plain(MUTUAL_TLS);
    let mut running = rounds::start(&contestants, 1, &bench.surroundings())?;
    let measured = rounds::measure(&contestants, &mut running, bench.options.rounds, connect)?;
    println!("{CONNECTIONS} connections one after the other, no session resumed.\n");
    println!("| proxy | CPU µs/connection | ours ÷ it |\n|---|---|---|");
    let ours = (Kind::Outrigger, NO_FILTER);
    for (kind, name, _) in measured.rows() {
        let cpu = measured.figure((kind, name), |cpu| *cpu)?;
        println!("| {kind} | {cpu} | {} |", shown(kind, measured.ratio(ours, (kind, name), |cpu| *cpu)?));
    }
    let ratio = measured.ratio(ours, (Kind::Envoy, NO_FILTER), |cpu| *cpu)?;
    bench.report.judge("handshake with mutual TLS: CPU, ours ÷ Envoy", "×", (1.2, 0.8), ratio);
    Ok(())
}

/// Microseconds of CPU for a connection with one request.
fn connect(running: &mut Running) -> io::Result<f64> {
    let before = running.proxy.process.cpu_time()?;
    for _ in 0..CONNECTIONS {
        Load::open(&running.proxy.target, 1)?;
    }
    let used = running.proxy.process.cpu_time()?.saturating_sub(before);
    Ok(used.as_secs_f64() * 1e6 / f64::from(CONNECTIONS))
}
