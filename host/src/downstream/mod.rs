//! From an accepted connection to requests: what is spoken, what a client may say, one normalised message.

mod admit;
mod connection;
mod filter_chain_match;
mod first_bytes;
mod http1;
mod http2;
mod prepare;

pub(crate) use admit::{Admitted, ListenerChains, Rejected, Rejection};
pub(crate) use connection::{Accepted, serve_connection};
