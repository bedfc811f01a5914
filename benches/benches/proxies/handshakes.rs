//! A connection for each request: what accepting it and a handshake of mutual TLS cost, a full one and one that resumes
//! a session.

use crate::Outcome;
use crate::bench::Bench;
use crate::contestants::{self, MUTUAL_TLS, NO_FILTER, shown};
use outrigger_benches::load::{Load, Target};
use outrigger_benches::proxies::Kind;
use outrigger_benches::rounds::{self, Running};
use outrigger_benches::tls;
use std::io;

/// Connections of a round, each way.
const CONNECTIONS: u32 = 200;

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    let contestants = contestants::plain(MUTUAL_TLS);
    let mut running = rounds::start(&contestants, 1, &bench.surroundings())?;
    let measured = rounds::measure(&contestants, &mut running, bench.options.rounds, Connected::measure)?;
    println!("{CONNECTIONS} connections one after the other, each with one request; CPU µs a connection.\n");
    println!("| proxy | full | ours ÷ it | resumed | ours ÷ it |\n|---|---|---|---|---|");
    let ours = (Kind::Outrigger, NO_FILTER);
    for (kind, name, _) in measured.rows() {
        let column = |of: fn(&Connected) -> f64| {
            let ratio = shown(kind, measured.ratio(ours, (kind, name), of)?);
            Ok::<_, Box<dyn std::error::Error>>(format!("{} | {ratio}", measured.figure((kind, name), of)?))
        };
        println!("| {kind} | {} | {} |", column(|round| round.full)?, column(|round| round.resumed)?);
    }
    let ratio = measured.ratio(ours, (Kind::Envoy, NO_FILTER), |round| round.full)?;
    bench.report.judge("handshake with mutual TLS: CPU, ours ÷ Envoy", "×", (0.85, 0.75), ratio);
    Ok(())
}

/// Microseconds of CPU for a connection with one request.
struct Connected {
    full: f64,
    resumed: f64,
}

impl Connected {
    fn measure(running: &mut Running) -> io::Result<Self> {
        let target = running.proxy.target.clone();
        let full = connect(running, &target, false)?;
        let target = tls::resuming(&target);
        // It has a session to resume from then on.
        Load::open(&target, 1)?;
        Ok(Self { full, resumed: connect(running, &target, true)? })
    }
}

fn connect(running: &Running, target: &Target, resumes: bool) -> io::Result<f64> {
    let before = running.proxy.process.cpu_time()?;
    let mut resumed = 0;
    for _ in 0..CONNECTIONS {
        resumed += u32::from(Load::open(target, 1)?.has_resumed());
    }
    let used = running.proxy.process.cpu_time()?.saturating_sub(before);
    let expected = if resumes { CONNECTIONS } else { 0 };
    if resumed != expected {
        return Err(io::Error::other(format!("{resumed} sessions were resumed, not {expected}")));
    }
    Ok(used.as_secs_f64() * 1e6 / f64::from(CONNECTIONS))
}
