//! Memory of connections that all have a request on its way.

use crate::Outcome;
use crate::bench::Bench;
use crate::contestants::{self, mebibytes};
use outrigger_benches::figures::Figure;
use outrigger_benches::load::Load;
use outrigger_benches::proxies::{Kind, Listener, Proxy};
use outrigger_benches::upstream::Upstream;
use std::io;

const PAIRS: usize = 1_000;

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    println!("{PAIRS} connections whose requests are on their way at once, and as many to the upstream.\n");
    println!("| proxy | RSS before, MiB | RSS, MiB | KiB a pair |\n|---|---|---|---|");
    for contestant in contestants::plain(Listener::HTTP1) {
        let kind = contestant.setup.kind;
        let proxy = contestant.setup.start(&bench.surroundings())?;
        Load::open(&proxy.target, 32)?.closed_loop(2_000)?;
        let before = proxy.process.memory()?;
        let busy = busy_memory(&bench.upstream, &proxy)?;
        let pair = busy.saturating_sub(before) as f64 / 1024.0 / PAIRS as f64;
        println!("| {kind} | {} | {} | {pair:.1} |", mebibytes(before), mebibytes(busy));
        if kind == Kind::Outrigger {
            bench.report.judge("RSS of a busy pair of connections", "KiB", (56.0, 20.0), Figure::one(pair));
        }
    }
    Ok(())
}

fn busy_memory(upstream: &Upstream, proxy: &Proxy) -> io::Result<u64> {
    let mut load = Load::connect(&proxy.target, PAIRS)?;
    let mut most = 0;
    for _ in 0..3 {
        upstream.hold();
        load.ask_each()?;
        upstream.await_held(PAIRS)?;
        most = most.max(proxy.process.memory()?);
        upstream.release()?;
        load.hear_each()?;
    }
    Ok(most)
}
