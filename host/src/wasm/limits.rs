//! What a guest may use: every bound, its default, and what others have.

use std::time::Duration;

/// Bounds on a plugin and its VM.
///
/// # Defaults
///
/// | bound | default | Envoy 1.40 |
/// | --- | --- | --- |
/// | memory of a VM | 64 MiB, returned when the VM ends | 1 GiB, kept |
/// | memory of all VMs of a plugin, on one worker | 256 MiB | none |
/// | a callback: warning, trap | 10 ms, 100 ms of CPU time | none: an endless loop takes the worker |
/// | start-up (`_initialize` to `configure`) | 10 s of CPU time | none |
/// | calls in flight: of a stream, of a plugin | 8, 100 | the cluster's circuit breaker |
/// | a held body, a body written by a guest | 1 MiB | the listener's buffer limit; none |
/// | headers or trailers of a message with what guests add | 120 KiB, 200 fields | none for what a guest writes |
/// | properties that guests set on a stream | 100, 1 MiB in all | none |
/// | shared data of a `vm_id` | 16 MiB, 10,000 keys | none |
/// | queues of a `vm_id` | 1,000; 10,000 items in one, 16 MiB in all, 1 MiB in an item | none |
/// | metrics of a plugin | 1,000, names of up to 256 bytes | none |
/// | log lines of a plugin | 1,000 a second, 4 KiB each | none |
/// | time a stream is held | 15 s | the stream idle timeout: 5 min |
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Linear memory of one VM, in bytes.
    pub memory: usize,
    /// Linear memory of all VMs of one plugin together, on one worker, in bytes.
    pub memory_in_all: usize,
    /// CPU time of a callback after which a warning is logged.
    pub callback_warning: Duration,
    /// CPU time of a callback after which it traps.
    pub callback: Duration,
    /// CPU time of start-up, all of its callbacks together.
    pub start: Duration,
    /// Calls in flight that one stream began.
    pub calls_of_stream: usize,
    /// Calls in flight that one plugin began, on one worker.
    pub calls: usize,
    /// Bytes of a body that is held, or that a guest wrote.
    pub body: usize,
    /// Bytes of the headers of one message after a guest edited them.
    pub header_bytes: usize,
    /// Fields of one message after a guest edited it.
    pub header_fields: usize,
    /// Bytes of shared data, keys included.
    pub shared_data_bytes: usize,
    /// Keys of shared data.
    pub shared_data_keys: usize,
    /// Queues.
    pub queues: usize,
    /// Items waiting in one queue.
    pub queue_items: usize,
    /// Bytes of all items waiting.
    pub queue_bytes: usize,
    /// Metrics that a plugin may define.
    pub metrics: usize,
    /// Log lines a second.
    pub log_lines: u32,
    /// Bytes of a log line; longer ones are cut.
    pub log_line: usize,
    /// How long a stream may be held; then it is answered with 504.
    pub pause: Duration,
}

impl Limits {
    /// Of so many filters that run as one: what each might use, together. What one stream, body or message has stays.
    #[must_use]
    pub fn of_linked(mut self, filters: usize) -> Self {
        let times = u32::try_from(filters).unwrap_or(u32::MAX);
        for size in [&mut self.memory, &mut self.memory_in_all, &mut self.calls_of_stream, &mut self.calls] {
            *size = size.saturating_mul(filters);
        }
        for time in [&mut self.callback_warning, &mut self.callback, &mut self.start] {
            *time = time.saturating_mul(times);
        }
        self.metrics = self.metrics.saturating_mul(filters);
        self.log_lines = self.log_lines.saturating_mul(times);
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            memory_in_all: 256 << 20,
            callback_warning: Duration::from_millis(10),
            callback: Duration::from_millis(100),
            start: Duration::from_secs(10),
            calls_of_stream: 8,
            calls: 100,
            body: 1 << 20,
            header_bytes: 120 << 10,
            header_fields: 200,
            shared_data_bytes: 16 << 20,
            shared_data_keys: 10_000,
            queues: 1000,
            queue_items: 10_000,
            queue_bytes: 16 << 20,
            metrics: 1000,
            log_lines: 1000,
            log_line: 4096,
            pause: Duration::from_secs(15),
        }
    }
}
