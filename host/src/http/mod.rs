//! HTTP on the wire, the same for both sides of the proxy: strict reading, one normalised message, writing from it.

pub mod authority;
pub mod http1;
pub mod hygiene;
pub mod path;
pub mod refused;
pub mod repeated;
pub(crate) mod syntax;
pub mod validate;

mod frame_budget;
mod gathered;
mod http1_io;
mod http2_message;
mod peer;
mod rewound;

pub(crate) use frame_budget::{FrameBudget, Metered, PREFACE};
pub(crate) use gathered::{Gathered, Outbox};
pub(crate) use http1_io::Http1Io;
pub(crate) use http2_message::{
    Http2Receive, Http2Send, error_of, request_headers, response_headers, to_request, to_response,
};
pub(crate) use peer::{Incoming, Io, Peer, PeerError, Transport};
pub(crate) use rewound::Rewound;
