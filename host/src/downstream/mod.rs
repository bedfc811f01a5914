//! From an accepted connection to requests: what is spoken, what a client may say, one normalised message.

mod admit;
mod connection;
mod first_bytes;
mod http1;
mod http2;
mod http_manager;
mod listener;
mod live_chain;
mod prepare;
mod refusal;
mod tcp;
mod tcp_manager;

pub(crate) use admit::ListenerChains;
pub(crate) use connection::Accepted;
pub(crate) use http_manager::HttpManager;
pub(crate) use listener::{ActiveListener, Manager, bind};
pub(crate) use tcp_manager::TcpManager;
