//! TLS on both sides of the proxy: what a snapshot says of it made ready, handshakes, who the peer is.

mod certificate;
mod client;
mod error;
mod material;
mod server;
mod spiffe;
mod subject;
mod trust;
mod verify;

pub(crate) use certificate::{Leaf, pem};
pub(crate) use client::{Agreed, ClientTls};
pub(crate) use error::TlsError;
pub(crate) use server::{Secured, ServerTls};
pub(crate) use spiffe::trust_domain as spiffe_trust_domain;
pub(crate) use verify::verify_chain;

use std::time::Duration;

/// How long a handshake may take, from the first byte that is waited for.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
pub(crate) mod test_certificates;
#[cfg(test)]
mod tests;
