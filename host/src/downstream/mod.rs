//! From an accepted connection to requests: what is spoken, what a client may say, one normalised message.

mod connection;
mod filter_chain_match;
mod http1;
mod http2;
mod http_manager;
mod listener;
mod live_chain;
mod prepare;
mod tcp;

pub(crate) use connection::Accepted;
pub(crate) use filter_chain_match::ListenerChains;
pub(crate) use http_manager::HttpManager;
pub(crate) use listener::{ActiveListener, Manager, bind};
pub(crate) use tcp::TcpManager;
