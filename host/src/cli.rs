//! Flags. Nothing else reads arguments or the environment.

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use host::telemetry::LogLevels;
use std::path::PathBuf;

/// Istio's traffic and security API as Proxy-Wasm filters, and a sidecar that runs them.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Runs the proxy until SIGTERM; SIGHUP, or a change of the file, reloads it.
    Run(RunArguments),
    /// Starts a proxy with all six filters and small services behind it, and says what to try.
    Demo(DemoArguments),
}

#[derive(Args)]
pub(crate) struct RunArguments {
    /// What to run: listeners, clusters, modules, plugins, as YAML or JSON.
    #[arg(long, value_name = "FILE", env = "OUTRIGGER_SNAPSHOT")]
    pub(crate) snapshot: PathBuf,
    /// What is logged on standard error: a level, and levels of single parts, as in info,wasm=debug.
    #[arg(long, value_name = "LEVELS", env = "OUTRIGGER_LOG", default_value = "info")]
    pub(crate) log_level: LogLevels,
    /// How: text or json.
    #[arg(long, value_name = "FORMAT", env = "OUTRIGGER_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Checks the snapshot, starts nothing, and ends.
    #[arg(long)]
    pub(crate) validate: bool,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
}

/// How the process's log is written.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line of words.
    Text,
    /// An object to a line.
    Json,
}

#[derive(Args)]
pub(crate) struct DemoArguments {
    /// Takes the tour by itself, checks every result, and ends.
    #[arg(long)]
    pub(crate) once: bool,
    /// Where the demo writes what it runs, for you to edit.
    #[arg(long, value_name = "FOLDER", default_value = "outrigger-demo")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
}

#[derive(Args)]
pub(crate) struct CacheArguments {
    /// Where compiled modules are kept between starts; "" for nowhere [default: $XDG_CACHE_HOME/outrigger].
    #[arg(long, value_name = "FOLDER", env = "OUTRIGGER_MODULE_CACHE", value_parser = perhaps_empty())]
    module_cache: Option<PathBuf>,
    #[arg(long, env = "XDG_CACHE_HOME", hide = true, value_parser = perhaps_empty())]
    cache_home: Option<PathBuf>,
    #[arg(long, env = "HOME", hide = true, value_parser = perhaps_empty())]
    home: Option<PathBuf>,
}

/// A path that may be empty, which clap's own paths may not be.
fn perhaps_empty() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

impl CacheArguments {
    /// Where compiled modules are kept, if anywhere.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        let named = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        if self.module_cache.is_some() {
            return named(&self.module_cache);
        }
        let caches = named(&self.cache_home).or_else(|| Some(named(&self.home)?.join(".cache")));
        caches.map(|folder| folder.join("outrigger"))
    }
}
