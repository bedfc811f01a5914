//! The mesh's certificate authority: a root, an intermediate for each cluster, certificates of workloads. It knows no
//! clock: whoever asks says what time it is. And somebody else's, as a SPIFFE Workload API has it.

mod authority;
mod files;
mod identity;
mod workload_api;

pub use authority::{Authority, DEFAULT_LIFETIME, MAX_LIFETIME, WorkloadCertificate};
pub use files::{CERT_CHAIN, KEY, ROOT_CERT, identities};
pub use identity::SpiffeId;
pub use workload_api::{Svid, Svids, WorkloadApi};

#[cfg(test)]
mod tests;
