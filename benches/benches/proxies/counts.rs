//! What is counted rather than timed: the same on a busy machine, and so what to hold changes against.

use crate::Outcome;
use crate::bench::Bench;
use crate::contestants::{self, COMBINED, HTTP2, NO_FILTER, SIX, SIX_AS_THEIRS, TRIVIAL};
use outrigger_benches::count;
use outrigger_benches::figures::Figure;
use outrigger_benches::load::Load;
use outrigger_benches::proxies::{Filters, Kind, Listener, Setup};

pub(crate) fn system_calls(bench: &mut Bench) -> Outcome {
    println!("| proxy | a request | of these |\n|---|---|---|");
    let rows = [("HTTP/1.1", Listener::HTTP1, 32, (4.4, 4.2)), ("HTTP/2", HTTP2, 4, (3.6, 2.6))];
    for (what, listener, connections, goal) in rows {
        for contestant in contestants::plain(listener) {
            let kind = contestant.setup.kind;
            let proxy = contestant.setup.start(&bench.surroundings())?;
            let mut load = Load::open(&proxy.target, connections)?;
            let calls = count::system_calls(&proxy, &mut load, bench.surroundings().directory)?;
            let all: f64 = calls.values().sum();
            let most = calls.iter().filter(|(_, count)| **count >= 0.02);
            let most: Vec<String> = most.map(|(name, count)| format!("{name} {count:.2}")).collect();
            println!("| {kind}, {what} | {all:.2} | {} |", most.join(", "));
            if kind == Kind::Outrigger {
                bench.report.judge(format!("system calls a request, {what}"), "", goal, Figure::one(all));
            }
        }
    }
    Ok(())
}

/// Instructions in user space.
pub(crate) fn instructions(bench: &mut Bench) -> Outcome {
    println!("| proxy | instructions/request |\n|---|---|");
    let count = |bench: &Bench, kind, name: &str, filters, listener| {
        let count = count::instructions(&Setup { kind, filters, listener }, &bench.surroundings())?;
        println!("| {kind}, {name} | {count:.0} |");
        Ok::<_, Box<dyn std::error::Error>>(count)
    };
    let (ours, http1) = (Kind::Outrigger, Listener::HTTP1);
    let plain = count(bench, ours, NO_FILTER, Filters::None, http1)?;
    let five = count(bench, ours, TRIVIAL, bench.modules.trivial(5), http1)?;
    count(bench, ours, SIX, bench.modules.six(0.0), http1)?;
    count(bench, ours, SIX_AS_THEIRS, bench.modules.six_as_theirs(), http1)?;
    count(bench, ours, COMBINED, bench.modules.traffic(), http1)?;
    count(bench, ours, "no filter, HTTP/2", Filters::None, HTTP2)?;
    count(bench, Kind::Haproxy, NO_FILTER, Filters::None, http1)?;
    bench.report.judge("instructions a request, no filter", "", (40_000.0, 14_000.0), Figure::one(plain));
    let filter = Figure::one((five - plain) / 5.0);
    bench.report.judge("instructions a trivial SDK filter", "", (15_000.0, 10_000.0), filter);
    Ok(())
}
