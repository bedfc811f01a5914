//! A test for every case in every engine.

use libtest_mimic::{Failed, Trial};
use outrigger_tests::case_file::{self, Located};
use outrigger_tests::envoy::{self, Envoy};
use outrigger_tests::{native, root, tools};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Engines that tests share.
#[derive(Clone, Default)]
pub(crate) struct Engines {
    proxies: Arc<Mutex<BTreeMap<String, Arc<Mutex<Group>>>>>,
}

/// The cases that share an Envoy: of one filter, with the same clusters missing.
struct Group {
    cases: Vec<Arc<Located>>,
    proxy: Option<Result<Envoy, String>>,
    left: usize,
}

impl Engines {
    /// Ends every proxy.
    pub(crate) fn stop(&self) {
        if let Ok(mut proxies) = self.proxies.lock() {
            proxies.clear();
        }
    }

    fn group(&self, located: &Arc<Located>) -> Result<Arc<Mutex<Group>>, String> {
        let filter = located.id.split("::").next().unwrap_or_default();
        let key = format!("{filter} without {:?}", envoy::absent_clusters(located));
        let mut proxies = self.proxies.lock().map_err(|_| "another test panicked")?;
        let group = proxies
            .entry(key)
            .or_insert_with(|| Arc::new(Mutex::new(Group { cases: Vec::new(), proxy: None, left: 0 })));
        Ok(group.clone())
    }
}

/// The tests.
pub(crate) fn trials(engines: &Engines) -> Result<Vec<Trial>, String> {
    let mut trials = Vec::new();
    for located in case_file::all(&root())? {
        let located = Arc::new(located);
        trials.push(excepted(&located, "native", {
            let located = located.clone();
            Box::new(move || report(native::run(&located)))
        }));
        let run: Run = if located.case.faults.is_empty() {
            let group = engines.group(&located)?;
            if !located.case.except.contains_key("envoy") {
                let mut group = group.lock().map_err(|_| "another test panicked")?;
                group.cases.push(located.clone());
                group.left += 1;
            }
            let located = located.clone();
            Box::new(move || in_envoy(&group, &located))
        } else {
            let located = located.clone();
            Box::new(move || available().and_then(|()| report(envoy::refuses(&located))))
        };
        trials.push(excepted(&located, "envoy", run));
    }
    Ok(trials)
}

type Run = Box<dyn FnOnce() -> Result<(), Failed> + Send>;

/// A test, or one that says why an engine does not run the case.
fn excepted(located: &Located, engine: &str, run: Run) -> Trial {
    let name = format!("{}::{engine}", located.id);
    match located.case.except.get(engine) {
        Some(reason) => Trial::test(format!("{name} (not here: {reason})"), || Ok(())).with_ignored_flag(true),
        None => Trial::test(name, run),
    }
}

/// Whether Envoy can be had. Where it cannot, a laptop goes on without, loudly; CI fails.
fn available() -> Result<(), Failed> {
    tools::envoy().and_then(|_| tools::wasm_opt()).map(|_| ()).map_err(Failed::from)
}

fn in_envoy(group: &Mutex<Group>, located: &Located) -> Result<(), Failed> {
    let mut group = group.lock().map_err(|_| "another case of this filter panicked")?;
    let Group { cases, proxy, left } = &mut *group;
    let proxy = proxy.get_or_insert_with(|| {
        available().map_err(|failed| format!("{:?}", failed.message()))?;
        let cases: Vec<&Located> = cases.iter().map(AsRef::as_ref).collect();
        Envoy::start(&cases)
    });
    let wrong = match proxy {
        Ok(envoy) => envoy.run(located),
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
