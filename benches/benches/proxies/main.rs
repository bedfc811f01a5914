//! `cargo bench -p outrigger-benches --bench proxies [-- http1 http2 mtls handshakes idle paced start connections
//! hostcalls system-calls instructions before] [rounds=5] [requests=20000] [ours=FILE] [before=FILE]`
//!
//! Our proxy beside stock Envoy with the same modules, Envoy's native filters, haproxy and nginx: one worker each, on
//! loopback, in interleaved rounds. The figure to look at is CPU time for a request, as the ratio within a round. What
//! a section needs and cannot have is an error; so is a goal that is missed.

mod before;
mod bench;
mod connections;
mod contestants;
mod counts;
mod handshakes;
mod hostcalls;
mod idle;
mod options;
mod paced;
mod saturation;
mod start;

use bench::Bench;
use options::Options;
use outrigger_benches::settle::settle_down;
use std::error::Error;

type Outcome = Result<(), Box<dyn Error>>;
type Section = fn(&mut Bench) -> Outcome;

const SECTIONS: [(&str, Section); 12] = [
    ("http1", saturation::http1),
    ("http2", saturation::http2),
    ("mtls", saturation::mtls),
    ("handshakes", handshakes::run),
    ("idle", idle::run),
    ("paced", paced::run),
    ("start", start::run),
    ("connections", connections::run),
    ("hostcalls", hostcalls::run),
    ("system-calls", counts::system_calls),
    ("instructions", counts::instructions),
    ("before", before::run),
];

fn main() -> Outcome {
    let options = Options::read(&SECTIONS.map(|(name, _)| name))?;
    settle_down()?;
    let mut bench = Bench::new(options)?;
    println!("Our proxy is {}.", bench.options.ours.display());
    for (name, section) in SECTIONS {
        if bench.options.has(name) {
            println!("\n## {name}\n");
            section(&mut bench).map_err(|error| format!("section {name}: {error}"))?;
        }
    }
    println!("\n## goals\n\n{}", bench.report);
    if bench.report.is_met() { Ok(()) } else { Err("a goal is missed".into()) }
}
