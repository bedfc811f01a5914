//! The Proxy-Wasm host: modules, VMs, and what guests may ask for. It knows streams only as guests see them, and
//! imports nothing of the data path.
#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod abi;
mod body_buffer;
mod callbacks;
mod config;
mod deadline;
mod engine;
mod limits;
mod module;
mod plugin;
mod precompiled;
mod properties;
mod root_context;
mod services;
mod shared_state;
mod stream_context;
mod usage;
mod vm;
mod vm_state;

pub use abi::header_pairs;
pub use body_buffer::BodyBuffer;
pub use engine::WasmEngine;
pub use limits::Limits;
pub use module::{LoadError, WasmModule};
pub use plugin::{FailStrategy, Guest, Plugin, PluginSettings, StartError, Unavailable};
pub use properties::encode_pairs;
pub use services::{GrpcCall, GrpcEvent, HttpCall, HttpCallResponse, LocalFuture, LogLevel, Services};
pub use shared_state::{QueueReady, SharedState};
pub use stream_context::{
    Access, CertificateProperties, ConnectionProperties, Direction, LocalReply, Slot, Stream, StreamState,
};
pub use usage::UsageReport;
pub use vm::{Trapped, VmTable};
