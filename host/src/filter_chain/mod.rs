//! The filters of a chain and the stream that passes them: headers, body and trailers there and back, with every way
//! a filter can hold, change or end them. Knows no sockets and waits for nothing.

mod flow;
mod local_reply;
mod stream;

pub use local_reply::{HostReply, to_events};
pub use stream::{Event, Fate, FilterChain, FilteredStream};
