//! What the proxy tells about itself.

mod metrics;
mod response_flags;

pub use metrics::{Counter, Gauge, Histogram, Registry};
pub use response_flags::ResponseFlags;
