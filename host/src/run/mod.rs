//! `outrigger run`: the proxy from its start to its end, as signals and files say.

mod identity;
mod private_folder;
mod source;
mod watch;

pub(crate) use identity::Identities;
use identity::Refreshed;
pub(crate) use source::{Loaded, Source, compile, one, read_file, read_mesh, remarks, split, workload};
pub(crate) use watch::Watch;

use crate::cli::{BAD_DATA, LogFormat, RunArguments};
use compiler::snapshot::Snapshot;
use host::telemetry::{LogLevels, LogStyle, LogWriter, Registry, process_log};
use host::{Faults, Options, Proxy};
use istio_api::DocumentCache;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

/// How long the writer of logs has at the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Runs the proxy until it is told to end.
pub(crate) fn run(arguments: &RunArguments) -> ExitCode {
    let source = Source::of(arguments.snapshot.as_deref(), &arguments.mesh);
    let style = match arguments.log_format {
        LogFormat::Text => LogStyle::Text,
        LogFormat::Json => LogStyle::Json,
    };
    let outcome = options(arguments.cache.folder(), style, arguments.log_level.clone()).and_then(|options| {
        match arguments.validate {
            true => validate(&source, &options),
            false => {
                // Before there is anything to clear away.
                let signals = Signals::listen().map_err(|error| Faults::one(format!("signals: {error}")))?;
                start(source, options).map(|fleet| serve(fleet, signals))
            }
        }
    });
    outcome.unwrap_or_else(|faults| {
        faults.iter().for_each(|fault| eprintln!("{fault}"));
        ExitCode::from(BAD_DATA)
    })
}

/// What a proxy of this process is started with: its log is the process's.
pub(crate) fn options(cache: Option<PathBuf>, style: LogStyle, levels: LogLevels) -> Result<Options, Faults> {
    let registry = Registry::default();
    let writer = LogWriter::start(&registry).map_err(|error| Faults::one(format!("no thread for logs: {error}")))?;
    let (subscriber, log) = process_log(writer.clone(), Path::new("/dev/stderr"), style, levels);
    tracing::subscriber::set_global_default(subscriber).map_err(|error| Faults::one(error.to_string()))?;
    Ok(Options {
        module_cache: cache,
        registry,
        log_writer: Some(writer),
        log: Some(log),
        guest_log: None,
        memory_use: None,
        lookup: None,
    })
}

fn validate(source: &Source, options: &Options) -> Result<ExitCode, Faults> {
    let now = SystemTime::now();
    let valid = source.identities(now).and_then(|mut identities| {
        let loaded = source.load(&mut DocumentCache::default(), &mut identities, now)?;
        say(&loaded.remarks);
        let mut faults = Faults::default();
        for (_, snapshot) in loaded.proxies {
            Proxy::validate(snapshot, own(options)).err().into_iter().for_each(|found| faults.append(found));
        }
        faults.or(())
    });
    // What plugins have to say of it.
    options.log_writer.iter().for_each(|writer| writer.close(LAST_LINES));
    valid?;
    println!("{}: valid", source.name());
    Ok(ExitCode::SUCCESS)
}

/// Proxies of one process, and what they are read from.
pub(crate) struct Fleet {
    source: Source,
    /// What was read of it.
    known: DocumentCache,
    options: Options,
    identities: Identities,
    proxies: BTreeMap<String, Arc<Proxy>>,
    snapshots: Snapshots,
    /// Why certificates are not renewed.
    not_renewed: Faults,
}

/// What each proxy runs, to look at.
#[derive(Clone, Default)]
pub(crate) struct Snapshots(Arc<Mutex<BTreeMap<String, Snapshot>>>);

impl Snapshots {
    /// Looks at them.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&BTreeMap<String, Snapshot>) -> T) -> T {
        // Each is replaced whole.
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Snapshot>)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Starts the proxies of a source.
pub(crate) fn start(source: Source, options: Options) -> Result<Fleet, Faults> {
    let writer = options.log_writer.clone();
    let now = SystemTime::now();
    let started = source.identities(now).and_then(|identities| {
        let (known, proxies, snapshots) = (DocumentCache::default(), BTreeMap::new(), Snapshots::default());
        let mut fleet =
            Fleet { source, known, options, identities, proxies, snapshots, not_renewed: Faults::default() };
        let loaded = fleet.source.load(&mut fleet.known, &mut fleet.identities, now)?;
        fleet.apply(loaded)?;
        Ok(fleet)
    });
    started.inspect_err(|_| writer.iter().for_each(|writer| writer.close(LAST_LINES)))
}

/// What the proxies of a process do not share: what they count.
fn own(options: &Options) -> Options {
    Options { registry: Registry::default(), ..options.clone() }
}

/// Says what is to be known of what was read.
pub(crate) fn say(remarks: &[String]) {
    remarks.iter().for_each(|remark| eprintln!("{remark}"));
}

impl Fleet {
    /// Has every proxy serve what was read; new ones start, those that are no longer there end. What one refuses the
    /// others serve all the same.
    fn apply(&mut self, loaded: Loaded) -> Result<(), Faults> {
        say(&loaded.remarks);
        let (mut faults, several) = (Faults::default(), loaded.proxies.len() > 1);
        let names: BTreeSet<String> = loaded.proxies.iter().map(|(name, _)| name.clone()).collect();
        for (name, snapshot) in loaded.proxies {
            let run = snapshot.clone();
            let done = match self.proxies.get(&name) {
                Some(proxy) => proxy.reload(run),
                None => Proxy::start(run, own(&self.options)).map(|proxy| {
                    tell_addresses(&name, &proxy);
                    self.proxies.insert(name.clone(), Arc::new(proxy));
                }),
            };
            match done {
                Ok(()) => self.snapshots.change(|all| drop(all.insert(name, snapshot))),
                Err(found) if several => faults.extend(&name, found.iter()),
                Err(found) => faults.append(found),
            }
        }
        self.proxies.retain(|name, _| names.contains(name));
        self.snapshots.change(|all| all.retain(|name, _| names.contains(name)));
        faults.or(())
    }

    /// What each proxy runs.
    pub(crate) fn snapshots(&self) -> Snapshots {
        self.snapshots.clone()
    }

    /// What is watched for changes.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.source.paths()
    }

    /// What is refused changes nothing: what runs goes on, and the faults are said.
    ///
    /// # Errors
    /// The faults.
    pub(crate) fn reload(&mut self) -> Result<(), Faults> {
        let name = self.source.name();
        let done = match self.source.load(&mut self.known, &mut self.identities, SystemTime::now()) {
            Ok(loaded) => self.apply(loaded),
            Err(faults) => Err(self.refuse(faults)),
        };
        match &done {
            Ok(()) => eprintln!("{name}: reloaded"),
            Err(faults) => {
                faults.iter().for_each(|fault| eprintln!("{fault}"));
                eprintln!("{name}: refused; what ran before goes on");
            }
        }
        done
    }

    /// The same, and all certificates.
    fn reload_everything(&mut self) -> Result<(), Faults> {
        let done = self.reload();
        self.reload_certificates();
        done
    }

    fn refuse(&self, faults: Faults) -> Faults {
        self.proxies.values().for_each(|proxy| drop(proxy.refuse(faults.clone())));
        faults
    }

    /// Log files that were moved away, certificates that were renewed.
    fn reopen_files(&self) {
        self.proxies.values().for_each(|proxy| proxy.reopen_logs());
        self.reload_certificates();
    }

    /// Each proxy says what is wrong with them, and where to look for it.
    fn reload_certificates(&self) {
        for proxy in self.proxies.values() {
            if let Err(faults) = proxy.reload_certificates() {
                faults.iter().for_each(|fault| eprintln!("outrigger: {fault}; what was used before goes on"));
            }
        }
    }

    /// Has certificates renewed, and those used that are new. Whether others are trusted than before, so that
    /// everything has to be made anew.
    fn refresh_identities(&mut self, now: SystemTime) -> bool {
        let Refreshed { certificates, trust, faults } = self.identities.refresh(now);
        if certificates && !trust {
            self.reload_certificates();
        }
        if faults != self.not_renewed {
            faults.iter().for_each(|fault| eprintln!("outrigger: {fault}; it is tried again"));
            self.proxies.values().for_each(|proxy| proxy.note_not_renewed(&faults));
            self.not_renewed = faults;
        }
        trust
    }
}

/// Says where a proxy listens.
fn tell_addresses(name: &str, proxy: &Proxy) {
    let of = if name.is_empty() { String::new() } else { format!("{name} ") };
    for (listener, address) in proxy.addresses() {
        eprintln!("{of}listener {listener}: {address}");
    }
    if let Some(address) = proxy.admin_address() {
        eprintln!("{of}admin: http://{address}");
    }
}

/// Serves until the process is told to end, and reloads when files change.
pub(crate) fn serve(fleet: Fleet, signals: Signals) -> ExitCode {
    let Signals { runtime, received } = signals;
    let ended = runtime.block_on(obey(fleet, received));
    // A drain that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the process is told by signals, from now on.
pub(crate) struct Signals {
    runtime: Runtime,
    received: Received,
}

struct Received {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    reopen: Signal,
}

impl Signals {
    /// Listens: from now on none ends the process by itself.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listen = async {
            std::io::Result::Ok(Received {
                hangup: signal(SignalKind::hangup())?,
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                reopen: signal(SignalKind::user_defined1())?,
            })
        };
        let received = runtime.block_on(listen)?;
        Ok(Self { runtime, received })
    }
}

/// Reloads (SIGHUP), reads files again (SIGUSR1) and ends as signals, the files and the admin server say. A second
/// signal to end does not wait for streams.
async fn obey(fleet: Fleet, received: Received) -> std::io::Result<()> {
    let Received { mut hangup, mut terminate, mut interrupt, mut reopen } = received;
    let mut watch = Watch::new(&fleet.paths());
    let mut certificates = tokio::time::interval(identity::LOOKED_AT);
    certificates.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fleet = fleet;
    loop {
        tokio::select! {
            _ = hangup.recv() => fleet = reload(fleet, Fleet::reload_everything).await?,
            () = watch.changed() => fleet = reload(fleet, Fleet::reload).await?,
            _ = reopen.recv() => fleet.reopen_files(),
            _ = certificates.tick(), if fleet.identities.are_kept() => {
                if fleet.refresh_identities(SystemTime::now()) {
                    fleet = reload(fleet, Fleet::reload).await?;
                }
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = quit_requested(&fleet) => break,
        }
    }
    drain(&fleet, &mut terminate, &mut interrupt).await;
    Ok(())
}

/// Reloads on a thread that may take its time.
async fn reload(mut fleet: Fleet, how: fn(&mut Fleet) -> Result<(), Faults>) -> std::io::Result<Fleet> {
    let done = tokio::task::spawn_blocking(move || {
        // It has said what is wrong.
        let _ = how(&mut fleet);
        fleet
    });
    done.await.map_err(std::io::Error::other)
}

/// Ready when the admin server of any proxy was told to end the process.
async fn quit_requested(fleet: &Fleet) {
    let mut requests: Vec<_> = fleet.proxies.values().map(|proxy| Box::pin(proxy.quit_requested())).collect();
    std::future::poll_fn(|cx| {
        let asked = requests.iter_mut().any(|request| request.as_mut().poll(cx).is_ready());
        if asked { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Waits until every proxy's streams have finished, each in its own time.
async fn drain(fleet: &Fleet, terminate: &mut Signal, interrupt: &mut Signal) {
    let mut draining = tokio::task::JoinSet::new();
    for proxy in fleet.proxies.values() {
        let proxy = proxy.clone();
        draining.spawn_blocking(move || proxy.drain());
    }
    let all = async {
        while let Some(drained) = draining.join_next().await {
            if let Ok(Err(cut)) = drained {
                eprintln!("outrigger: {cut}");
            }
        }
    };
    tokio::select! {
        () = all => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
