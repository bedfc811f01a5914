//! One thread's way to a log.

use crate::telemetry::Counter;
use crate::telemetry::log_writer::Wake;
use rtrb::Producer;
use std::sync::Arc;

/// Hands lines over to the writer. Lines of one sender stay in order, and whole.
pub struct LineSender {
    lines: Producer<u8>,
    wake: Arc<Wake>,
    dropped: Counter,
}

impl LineSender {
    pub(super) fn new(lines: Producer<u8>, wake: Arc<Wake>, dropped: Counter) -> Self {
        Self { lines, wake, dropped }
    }

    /// Hands over a line, its newline included; whether there was room. Never waits.
    pub fn send(&mut self, line: &[u8]) -> bool {
        let sent = self.lines.push_entire_slice(line).is_ok();
        if sent {
            self.wake.wake();
        } else {
            self.dropped.add(1);
        }
        sent
    }
}
