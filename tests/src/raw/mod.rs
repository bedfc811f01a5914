//! The proxy as its neighbours see it: bytes to it, bytes from it. Clients and upstreams say exactly what a test says,
//! valid or not, and read strictly. Nothing sleeps: whoever waits, waits for bytes, for an end, or gives up.

pub mod http1;
pub mod http2;
mod served;
mod socket;
mod upstream;

pub use http1::Message;
pub use http2::Http2;
pub use served::{Beside, Served, cluster, merged, resident_memory};
pub use socket::{Ended, Socket};
pub use upstream::{After, Upstream, Visit};
