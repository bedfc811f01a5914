//! The proxies that are compared, each set up to do the same with one worker.

mod envoy;
mod haproxy;
mod native;
mod nginx;
mod outrigger;

use crate::load::{Load, Protocol, Target};
use crate::process::Process;
use crate::tls::Certificates;
use serde_json::Value;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub use outrigger::{binary, module_cache};

/// How long a proxy may take to serve: below callgrind it takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// Ours.
    Outrigger,
    /// Another build of ours.
    Before,
    /// Stock Envoy.
    Envoy,
    /// HAProxy.
    Haproxy,
    /// nginx.
    Nginx,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outrigger => "outrigger",
            Self::Before => "outrigger before",
            Self::Envoy => "Envoy",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        })
    }
}

/// What a request passes on its way.
#[derive(Clone, Debug)]
pub enum Filters {
    /// Nothing.
    None,
    /// Plugins, each with a VM of its own where they come from files.
    Wasm(Vec<Plugin>),
    /// What the proxy has itself for what our filters do.
    Native {
        /// Percent of requests that are mirrored.
        mirrored: f64,
    },
}

/// A module with its configuration.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// The file.
    pub module: PathBuf,
    /// Which filter of ours it is: our proxy runs that as it comes with it, not from the file.
    pub ours: Option<&'static str>,
    /// The plugin configuration.
    pub configuration: Value,
}

/// Where everything is that a proxy's configuration names.
pub struct Surroundings<'s> {
    /// Port of the upstream.
    pub upstream: u16,
    /// For configurations and logs.
    pub directory: &'s Path,
    /// For listeners with mutual TLS.
    pub certificates: &'s Certificates,
    /// Where our proxy keeps compiled modules.
    pub module_cache: PathBuf,
    /// The build of our proxy that is measured.
    pub ours: &'s Path,
    /// Another build of it, to compare with.
    pub before: Option<&'s Path>,
}

impl Surroundings<'_> {
    fn before(&self) -> Result<&Path, StartError> {
        self.before.ok_or_else(|| StartError("no other build of the proxy was named (before=FILE)".into()))
    }
}

/// How a proxy listens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listener {
    /// What is spoken.
    pub protocol: Protocol,
    /// With mutual TLS.
    pub tls: bool,
}

impl Listener {
    /// HTTP/1.1 as it is.
    pub const HTTP1: Self = Self { protocol: Protocol::Http1, tls: false };
}

/// A proxy's set-up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which proxy.
    pub kind: Kind,
    /// What a request passes.
    pub filters: Filters,
    /// How it listens.
    pub listener: Listener,
}

/// A proxy that serves.
pub struct Proxy {
    /// Its processes.
    pub process: Process,
    /// Where a load goes.
    pub target: Target,
    /// From its start to its first 200.
    pub started: Duration,
}

/// Why a proxy is not measured: what is not installed, or does not serve, and what it said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl Setup {
    /// Starts it: it has served a request when this returns.
    ///
    /// # Errors
    /// When the proxy is not installed, or does not answer with 200.
    pub fn start(&self, surroundings: &Surroundings<'_>) -> Result<Proxy, StartError> {
        let (command, target) = self.command(surroundings)?;
        self.serve(&command, target, surroundings)
    }

    /// As [`Setup::start`], below another program: `valgrind` and its like.
    ///
    /// # Errors
    /// As [`Setup::start`].
    pub fn start_below(&self, wrapper: &[String], surroundings: &Surroundings<'_>) -> Result<Proxy, StartError> {
        let (inner, target) = self.command(surroundings)?;
        let [program, arguments @ ..] = wrapper else { return self.serve(&inner, target, surroundings) };
        let mut command = Command::new(program);
        command.args(arguments).arg(inner.get_program()).args(inner.get_args());
        self.serve(&command, target, surroundings)
    }

    fn command(&self, surroundings: &Surroundings<'_>) -> Result<(Command, Target), StartError> {
        let port = free_port()?;
        let command = match self.kind {
            Kind::Outrigger => outrigger::command(self, surroundings.ours, port, surroundings),
            Kind::Before => outrigger::command(self, surroundings.before()?, port, surroundings),
            Kind::Envoy => envoy::command(self, port, surroundings),
            Kind::Haproxy => haproxy::command(self, port, surroundings),
            Kind::Nginx => nginx::command(self, port, surroundings),
        }?;
        let Listener { protocol, tls } = self.listener;
        let tls = tls.then(|| surroundings.certificates.client(protocol)).transpose().map_err(StartError)?;
        Ok((command, Target { port, protocol, tls }))
    }

    fn serve(&self, command: &Command, target: Target, surroundings: &Surroundings<'_>) -> Result<Proxy, StartError> {
        let log = surroundings.directory.join(format!("{}-{}.log", self.kind, target.port));
        let begin = Instant::now();
        let mut process = Process::start(command, &log)?;
        let said = |error: io::Error| {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            StartError(format!("{} does not serve: {error}\n{log}", self.kind))
        };
        loop {
            match Load::open(&target, 1) {
                Ok(_) => return Ok(Proxy { process, target, started: begin.elapsed() }),
                Err(error) if process.has_ended() || begin.elapsed() > PATIENCE => return Err(said(error)),
                // Nobody listens yet, or Envoy's listener has not been warmed up.
                Err(_) => std::thread::park_timeout(Duration::from_micros(500)),
            }
        }
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A file with a configuration.
fn write(surroundings: &Surroundings<'_>, name: &str, text: &str) -> io::Result<PathBuf> {
    let file = surroundings.directory.join(name);
    std::fs::write(&file, text)?;
    Ok(file)
}

/// A program in the system's path, or where Debian keeps servers.
fn installed(name: &str) -> Result<PathBuf, StartError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing = || StartError(format!("{name} is not installed (apt-get install {name})"));
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file()).ok_or_else(missing)
}
