//! Looks at memory every so often, on a thread of its own: workers that are busy must not keep it from being seen.

use crate::app::MemoryUse;
use crate::overload::{Overload, Pressure};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often. Three or four files of the kernel are read each time, some 0.1 ms.
const EVERY: Duration = Duration::from_millis(250);

/// The thread; it ends with this.
pub(crate) struct Monitor {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    /// Starts it.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn start(overload: Arc<Overload>, memory_use: MemoryUse) -> io::Result<Self> {
        let (end, ended) = channel::<()>();
        let run = move || {
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                look(&overload, &memory_use);
            }
        };
        let thread = thread::Builder::new().name("overload".into()).spawn(run)?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

fn look(overload: &Overload, memory_use: &MemoryUse) {
    let share = memory_use(overload.max_memory());
    let percent = share * 100.0;
    match overload.observe(share) {
        None => {}
        Some(Pressure::None) => tracing::info!("memory is at {percent:.0} %: everybody is served again"),
        Some(Pressure::Requests) => tracing::warn!("memory is at {percent:.0} %: new requests are answered with 503"),
        Some(Pressure::Connections) => tracing::warn!("memory is at {percent:.0} %: no connection is accepted"),
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has ended, whether by itself or not.
            let _ = thread.join();
        }
    }
}
