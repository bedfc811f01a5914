//! The mesh's certificate authority: a root, an intermediate for each cluster, certificates of workloads. It knows no
//! clock: whoever asks says what time it is.

mod authority;
mod files;
mod identity;

pub use authority::{Authority, DEFAULT_LIFETIME, MAX_LIFETIME, WorkloadCertificate};
pub use files::{CERT_CHAIN, KEY, ROOT_CERT, identities};
pub use identity::SpiffeId;

#[cfg(test)]
mod tests;
