//! `filter-api` in memory: a proxy without sockets, whose clock is moved and whose draws are chosen by the test.
//!
//! [`NativeProxy`] carries requests through plugins as Envoy does, as far as a filter can tell: one header map per
//! message, header maps that close when the message has gone on, local replies that pass the response callbacks,
//! calls answered by [`Upstreams`], held requests resumed by ticks.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod fake_clock;
mod local_reply;
mod native_host;
mod recorded_calls;
mod recorded_logs;
mod scripted_random;
mod stream_driver;
mod world;

pub use fake_clock::FakeClock;
pub use native_host::NativeHost;
pub use recorded_calls::{Recorded, RecordedCall};
pub use recorded_logs::RecordedLogs;
pub use scripted_random::ScriptedRandom;
pub use stream_driver::{Exchange, Message, NativeProxy, Sent, Upstreams};
pub use world::Settings;
