//! A test for every case in every engine.

use libtest_mimic::{Failed, Trial};
use outrigger_tests::case_file::{self, Located};
use outrigger_tests::envoy::{self, Envoy};
use outrigger_tests::host_engine::{self, Host};
use outrigger_tests::{live, native, root, sdks, tools};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Proxies that tests share: of each kind one for a group of cases.
#[derive(Clone, Default)]
pub(crate) struct Engines {
    envoy: Groups<Envoy>,
    host: Groups<Host>,
}

/// A proxy that serves a group of cases.
trait Engine: Sized {
    const NAME: &'static str;

    fn start(cases: &[&Located]) -> Result<Self, String>;

    /// Everything that is not as a case expects.
    fn run(&mut self, located: &Located) -> Vec<String>;

    /// Whether it refuses a case's configuration for the faults that the case expects: what is not as expected.
    fn refuses(located: &Located) -> Vec<String>;
}

impl Engine for Envoy {
    const NAME: &'static str = "envoy";

    fn start(cases: &[&Located]) -> Result<Self, String> {
        available()?;
        Envoy::start(cases)
    }

    fn run(&mut self, located: &Located) -> Vec<String> {
        Envoy::run(self, located)
    }

    fn refuses(located: &Located) -> Vec<String> {
        available().map_or_else(|error| vec![error], |()| envoy::refuses(located))
    }
}

impl Engine for Host {
    const NAME: &'static str = "host";

    fn start(cases: &[&Located]) -> Result<Self, String> {
        Host::start(cases)
    }

    fn run(&mut self, located: &Located) -> Vec<String> {
        Host::run(self, located)
    }

    fn refuses(located: &Located) -> Vec<String> {
        host_engine::refuses(located)
    }
}

/// Groups of cases by what they must agree on: the filter, and the clusters that are missing.
struct Groups<E>(Arc<Mutex<ByKey<E>>>);

type ByKey<E> = BTreeMap<String, Arc<Mutex<Group<E>>>>;

/// The cases that share a proxy.
struct Group<E> {
    cases: Vec<Arc<Located>>,
    proxy: Option<Result<E, String>>,
    left: usize,
}

impl<E> Clone for Groups<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E> Default for Groups<E> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<E: Engine + Send + 'static> Groups<E> {
    /// The test of a case in this engine.
    fn trial(&self, located: &Arc<Located>) -> Result<Trial, String> {
        let own = located.clone();
        if !located.case.faults.is_empty() {
            return Ok(excepted(located, E::NAME, Box::new(move || report(E::refuses(&own)))));
        }
        let group = self.group(located)?;
        if exception(located, E::NAME).is_none() {
            let mut group = group.lock().map_err(|_| "another test panicked")?;
            group.cases.push(own.clone());
            group.left += 1;
        }
        Ok(excepted(located, E::NAME, Box::new(move || run(&group, &own))))
    }

    fn group(&self, located: &Located) -> Result<Arc<Mutex<Group<E>>>, String> {
        let filter = located.id.split("::").next().unwrap_or_default();
        let key = format!("{filter} without {:?}", live::absent_clusters(located));
        let mut groups = self.0.lock().map_err(|_| "another test panicked")?;
        let group = groups
            .entry(key)
            .or_insert_with(|| Arc::new(Mutex::new(Group { cases: Vec::new(), proxy: None, left: 0 })));
        Ok(group.clone())
    }

    fn stop(&self) {
        if let Ok(mut groups) = self.0.lock() {
            groups.clear();
        }
    }
}

impl Engines {
    /// Ends every proxy.
    pub(crate) fn stop(&self) {
        self.envoy.stop();
        self.host.stop();
    }
}

/// The tests.
pub(crate) fn trials(engines: &Engines) -> Result<Vec<Trial>, String> {
    let mut trials = Vec::new();
    for located in case_file::all(&root())? {
        let located = Arc::new(located);
        let own = located.clone();
        trials.push(excepted(&located, "native", Box::new(move || report(native::run(&own)))));
        trials.push(engines.envoy.trial(&located)?);
        trials.push(engines.host.trial(&located)?);
    }
    for located in sdks::cases()? {
        let located = Arc::new(located);
        trials.push(engines.envoy.trial(&located)?);
        trials.push(engines.host.trial(&located)?);
    }
    Ok(trials)
}

type Run = Box<dyn FnOnce() -> Result<(), Failed> + Send>;

/// Why an engine does not run a case: `live` stands for every proxy that runs as itself.
fn exception<'l>(located: &'l Located, engine: &str) -> Option<&'l String> {
    let except = &located.case.except;
    except.get(engine).or_else(|| except.get("live").filter(|_| engine != "native"))
}

/// A test, or one that says why an engine does not run the case.
fn excepted(located: &Located, engine: &str, run: Run) -> Trial {
    let name = format!("{}::{engine}", located.id);
    match exception(located, engine) {
        Some(reason) => Trial::test(format!("{name} (not here: {reason})"), || Ok(())).with_ignored_flag(true),
        None => Trial::test(name, run),
    }
}

/// Whether Envoy can be had. Where it cannot, a laptop goes on without, loudly; CI fails.
fn available() -> Result<(), String> {
    tools::envoy().and_then(|_| tools::wasm_opt()).map(|_| ())
}

fn run<E: Engine>(group: &Mutex<Group<E>>, located: &Located) -> Result<(), Failed> {
    let mut group = group.lock().map_err(|_| "another case of this filter panicked")?;
    let Group { cases, proxy, left } = &mut *group;
    let proxy = proxy.get_or_insert_with(|| E::start(&cases.iter().map(AsRef::as_ref).collect::<Vec<_>>()));
    let wrong = match proxy {
        Ok(proxy) => proxy.run(located),
        Err(error) => vec![error.clone()],
    };
    *left -= 1;
    if *left == 0 {
        group.proxy = None;
    }
    report(wrong)
}

fn report(wrong: Vec<String>) -> Result<(), Failed> {
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}
