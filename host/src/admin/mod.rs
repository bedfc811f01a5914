//! The admin server: what the proxy is, does and knows, over HTTP on loopback, under Envoy's paths and in Envoy's forms
//! where it has them.

mod answer;
mod certs;
mod clusters;
mod config_dump;
mod guard;
mod lifecycle;
mod listeners;
mod logging;
mod redaction;
mod routes;
mod server;
mod stats;
mod vms;

#[cfg(test)]
mod tests;

pub use server::serve;

use crate::telemetry::{LogControl, Registry};
use crate::upstream::SharedClusters;
use compiler::snapshot::Snapshot;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What the admin server shows, and what it sets going. Methods are called on threads that may wait.
pub trait ProxyStatus: Send + Sync {
    /// Whether new requests are welcome. Answers at once, also during a reload.
    fn readiness(&self) -> Readiness;
    /// Why the last configuration was refused, if it was: then the one before it serves.
    fn refused(&self) -> Option<String>;
    /// What serves; none before the first configuration.
    fn snapshot(&self) -> Option<Arc<Snapshot>>;
    /// Its clusters.
    fn clusters(&self) -> Arc<SharedClusters>;
    /// Its listeners, and where they listen: port 0 has become a number.
    fn listeners(&self) -> Vec<(String, SocketAddr)>;
    /// How each plugin does on each worker.
    fn vms(&self) -> Vec<VmReport>;
    /// The certificates in use.
    fn certificates(&self) -> Vec<CertificateReport>;
    /// Why certificates are older than their files: what these have cannot be used.
    fn stale_certificates(&self) -> Option<String>;
    /// Where metrics are.
    fn registry(&self) -> &Registry;
    /// What changes the levels of the process's log; none where that is not ours.
    fn log(&self) -> Option<&LogControl>;
    /// How long the process has run.
    fn uptime(&self) -> Duration;
    /// How many workers there are.
    fn workers(&self) -> usize;
    /// Opens the logs anew.
    fn reopen_logs(&self);
    /// Stops accepting connections, those of inbound listeners alone or all, and lets streams finish. Returns at once.
    fn drain_listeners(&self, inbound_only: bool);
    /// Ends the process as SIGTERM does. Returns at once.
    fn quit(&self);
}

/// Whether new requests are welcome.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Readiness {
    /// They are.
    Live,
    /// Not yet, and why.
    Initializing(String),
    /// No longer.
    Draining,
}

impl Readiness {
    /// Envoy's word for it.
    fn state(&self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Initializing(_) => "INITIALIZING",
            Self::Draining => "DRAINING",
        }
    }
}

/// How a plugin does on one worker.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct VmReport {
    /// The plugin's name.
    pub plugin: String,
    /// Number of the worker.
    pub worker: usize,
    /// Whether its VM runs.
    pub running: bool,
    /// Bytes of the VM's memory.
    pub memory: usize,
    /// Calls into it, since the plugin was started.
    pub callbacks: u64,
    /// How long they took together.
    pub callback_time: Duration,
    /// VMs that have ended before this one.
    pub ended: u64,
    /// Why the last of them did.
    pub last_end: Option<String>,
}

/// A certificate that is shown to clients or to endpoints.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateReport {
    /// Where it is from.
    pub path: String,
    /// Hexadecimal.
    pub serial_number: String,
    /// URI SANs.
    pub uri_sans: Vec<String>,
    /// DNS SANs.
    pub dns_sans: Vec<String>,
    /// When it begins to be valid.
    pub valid_from: SystemTime,
    /// When it ceases to be.
    pub expires: SystemTime,
}
