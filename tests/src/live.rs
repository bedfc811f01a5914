//! Cases over sockets: what is the same for every proxy that runs as itself. Clients connect to it, upstreams stand
//! behind it, time is real.

use crate::case_file::{Answer, Located, Request};
use crate::certs;
use crate::client::{Client, Tls, unanswered};
use crate::engine::{Observed, Outcome};
use crate::fake_upstream::{Answers, FakeUpstream};
use crate::native;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How much later than asked a held request may be answered on a busy machine.
const LATENESS: Duration = Duration::from_secs(1);

/// A proxy that serves cases.
pub trait LiveProxy {
    /// The metrics of its plugins.
    fn metrics(&self) -> BTreeMap<String, i64>;
    /// Whether no request is on its way to an upstream.
    fn is_quiet(&self) -> bool;
    /// How far its log has come.
    fn log_length(&self) -> usize;
    /// Lines of the log from there on.
    fn log_since(&self, start: usize) -> Vec<String>;
}

/// Clients and upstreams of the cases that one proxy serves.
pub struct Surroundings {
    /// Drives the clients and the upstreams.
    pub runtime: Runtime,
    /// What stands behind the proxy.
    pub upstream: FakeUpstream,
    /// How the clusters of all cases answer. From the start, as plugins may ask before the case is run: what is asked
    /// for by itself has to be of a cluster that no other case has.
    answers: Answers,
    marks: usize,
}

impl Surroundings {
    /// Starts the upstreams of some cases.
    ///
    /// # Errors
    /// When a port or a thread is not to be had.
    pub fn start(cases: &[&Located]) -> Result<Self, String> {
        let mut surroundings = Self::of_clusters(cases.iter().flat_map(|case| clusters(case)).collect())?;
        surroundings.answers = cases.iter().flat_map(|located| answers(located)).collect();
        surroundings.upstream.answer(surroundings.answers.clone(), Answer::default());
        Ok(surroundings)
    }

    /// Starts an upstream for each cluster.
    ///
    /// # Errors
    /// When a port or a thread is not to be had.
    pub fn of_clusters(all: BTreeSet<String>) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let upstream = runtime.block_on(FakeUpstream::start(all)).map_err(|error| error.to_string())?;
        Ok(Self { runtime, upstream, answers: Answers::new(), marks: 0 })
    }

    /// The clusters of the cases: port, and whether HTTP/2 is spoken there.
    pub fn clusters(&self, cases: &[&Located]) -> BTreeMap<String, (u16, bool)> {
        let grpc: BTreeSet<&String> = cases.iter().flat_map(|located| grpc_clusters(located)).collect();
        self.upstream.ports().iter().map(|(name, port)| (name.clone(), (*port, grpc.contains(name)))).collect()
    }

    /// Sends a request to a port: what the client saw, and what had arrived by then. Clusters answer as `answers` says.
    pub fn request(&mut self, port: u16, request: &Request, answers: Answers) -> Observed {
        self.upstream.answer(answers, Answer::default());
        self.marks += 1;
        let mark = format!("c{}", self.marks);
        let observed = self.runtime.block_on(exchange(&mut None, port, None, request, &mark));
        Observed { arrived: self.upstream.take(&mark), ..observed }
    }

    /// Everything that is not as a case expects of a proxy that serves it at a port.
    pub fn run(&mut self, proxy: &dyn LiveProxy, port: u16, located: &Located) -> Vec<String> {
        let tls = match tls(located) {
            Ok(tls) => tls,
            Err(error) => return vec![error],
        };
        let of_others = self.answers.clone().into_iter();
        self.upstream.answer(of_others.chain(answers(located)).collect(), located.case.upstream.clone());
        let mut wrong = Vec::new();
        for (i, request) in located.case.requests.iter().enumerate() {
            let outcome = self.send(proxy, port, tls.as_ref(), request);
            let faults = crate::check::outcome(&request.expect, &outcome);
            wrong.extend(faults.into_iter().map(|fault| format!("requests[{i}]: {fault}")));
        }
        wrong
    }

    fn send(&mut self, proxy: &dyn LiveProxy, port: u16, tls: Option<&Tls>, request: &Request) -> Outcome {
        let counted = !request.expect.metrics.is_empty();
        let before = if counted { proxy.metrics() } else { BTreeMap::new() };
        let logged = proxy.log_length();
        let (mut each, mut marks, mut client) = (Vec::new(), Vec::new(), None);
        for _ in 0..request.times {
            self.marks += 1;
            let mark = format!("c{}", self.marks);
            each.push(self.runtime.block_on(exchange(&mut client, port, tls, request, &mark)));
            marks.push(mark);
        }
        // Copies are under way before the client has its answer, so whatever will arrive has arrived then.
        wait_until(Duration::from_secs(20), || proxy.is_quiet());
        for (observed, mark) in each.iter_mut().zip(&marks) {
            observed.arrived = self.upstream.take(mark);
        }
        let log = lines(proxy, logged, &request.expect.log);
        let after = if counted { proxy.metrics() } else { BTreeMap::new() };
        let metrics = after.into_iter().map(|(name, value)| (name.clone(), value - before.get(&name).unwrap_or(&0)));
        Outcome { each, metrics: metrics.collect(), log, lateness: LATENESS }
    }
}

/// Log lines from a place on, as soon as those that are expected are there.
pub fn lines(proxy: &dyn LiveProxy, start: usize, expected: &[String]) -> Vec<String> {
    let mut lines = proxy.log_since(start);
    wait_until(Duration::from_secs(3), || {
        lines = proxy.log_since(start);
        expected.iter().all(|text| lines.iter().any(|line| line.contains(text)))
    });
    lines
}

/// Waits for something that only real time can bring, for so long at most; nothing is decided by how long it takes.
pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if done() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

async fn exchange(
    client: &mut Option<Client>,
    port: u16,
    tls: Option<&Tls>,
    request: &Request,
    mark: &str,
) -> Observed {
    let mut open = match client.take().filter(Client::is_open) {
        Some(open) => open,
        None => match Client::connect(port, tls).await {
            Ok(open) => open,
            Err(error) => return unanswered(error),
        },
    };
    let observed = open.send(request, mark).await.unwrap_or_else(unanswered);
    *client = Some(open);
    observed
}

fn tls(located: &Located) -> Result<Option<Tls>, String> {
    let Some(peer) = &located.case.peer else {
        return Ok(None);
    };
    let identity = if peer.uri_sans.is_empty() { None } else { Some(certs::issue(&peer.uri_sans, None)?) };
    Ok(Some(Tls { identity, sni: peer.sni.clone(), alpn: Vec::new() }))
}

/// How the clusters that a case names answer.
fn answers(located: &Located) -> impl Iterator<Item = (String, Answer)> {
    let answers = located.case.clusters.iter();
    answers.filter_map(|(name, answer)| Some((name.clone(), answer.clone()?)))
}

/// The clusters that exist for a case.
pub fn clusters(located: &Located) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = native::CLUSTERS.iter().map(|&name| name.to_owned()).collect();
    for (name, answer) in &located.case.clusters {
        match answer {
            Some(_) => names.insert(name.clone()),
            None => names.remove(name),
        };
    }
    names
}

/// Names of clusters that must not exist for a case.
pub fn absent_clusters(located: &Located) -> BTreeSet<String> {
    let absent = located.case.clusters.iter().filter(|(_, answer)| answer.is_none());
    absent.map(|(name, _)| name.clone()).collect()
}

fn grpc_clusters(located: &Located) -> impl Iterator<Item = &String> {
    let speaks = |answer: &crate::case_file::Answer| answer.grpc.is_some() || answer.grpc_status.is_some();
    let clusters = located.case.clusters.iter();
    clusters.filter(move |(_, answer)| answer.as_ref().is_some_and(speaks)).map(|(name, _)| name)
}
