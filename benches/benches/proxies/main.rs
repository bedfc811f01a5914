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

use bench::{Bench, Modules};
use options::Options;
use outrigger_benches::process::LOAD_CPU;
use outrigger_tests::tools;
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::Command;

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

/// Runs this program anew on its own CPU, and at real-time priority where that is allowed: proxies inherit it, and
/// what else runs on the machine then disturbs less.
fn settle_down() -> Outcome {
    const SETTLED: &str = "--settled";
    if std::env::args().any(|argument| argument == SETTLED) {
        return Ok(());
    }
    // What is fetched and built for it is so before: at real-time priority, on one CPU, npm waits for itself.
    Modules::make()?;
    tools::envoy()?;
    let real_time = Command::new("chrt").args(["-f", "1", "true"]).status().is_ok_and(|status| status.success());
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_CPU]);
    if real_time {
        command.args(["chrt", "-f", "1"]);
    }
    println!("Real-time priority: {}.", if real_time { "yes" } else { "no, expect noise" });
    Err(command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).arg(SETTLED).exec().into())
}
