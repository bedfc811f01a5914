//! Memory of connections with mutual TLS that have been served, and wait for their next request.

use crate::Outcome;
use crate::bench::Bench;
use crate::contestants::{MUTUAL_TLS, NO_FILTER, mebibytes};
use outrigger_benches::figures::Figure;
use outrigger_benches::load::Load;
use outrigger_benches::proxies::{Filters, Kind, Setup};
use std::error::Error;

/// Connections, and how many of them ask at a time: the upstream is to have few.
const CONNECTIONS: usize = 10_000;
const AT_A_TIME: usize = 50;

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    println!("{CONNECTIONS} connections with mutual TLS, each served once, now idle.\n");
    println!("| proxy | RSS before, MiB | RSS, MiB | KiB a connection |\n|---|---|---|---|");
    let ours = idle(bench, Kind::Outrigger)?;
    let envoy = idle(bench, Kind::Envoy)?;
    bench.report.judge(
        "RSS of an idle connection with mutual TLS, ours ÷ Envoy",
        "×",
        (0.5, 0.25),
        Figure::one(ours / envoy),
    );
    Ok(())
}

/// KiB of resident memory for a connection.
fn idle(bench: &Bench, kind: Kind) -> Result<f64, Box<dyn Error>> {
    let proxy = Setup { kind, filters: Filters::None, listener: MUTUAL_TLS }.start(&bench.surroundings())?;
    Load::open(&proxy.target, AT_A_TIME)?.closed_loop(2_000)?;
    let before = proxy.process.memory()?;
    let open = || Load::open(&proxy.target, AT_A_TIME);
    let connections = (0..CONNECTIONS / AT_A_TIME).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
    let all = proxy.process.memory()?;
    drop(connections);
    let each = all.saturating_sub(before) as f64 / 1024.0 / CONNECTIONS as f64;
    println!("| {kind}, {NO_FILTER} | {} | {} | {each:.1} |", mebibytes(before), mebibytes(all));
    Ok(each)
}
