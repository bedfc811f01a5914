//! The engine that compiles and runs modules: one for the process, with a clock that interrupts guests.

use crate::wasm::config::config;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use wasmtime::Engine;

/// How often guests can be interrupted. A callback costs nothing until the first tick that it outlives.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Compiles modules, and interrupts the VMs that run them.
pub struct WasmEngine {
    engine: Engine,
    cache: Option<PathBuf>,
    stop: Option<Sender<()>>,
    ticker: Option<JoinHandle<()>>,
}

impl WasmEngine {
    /// An engine. `cache`: a folder for compiled modules, of this process's user alone: compiled code is trusted.
    ///
    /// # Errors
    /// When the machine cannot run compiled WebAssembly, or has no thread left.
    pub fn new(cache: Option<PathBuf>) -> Result<Self, String> {
        let engine =
            Engine::new(&config()).map_err(|error| format!("the WebAssembly engine does not start: {error}"))?;
        let (stop, stopped) = channel();
        let ticking = engine.clone();
        let ticker = std::thread::Builder::new().name("epoch".into()).spawn(move || tick(&ticking, &stopped));
        let ticker = ticker.map_err(|error| format!("no thread for the engine's clock: {error}"))?;
        Ok(Self { engine, cache, stop: Some(stop), ticker: Some(ticker) })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn cache(&self) -> Option<&Path> {
        self.cache.as_deref()
    }
}

fn tick(engine: &Engine, stopped: &Receiver<()>) {
    while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        engine.increment_epoch();
    }
}

impl Drop for WasmEngine {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(ticker) = self.ticker.take() {
            // A ticker that panicked has nothing left to stop.
            let _ = ticker.join();
        }
    }
}
