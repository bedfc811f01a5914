//! `outrigger run`: the proxy from its start to its end, as signals and files say.

use crate::cli::{LogFormat, RunArguments};
use compiler::snapshot::Snapshot;
use host::telemetry::{LogLevels, LogStyle, LogWriter, Registry, process_log};
use host::{Faults, Options, Proxy};
use notify::{RecursiveMode, Watcher};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Exit status for bad data, as istioctl's.
const BAD_DATA: u8 = 65;

/// How long a file must be left alone before it is read: editors and copies write in pieces.
const SETTLE: Duration = Duration::from_millis(100);

/// How long the writer of logs has at the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Runs the proxy until it is told to end.
pub(crate) fn run(arguments: &RunArguments) -> ExitCode {
    let path = &arguments.snapshot;
    let style = match arguments.log_format {
        LogFormat::Text => LogStyle::Text,
        LogFormat::Json => LogStyle::Json,
    };
    let outcome = options(arguments.cache.folder(), style, arguments.log_level.clone()).and_then(|options| {
        match arguments.validate {
            true => validate(path, options),
            false => start(path, options).map(|proxy| serve(proxy, path)),
        }
    });
    outcome.unwrap_or_else(|faults| {
        faults.iter().for_each(|fault| eprintln!("{}: {fault}", path.display()));
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
    })
}

fn validate(path: &Path, options: Options) -> Result<ExitCode, Faults> {
    let writer = options.log_writer.clone();
    let valid = read(path).and_then(|snapshot| Proxy::validate(snapshot, options));
    // What plugins have to say of it.
    writer.iter().for_each(|writer| writer.close(LAST_LINES));
    valid?;
    println!("{}: valid", path.display());
    Ok(ExitCode::SUCCESS)
}

/// Starts the proxy of a snapshot.
pub(crate) fn start(path: &Path, options: Options) -> Result<Arc<Proxy>, Faults> {
    let writer = options.log_writer.clone();
    let started = read(path).and_then(|snapshot| Proxy::start(snapshot, options));
    if started.is_err() {
        writer.iter().for_each(|writer| writer.close(LAST_LINES));
    }
    started.map(Arc::new)
}

fn read(path: &Path) -> Result<Snapshot, Faults> {
    let text = fs::read_to_string(path).map_err(|error| Faults::one(error.to_string()))?;
    serde_saphyr::from_str(&text).map_err(|error| Faults::one(error.to_string()))
}

/// Serves until the process is told to end, and reloads when the file changes.
pub(crate) fn serve(proxy: Arc<Proxy>, path: &Path) -> ExitCode {
    for (listener, address) in proxy.addresses() {
        eprintln!("listener {listener}: {address}");
    }
    if let Some(address) = proxy.admin_address() {
        eprintln!("admin: http://{address}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.and_then(|runtime| {
        let ended = runtime.block_on(obey(&proxy, path));
        // A drain that nobody waits for any more must not hold up the end.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reloads (SIGHUP), reads files again (SIGUSR1) and ends as signals, the file and the admin server say. A second signal to end does not wait for streams.
async fn obey(proxy: &Arc<Proxy>, path: &Path) -> std::io::Result<()> {
    let (mut hangup, mut terminate) = (signal(SignalKind::hangup())?, signal(SignalKind::terminate())?);
    let (mut interrupt, mut reopen) = (signal(SignalKind::interrupt())?, signal(SignalKind::user_defined1())?);
    let (_watcher, mut changes) = watch(path);
    loop {
        tokio::select! {
            _ = hangup.recv() => reload(proxy, path).await,
            Some(()) = changes.recv() => {
                settle(&mut changes).await;
                reload(proxy, path).await;
            }
            _ = reopen.recv() => reopen_files(proxy),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = proxy.quit_requested() => break,
        }
    }
    drain(proxy, &mut terminate, &mut interrupt).await;
    Ok(())
}

/// Log files that were moved away, certificates that were renewed.
fn reopen_files(proxy: &Proxy) {
    proxy.reopen_logs();
    if let Err(faults) = proxy.reload_certificates() {
        faults.iter().for_each(|fault| eprintln!("outrigger: {fault}; what was used before goes on"));
    }
}

async fn drain(proxy: &Arc<Proxy>, terminate: &mut Signal, interrupt: &mut Signal) {
    let draining = proxy.clone();
    let drained = tokio::task::spawn_blocking(move || draining.drain());
    tokio::select! {
        drained = drained => if let Ok(Err(cut)) = drained {
            eprintln!("outrigger: {cut}");
        },
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// A snapshot that is refused changes nothing: what runs goes on, and the faults are said.
async fn reload(proxy: &Arc<Proxy>, path: &Path) {
    let (reloading, file) = (proxy.clone(), path.to_owned());
    let done = tokio::task::spawn_blocking(move || match read(&file) {
        Ok(snapshot) => reloading.reload(snapshot),
        Err(faults) => Err(reloading.refuse(faults)),
    });
    match done.await {
        Ok(Ok(())) => eprintln!("{}: reloaded", path.display()),
        Ok(Err(faults)) => {
            faults.iter().for_each(|fault| eprintln!("{}: {fault}", path.display()));
            eprintln!("{}: refused; what ran before goes on", path.display());
        }
        Err(error) => eprintln!("outrigger: {error}"),
    }
}

/// Tells of changes. The folder is watched, not the file: editors and ConfigMap mounts put another in its place.
fn watch(path: &Path) -> (Option<notify::RecommendedWatcher>, UnboundedReceiver<()>) {
    let (changed, changes) = unbounded_channel();
    let watched = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = watched.parent().map_or_else(|| Path::new(".").to_owned(), Path::to_owned);
    let name = path.file_name().map(ToOwned::to_owned);
    let tell = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let concerns = |path: &std::path::PathBuf| path.file_name() == name.as_deref() || is_swap(path);
        if !event.kind.is_access() && event.paths.iter().any(concerns) {
            // Whoever reloaded has ended.
            let _ = changed.send(());
        }
    };
    let watcher = notify::recommended_watcher(tell).and_then(|mut watcher| {
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    if let Err(error) = &watcher {
        eprintln!("{}: changes are not noticed, send SIGHUP: {error}", folder.display());
    }
    (watcher.ok(), changes)
}

/// What a ConfigMap mount changes.
fn is_swap(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "..data")
}

/// Waits until nothing has changed for a moment.
async fn settle(changes: &mut UnboundedReceiver<()>) {
    while let Ok(Some(())) = tokio::time::timeout(SETTLE, changes.recv()).await {}
}
