//! From an accepted connection to requests: what is spoken, what a client may say, one normalised message.

mod connection;
mod http1;
mod http2;
mod prepare;
mod tcp;

pub(crate) use connection::{Accepted, serve_connection};
pub(crate) use tcp::serve as serve_tcp;
