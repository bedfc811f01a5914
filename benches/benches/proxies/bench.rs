//! What every section works with: the upstream, certificates, the filters as files, and the goals so far.

use crate::options::Options;
use outrigger_benches::configurations::{combined, six_filters};
use outrigger_benches::figures::Report;
use outrigger_benches::proxies::{Filters, Kind, Listener, Plugin, Setup, Surroundings, module_cache};
use outrigger_benches::sdk;
use outrigger_benches::tls::Certificates;
use outrigger_benches::upstream::Upstream;
use outrigger_tests::optimised;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::error::Error;
use std::path::PathBuf;

/// What every section works with.
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) upstream: Upstream,
    pub(crate) modules: Modules,
    pub(crate) report: Report,
    directory: PathBuf,
    certificates: Certificates,
}

/// The filters, as files.
pub(crate) struct Modules {
    baseline: PathBuf,
    hostcalls: PathBuf,
    six: Vec<(PathBuf, &'static str)>,
    traffic: PathBuf,
}

impl Bench {
    pub(crate) fn new(options: Options) -> Result<Self, Box<dyn Error>> {
        // As many connections as a section opens; the proxies inherit it.
        let most = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?;
        let directory = std::env::temp_dir().join(format!("outrigger-bench-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let certificates = Certificates::make(&directory)?;
        let (modules, upstream) = (Modules::make()?, Upstream::start()?);
        let bench = Self { options, upstream, modules, report: Report::default(), directory, certificates };
        // Compiles what is not in the cache: no figure is to be that of a compiler.
        let modules = &bench.modules;
        for filters in
            [modules.six(0.0), modules.six_as_theirs(), modules.traffic(), modules.trivial(5), modules.hostcall("hit")]
        {
            Setup { kind: Kind::Outrigger, filters, listener: Listener::HTTP1 }.start(&bench.surroundings())?;
        }
        Ok(bench)
    }

    /// What configurations name.
    pub(crate) fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            upstream: self.upstream.port,
            directory: &self.directory,
            certificates: &self.certificates,
            module_cache: module_cache(),
            ours: &self.options.ours,
            before: self.options.before.as_deref(),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Logs of a run that failed have been shown.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Modules {
    fn make() -> Result<Self, String> {
        let six = six_filters().into_iter().map(|(name, _)| Ok((optimised::path(name)?, name)));
        Ok(Self {
            baseline: sdk::build("sdk-baseline")?,
            hostcalls: sdk::build("sdk-hostcalls")?,
            six: six.collect::<Result<_, String>>()?,
            traffic: optimised::path("traffic")?,
        })
    }

    /// So many trivial filters as the SDK makes them.
    pub(crate) fn trivial(&self, count: usize) -> Filters {
        let trivial = Plugin { module: self.baseline.clone(), ours: None, configuration: json!({}) };
        Filters::Wasm(vec![trivial; count])
    }

    /// Our six. `mirrored`: percent of requests; about none for 0.
    pub(crate) fn six(&self, mirrored: f64) -> Filters {
        let configured = six_filters().into_iter().zip(&self.six);
        let plugins = configured.map(|((_, mut configuration), (module, name))| {
            if *name == "mirroring" && mirrored > 0.0 {
                let routes = configuration["routes"].as_object_mut().into_iter().flatten();
                routes.for_each(|(_, route)| route["mirrors"][0]["percentage"] = json!({"value": mirrored}));
            }
            Plugin { module: module.clone(), ours: Some(name), configuration }
        });
        Filters::Wasm(plugins.collect())
    }

    /// Our six, as our proxy runs what it knows nothing of.
    pub(crate) fn six_as_theirs(&self) -> Filters {
        let configured = six_filters().into_iter().zip(&self.six);
        let plugins = configured.map(|((_, configuration), (module, _))| Plugin {
            module: module.clone(),
            ours: None,
            configuration,
        });
        Filters::Wasm(plugins.collect())
    }

    /// The same as one module.
    pub(crate) fn traffic(&self) -> Filters {
        Filters::Wasm(vec![Plugin { module: self.traffic.clone(), ours: None, configuration: combined() }])
    }

    /// A filter that makes one hostcall over and over.
    pub(crate) fn hostcall(&self, which: &str) -> Filters {
        Filters::Wasm(vec![Plugin { module: self.hostcalls.clone(), ours: None, configuration: json!(which) }])
    }
}
