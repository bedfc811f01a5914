//! The filters of a chain and the stream that passes them: headers, body and trailers there and back, with every way
//! a filter can hold, change or end them. Knows no sockets and waits for nothing.

mod connection;
mod flow;
mod local_reply;
mod stream;
#[cfg(test)]
pub(crate) mod test_plugin;

pub use connection::{ClosedBy, ConnectionFate, FilteredConnection, Passed};
pub use local_reply::{HostReply, grpc_status, to_events};
pub use stream::{Event, Fate, FilterChain, FilteredStream};
