//! As much as goes through: CPU time for a request, and requests in a second.

use crate::Outcome;
use crate::bench::Bench;
use crate::contestants::{
    self, HTTP2, MEBIBYTE, MUTUAL_TLS, NATIVE, NATIVE_MIRRORING, NO_FILTER, SIX, SIX_MIRRORING, TRIVIAL, mebibytes,
    same, shown,
};
use crate::options::Options;
use outrigger_benches::figures::{Figure, Report};
use outrigger_benches::proxies::{Kind, Listener};
use outrigger_benches::rounds::{self, Measured, Saturated};
use std::error::Error;

/// A goal on CPU time: ours, what it is held against, must and extreme.
type Goal = (&'static str, (Kind, &'static str), (f64, f64));

pub(crate) fn http1(bench: &mut Bench) -> Outcome {
    let (six, measured) = saturate(bench, Listener::HTTP1, 32)?;
    judge(
        &mut bench.report,
        "HTTP/1.1",
        &measured,
        [(0.30, 0.18), (0.55, 0.35)],
        &[(NO_FILTER, (Kind::Haproxy, NO_FILTER), (1.25, 0.90)), (NO_FILTER, (Kind::Nginx, NO_FILTER), (1.20, 0.80))],
    )?;
    for name in [TRIVIAL, SIX] {
        let slower = measured.ratio((Kind::Envoy, name), (Kind::Outrigger, name), |round| round.rate)?;
        bench.report.judge(format!("HTTP/1.1: requests/s, Envoy ÷ ours, {name}"), "×", (0.33, 0.20), slower);
    }
    let of_envoy = measured.ratio((Kind::Envoy, SIX), (Kind::Envoy, TRIVIAL), |round| round.cpu)?;
    bench.report.judge("HTTP/1.1: CPU in Envoy, our six ÷ five trivial", "×", (1.2, 0.6), of_envoy);
    bench.report.judge("RSS with our six filters after load", "MiB", (24.0, 12.0), six);
    Ok(())
}

pub(crate) fn http2(bench: &mut Bench) -> Outcome {
    let (_, measured) = saturate(bench, HTTP2, 4)?;
    let haproxy = (NO_FILTER, (Kind::Haproxy, NO_FILTER), (1.6, 1.2));
    judge(&mut bench.report, "HTTP/2", &measured, [(0.35, 0.20), (0.55, 0.35)], &[haproxy])
}

pub(crate) fn mtls(bench: &mut Bench) -> Outcome {
    let (_, measured) = saturate(bench, MUTUAL_TLS, 32)?;
    judge(&mut bench.report, "mutual TLS", &measured, [(0.40, 0.22), (0.50, 0.35)], &[])
}

/// All proxies at saturation. Also the memory of ours with the six filters, in MiB.
fn saturate(
    bench: &Bench,
    listener: Listener,
    connections: usize,
) -> Result<(Figure, Measured<Saturated>), Box<dyn Error>> {
    let contestants = contestants::all(&bench.modules, listener);
    let mut running = rounds::start(&contestants, connections, &bench.surroundings())?;
    for running in &mut running {
        // Caches are filled, branches are known.
        rounds::saturated(running, 2_000)?;
    }
    let Options { rounds, requests, .. } = bench.options;
    let measured = rounds::measure(&contestants, &mut running, rounds, |running| rounds::saturated(running, requests))?;
    println!("{rounds} rounds of {requests} requests, {connections} connections; median (least–most).\n");
    println!(
        "| proxy | CPU µs/request | requests/s | busy | RSS MiB | ours with the same ÷ it |\n|---|---|---|---|---|---|"
    );
    let mut six = None;
    for ((kind, name, _), running) in measured.rows().zip(&running) {
        let figure = |of: fn(&Saturated) -> f64| measured.figure((kind, name), of);
        let (cpu, rate) = (figure(|round| round.cpu)?, figure(|round| round.rate)?);
        let busy = figure(|round| round.busy)?.median;
        let memory = running.proxy.process.memory()?;
        let ratio = measured.ratio((Kind::Outrigger, same(name)), (kind, name), |round| round.cpu)?;
        println!("| {kind}, {name} | {cpu} | {rate} | {busy:.2} | {} | {} |", mebibytes(memory), shown(kind, ratio));
        if (kind, name) == (Kind::Outrigger, SIX) {
            six = Some(Figure::one(memory as f64 / MEBIBYTE));
        }
    }
    Ok((six.ok_or("our six filters were not measured")?, measured))
}

/// `to_envoy`: with the same plugins in both, and with none.
fn judge(
    report: &mut Report,
    what: &str,
    measured: &Measured<Saturated>,
    [to_envoy, plain]: [(f64, f64); 2],
    others: &[Goal],
) -> Outcome {
    let goals = [
        (TRIVIAL, (Kind::Envoy, TRIVIAL), to_envoy),
        (SIX, (Kind::Envoy, SIX), to_envoy),
        (SIX, (Kind::Envoy, NATIVE), (0.65, 0.45)),
        (SIX_MIRRORING, (Kind::Envoy, NATIVE_MIRRORING), (0.65, 0.45)),
        (NO_FILTER, (Kind::Envoy, NO_FILTER), plain),
    ];
    for (ours, to, goal) in goals.iter().chain(others) {
        let ratio = measured.ratio((Kind::Outrigger, ours), *to, |round| round.cpu)?;
        report.judge(format!("{what}: CPU, {ours} ÷ {}, {}", to.0, to.1), "×", *goal, ratio);
    }
    Ok(())
}
