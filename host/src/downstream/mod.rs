//! From an accepted connection to requests: what is spoken, what a client may say, one normalised message.

mod connection;
mod http1;
mod http2;
mod prepare;

pub(crate) use connection::{Accepted, serve_connection};
