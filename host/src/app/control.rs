//! The thread beside the workers: it serves the admin server, and looks after what all workers share.

use crate::Faults;
use crate::admin::{self, ProxyStatus};
use crate::app::core::Core;
use crate::overload::LOOKED_AT;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often is looked for endpoints whose ejection is over: the least interval that makes sense.
const SWEEP: Duration = Duration::from_millis(100);

/// How often is looked for names that are to be looked up again.
const NAMES: Duration = Duration::from_secs(1);

/// The thread; ends with this.
pub(super) struct Control {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    pub(super) admin: Option<SocketAddr>,
}

impl Control {
    /// Starts it, and listens for the admin server where that is wanted.
    pub(super) fn start(core: Arc<Core>, admin: Option<SocketAddr>) -> Result<Self, Faults> {
        let fault = |error: std::io::Error| Faults::one(format!("no thread for the admin server: {error}"));
        let listener = admin.map(listen).transpose()?;
        let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fault)?;
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            runtime.block_on(serve(core, listener, stopped));
            // A page that waits for a worker must not hold up the end.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("control".into()).spawn(run).map_err(fault)?;
        Ok(Self { stop: Some(stop), thread: Some(thread), admin: address })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, Faults> {
    let listening = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listening.map_err(|error| Faults::one(format!("admin: {address} cannot be listened on: {error}")))
}

async fn serve(core: Arc<Core>, listener: Option<TcpListener>, mut stopped: oneshot::Receiver<()>) {
    if let Some(listener) = listener.and_then(|listener| tokio::net::TcpListener::from_std(listener).ok()) {
        tokio::spawn(admin::serve(listener, core.clone()));
    }
    let mut sweeps = Sweeps::default();
    let mut interval = tokio::time::interval(SWEEP);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut names = tokio::time::interval(NAMES);
    names.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut memory = tokio::time::interval(LOOKED_AT);
    memory.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            _ = interval.tick() => sweeps.run(&core, Instant::now()),
            _ = memory.tick() => core.overload.look(),
            _ = names.tick() => {
                let core = core.clone();
                // Not waited for: it takes as long as names take.
                drop(tokio::task::spawn_blocking(move || core.refresh_names(Instant::now())));
            }
        }
    }
}

/// When each cluster's endpoints were last looked at.
#[derive(Default)]
struct Sweeps {
    last: HashMap<String, Instant>,
}

impl Sweeps {
    fn run(&mut self, core: &Core, now: Instant) {
        let clusters = core.clusters();
        self.last.retain(|name, _| clusters.contains_key(name));
        for (name, cluster) in clusters.iter() {
            let Some(detector) = &cluster.detector else { continue };
            let last = self.last.entry(name.clone()).or_insert(now);
            if now.saturating_duration_since(*last) >= detector.settings().interval {
                *last = now;
                for index in detector.sweep(now) {
                    let endpoint = cluster.endpoints.get(index).map(|endpoint| endpoint.address());
                    tracing::info!(cluster = name, ?endpoint, "an endpoint is back in service");
                }
            }
        }
    }
}
