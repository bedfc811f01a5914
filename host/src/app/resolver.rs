//! Names of endpoints → addresses, looked up at a reload and again from time to time.

use compiler::snapshot::{DnsDiscovery, Endpoint, Snapshot};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a reload waits for names: those that take longer come with the next refresh.
const LIMIT: Duration = Duration::from_secs(5);
/// Names that are looked up at the same time.
const THREADS: usize = 16;

/// Looks a name up.
pub type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// What names stand for, as far as it is known.
pub(super) struct Resolver {
    lookup: Lookup,
    known: Mutex<HashMap<String, Known>>,
    /// One refresh at a time: names that take long are not asked for again meanwhile.
    refreshing: Mutex<()>,
}

/// What a name stood for when it was last looked up.
struct Known {
    /// In the order of the answer.
    addresses: Vec<IpAddr>,
    at: Instant,
}

impl Resolver {
    /// `lookup`: how.
    pub(super) fn new(lookup: Lookup) -> Self {
        Self { lookup, known: Mutex::default(), refreshing: Mutex::default() }
    }

    /// Looks up the names of a snapshot that nothing is known of.
    pub(super) fn learn(&self, snapshot: &Snapshot) {
        let unknown: BTreeSet<&str> = {
            let known = self.known();
            names(snapshot).map(|(name, _)| name).filter(|name| !known.contains_key(*name)).collect()
        };
        self.look_up(unknown);
    }

    /// Looks up the names of a snapshot whose time has come. Whether any stands for something else now.
    pub(super) fn refresh(&self, snapshot: &Snapshot, now: Instant) -> bool {
        let Ok(_one) = self.refreshing.try_lock() else { return false };
        let due: BTreeSet<&str> = {
            let known = self.known();
            let is_due = |(name, dns): &(&str, &DnsDiscovery)| {
                known.get(*name).is_none_or(|known| now.saturating_duration_since(known.at) >= dns.refresh_rate.0)
            };
            names(snapshot).filter(is_due).map(|(name, _)| name).collect()
        };
        self.look_up(due)
    }

    /// A snapshot with the addresses of its names among its endpoints.
    pub(super) fn resolve(&self, snapshot: &Snapshot) -> Snapshot {
        let (mut resolved, known) = (snapshot.clone(), self.known());
        for cluster in &mut resolved.clusters {
            let Some(dns) = &cluster.dns else { continue };
            for wanted in &dns.names {
                let addresses = known.get(&wanted.name).map_or(&[][..], |known| &known.addresses);
                let used = if dns.logical { addresses.get(..1).unwrap_or_default() } else { addresses };
                cluster.endpoints.extend(used.iter().map(|address| Endpoint {
                    address: SocketAddr::new(*address, wanted.port),
                    weight: wanted.weight,
                    priority: wanted.priority,
                    locality: wanted.locality.clone(),
                    plaintext: wanted.plaintext,
                }));
            }
        }
        resolved
    }

    /// Looks names up. Whether any stands for something else now. What fails keeps what was known.
    fn look_up(&self, wanted: BTreeSet<&str>) -> bool {
        let (count, mut changed) = (wanted.len(), false);
        let answers = ask(&self.lookup, wanted);
        let deadline = Instant::now() + LIMIT;
        for _ in 0..count {
            let Ok((name, answer)) = answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
                tracing::warn!("names take longer than {LIMIT:?} to look up");
                break;
            };
            match answer {
                Ok(addresses) => changed |= self.note(name, addresses),
                Err(error) => {
                    tracing::warn!(name, %error, "a name cannot be looked up");
                    // Not asked again before its time, as an answer is not.
                    let mut known = self.known();
                    let entry = known.entry(name).or_insert(Known { addresses: Vec::new(), at: Instant::now() });
                    entry.at = Instant::now();
                }
            }
        }
        changed
    }

    /// Notes an answer. Whether it says something else than before; in another order it does not.
    fn note(&self, name: String, addresses: Vec<IpAddr>) -> bool {
        let at = Instant::now();
        let mut known = self.known();
        let same = |known: &Known| {
            known.addresses.iter().collect::<BTreeSet<_>>() == addresses.iter().collect::<BTreeSet<_>>()
        };
        match known.get_mut(&name).filter(|known| same(known)) {
            Some(known) => {
                known.at = at;
                false
            }
            None => {
                known.insert(name, Known { addresses, at });
                true
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        // Each entry is replaced whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn names(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &DnsDiscovery)> {
    let dns = snapshot.clusters.iter().filter_map(|cluster| cluster.dns.as_ref());
    dns.flat_map(|dns| dns.names.iter().map(move |wanted| (wanted.name.as_str(), dns)))
}

/// Asks for names on threads of their own: the system's way of looking up blocks, and knows no limit in time.
fn ask(lookup: &Lookup, wanted: BTreeSet<&str>) -> Receiver<(String, io::Result<Vec<IpAddr>>)> {
    let (sender, answers) = channel();
    let mut shares: Vec<Vec<String>> = vec![Vec::new(); THREADS.min(wanted.len())];
    for (place, name) in wanted.into_iter().enumerate() {
        if let Some(share) = shares.get_mut(place % THREADS) {
            share.push(name.to_owned());
        }
    }
    for share in shares {
        let (lookup, sender) = (lookup.clone(), sender.clone());
        let ask_all = move || {
            for name in share {
                let answer = lookup(&name);
                if sender.send((name, answer)).is_err() {
                    return;
                }
            }
        };
        // Without a thread nobody answers: the names keep what they had.
        let _ = std::thread::Builder::new().name("lookup".into()).spawn(ask_all);
    }
    answers
}

pub(super) fn system(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use compiler::snapshot::{Cluster, DnsName};

    fn snapshot(logical: bool) -> Snapshot {
        let name =
            |name: &str| serde_json::from_value::<DnsName>(serde_json::json!({"name": name, "port": 80})).unwrap();
        let names = vec![name("a.test"), name("b.test")];
        let dns = Some(DnsDiscovery { names, logical, ..DnsDiscovery::default() });
        let mut cluster = Cluster { dns, ..Cluster::named("c") };
        let endpoint = serde_json::json!({"address": "127.0.0.9:1"});
        cluster.endpoints.push(serde_json::from_value(endpoint).unwrap());
        Snapshot { clusters: vec![cluster], ..Snapshot::default() }
    }

    fn addresses(snapshot: &Snapshot) -> Vec<String> {
        snapshot.clusters.iter().flat_map(|cluster| &cluster.endpoints).map(|one| one.address.to_string()).collect()
    }

    type Answers = Mutex<HashMap<String, Vec<IpAddr>>>;

    /// A resolver whose answers are those of the map; a name without one fails.
    fn resolver() -> (Resolver, Arc<Answers>) {
        let answers = Arc::<Answers>::default();
        let own = answers.clone();
        let lookup: Lookup = Arc::new(move |name: &str| {
            own.lock().unwrap().get(name).cloned().ok_or_else(|| io::Error::other("no such name"))
        });
        (Resolver::new(lookup), answers)
    }

    fn answer(answers: &Answers, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        answers.lock().unwrap().insert(name.to_owned(), addresses);
    }

    #[test]
    fn names_become_endpoints_beside_those_that_are_given() {
        let (resolver, answers) = resolver();
        answer(&answers, "a.test", &["10.0.0.1", "10.0.0.2"]);
        answer(&answers, "b.test", &["::1"]);
        resolver.learn(&snapshot(false));
        let all = ["127.0.0.9:1", "10.0.0.1:80", "10.0.0.2:80", "[::1]:80"];
        assert_eq!(addresses(&resolver.resolve(&snapshot(false))), all);
        assert_eq!(addresses(&resolver.resolve(&snapshot(true))), ["127.0.0.9:1", "10.0.0.1:80", "[::1]:80"]);
    }

    #[test]
    fn a_refresh_tells_what_has_changed_when_it_is_due() {
        let (resolver, answers) = resolver();
        answer(&answers, "a.test", &["10.0.0.1", "10.0.0.2"]);
        resolver.learn(&snapshot(false));
        let now = Instant::now();
        answer(&answers, "a.test", &["10.0.0.3"]);
        assert!(!resolver.refresh(&snapshot(false), now));
        let later = now + Duration::from_secs(61);
        assert!(resolver.refresh(&snapshot(false), later));
        assert_eq!(addresses(&resolver.resolve(&snapshot(false))), ["127.0.0.9:1", "10.0.0.3:80"]);
        answer(&answers, "a.test", &["10.0.0.3"]);
        assert!(!resolver.refresh(&snapshot(false), later));
    }

    #[test]
    fn what_cannot_be_looked_up_keeps_what_it_had() {
        let (resolver, answers) = resolver();
        answer(&answers, "a.test", &["10.0.0.1"]);
        resolver.learn(&snapshot(false));
        answers.lock().unwrap().clear();
        assert!(!resolver.refresh(&snapshot(false), Instant::now() + Duration::from_secs(61)));
        assert_eq!(addresses(&resolver.resolve(&snapshot(false))), ["127.0.0.9:1", "10.0.0.1:80"]);
    }

    #[test]
    fn another_order_is_no_change() {
        let (resolver, answers) = resolver();
        answer(&answers, "a.test", &["10.0.0.1", "10.0.0.2"]);
        resolver.learn(&snapshot(false));
        answer(&answers, "a.test", &["10.0.0.2", "10.0.0.1"]);
        assert!(!resolver.refresh(&snapshot(false), Instant::now() + Duration::from_secs(61)));
    }
}
