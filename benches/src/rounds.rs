//! Proxies under the same load in turn, round by round, so that what else the machine does meets all alike.

use crate::figures::Figure;
use crate::load::Load;
use crate::proxies::{Kind, Proxy, Setup, StartError, Surroundings};
use std::io;
use std::time::Duration;

/// One proxy among others.
pub struct Contestant {
    /// What it does, as its row says.
    pub name: &'static str,
    /// How it is set up.
    pub setup: Setup,
}

impl Contestant {
    fn label(&self) -> String {
        format!("{}, {}", self.setup.kind, self.name)
    }
}

/// A contestant that serves, with its connections.
pub struct Running {
    /// The proxy.
    pub proxy: Proxy,
    /// Its connections.
    pub load: Load,
}

/// Contestants with what was measured of each.
pub struct Measured<R> {
    contestants: Vec<(Kind, &'static str, Vec<R>)>,
}

/// Of one round at saturation.
#[derive(Clone, Copy, Debug)]
pub struct Saturated {
    /// Microseconds of CPU for a request.
    pub cpu: f64,
    /// Requests in a second.
    pub rate: f64,
    /// Share of the time that the proxy computed.
    pub busy: f64,
}

/// Of one round at a fixed rate.
#[derive(Clone, Copy, Debug)]
pub struct Paced {
    /// Microseconds of CPU for a request.
    pub cpu: f64,
    /// How long requests took.
    pub latency: Latency,
}

/// How long requests took, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// Half of them at most.
    pub p50: f64,
    /// And 99 of 100.
    pub p99: f64,
}

impl Latency {
    /// Of requests, in any order.
    pub fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let quantile =
            |share: usize| latencies.get(latencies.len() * share / 100).map_or(0.0, Duration::as_secs_f64) * 1e6;
        Self { p50: quantile(50), p99: quantile(99) }
    }
}

/// Starts every contestant, with so many connections.
///
/// # Errors
/// When one is not installed, or does not serve.
pub fn start(
    contestants: &[Contestant],
    connections: usize,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<Running>, StartError> {
    let start = |contestant: &Contestant| {
        let failed = |error: StartError| StartError(format!("{}: {error}", contestant.label()));
        let proxy = contestant.setup.start(surroundings).map_err(failed)?;
        let load = Load::open(&proxy.target, connections).map_err(|error| failed(error.into()))?;
        Ok(Running { proxy, load })
    };
    contestants.iter().map(start).collect()
}

/// Measures each once a round; the order is turned round every time.
///
/// # Errors
/// When a measurement fails.
pub fn measure<R>(
    contestants: &[Contestant],
    running: &mut [Running],
    rounds: usize,
    mut one: impl FnMut(&mut Running) -> io::Result<R>,
) -> Result<Measured<R>, StartError> {
    let mut all: Vec<Vec<R>> = running.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let order = 0..contestants.len();
        let order: Vec<usize> = if round % 2 == 0 { order.collect() } else { order.rev().collect() };
        for place in order {
            let failed = |error: io::Error| StartError(format!("{}: {error}", contestants[place].label()));
            all[place].push(one(&mut running[place]).map_err(failed)?);
        }
    }
    let named =
        contestants.iter().zip(all).map(|(contestant, results)| (contestant.setup.kind, contestant.name, results));
    Ok(Measured { contestants: named.collect() })
}

/// A round at saturation: so many requests.
///
/// # Errors
/// When one fails.
pub fn saturated(running: &mut Running, requests: usize) -> io::Result<Saturated> {
    let before = running.proxy.process.cpu_time()?;
    let took = running.load.closed_loop(requests)?.as_secs_f64();
    let cpu = running.proxy.process.cpu_time()?.saturating_sub(before).as_secs_f64();
    let requests = requests as f64;
    Ok(Saturated { cpu: cpu * 1e6 / requests, rate: requests / took, busy: cpu / took })
}

/// A round at a fixed rate: so many requests.
///
/// # Errors
/// When one fails.
pub fn paced(running: &mut Running, rate: u32, requests: usize) -> io::Result<Paced> {
    let before = running.proxy.process.cpu_time()?;
    let latencies = running.load.open_loop(rate, requests)?;
    let cpu = running.proxy.process.cpu_time()?.saturating_sub(before).as_secs_f64();
    Ok(Paced { cpu: cpu * 1e6 / requests as f64, latency: Latency::of(latencies) })
}

impl<R> Measured<R> {
    /// Every contestant in order: what it is, and its rounds.
    pub fn rows(&self) -> impl Iterator<Item = (Kind, &'static str, &[R])> {
        self.contestants.iter().map(|(kind, name, rounds)| (*kind, *name, rounds.as_slice()))
    }

    /// A figure of one contestant.
    ///
    /// # Errors
    /// As [`Self::find`]; so for the others.
    pub fn figure(&self, of: (Kind, &str), figure: impl Fn(&R) -> f64) -> Result<Figure, StartError> {
        Figure::of(self.find(of)?.iter().map(figure)).ok_or_else(|| not_measured(of))
    }

    /// How a figure of one is to that of another, round by round.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn ratio(&self, of: (Kind, &str), to: (Kind, &str), figure: impl Fn(&R) -> f64) -> Result<Figure, StartError> {
        let pairs = self.find(of)?.iter().zip(self.find(to)?);
        Figure::of(pairs.map(|(of, to)| figure(of) / figure(to))).ok_or_else(|| not_measured(of))
    }

    /// The rounds of one.
    ///
    /// # Errors
    /// When it was not measured.
    pub fn find(&self, of: (Kind, &str)) -> Result<&[R], StartError> {
        let found = self.contestants.iter().find(|(kind, name, _)| (*kind, *name) == of);
        found.map(|(_, _, rounds)| rounds.as_slice()).ok_or_else(|| not_measured(of))
    }
}

fn not_measured((kind, name): (Kind, &str)) -> StartError {
    StartError(format!("{kind}, {name}: not measured"))
}
