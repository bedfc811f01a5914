//! Certificates from a SPIFFE Workload API, such as SPIRE's agent: as it sends new ones, for as long as it is there.

use crate::ca::files::write;
use crate::ca::{CERT_CHAIN, KEY, ROOT_CERT};
use crate::tls::pem;
use futures_core::Stream;
use spiffe::transport::Endpoint;
use spiffe::workload_api::WorkloadApiError;
use spiffe::{WorkloadApiClient, X509Bundle, X509Context};
use std::collections::BTreeMap;
use std::fs;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long is waited before it is asked again, at first and at most; in between twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// In a workload's folder, the authorities of trust domains that are federated.
const FEDERATED: &str = "federated";

/// A connection to a SPIFFE Workload API, made again whenever it ends.
pub struct WorkloadApi {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

/// What the API has said last.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    latest: Option<Arc<Svids>>,
    fault: Option<String>,
}

/// What a process is by the Workload API, and whom it trusts.
#[derive(Debug)]
pub struct Svids {
    /// At least one; the first is that of whoever has no preference.
    pub all: Vec<Svid>,
    /// PEM, by trust domain: the process's own, and those that are federated.
    bundles: BTreeMap<String, String>,
}

/// An identity with its certificate.
#[derive(Debug)]
pub struct Svid {
    /// `spiffe://…`
    pub id: String,
    /// What the API's administrator has it for.
    pub hint: Option<String>,
    trust_domain: String,
    chain: String,
    key: Key,
}

/// PEM, which is not printed.
struct Key(String);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl WorkloadApi {
    /// Asks an API: the path of its socket, or `unix:` with it.
    ///
    /// # Errors
    /// When that names no such socket, or there is no thread to ask from.
    pub fn follow(socket: &str) -> Result<Self, String> {
        let endpoint = endpoint(socket)?;
        let shared = Arc::<Shared>::default();
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("workload-api").enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.spawn(follow(endpoint, shared.clone()));
        Ok(Self { shared, runtime: Some(runtime) })
    }

    /// What it has said last; the first time this waits for it.
    ///
    /// # Errors
    /// Why it has said nothing yet.
    pub fn svids(&self, patience: Duration) -> Result<Arc<Svids>, String> {
        let nothing = |state: &mut State| state.latest.is_none();
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), patience, nothing);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.latest.clone().ok_or_else(|| state.fault.clone().unwrap_or_else(|| "it says nothing".to_owned()))
    }

    /// Why nothing new comes from it, where that is so.
    pub fn fault(&self) -> Option<String> {
        self.shared.lock().fault.clone()
    }
}

impl Drop for WorkloadApi {
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each part is replaced whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, svids: Svids) {
        *self.lock() = State { latest: Some(Arc::new(svids)), fault: None };
        self.changed.notify_all();
    }

    fn fail(&self, fault: String) {
        self.lock().fault = Some(fault);
    }
}

/// A path, or a URI with one. Over TCP keys would be sent for everybody to read.
fn endpoint(socket: &str) -> Result<Endpoint, String> {
    let is_uri = ["unix:", "tcp:"].iter().any(|scheme| socket.starts_with(scheme));
    let endpoint = match is_uri {
        true => Endpoint::parse(socket).map_err(|error| error.to_string())?,
        false => Endpoint::Unix(std::path::absolute(socket).map_err(|error| error.to_string())?),
    };
    match endpoint {
        Endpoint::Unix(_) => Ok(endpoint),
        _ => Err("expected the path of a socket, or unix:///path: over TCP anybody could read the keys".to_owned()),
    }
}

async fn follow(endpoint: Endpoint, shared: Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let (fault, heard) = listen(&endpoint, &shared).await;
        tracing::warn!(%fault, "the SPIFFE Workload API says no more; it is asked again");
        shared.fail(fault);
        if heard {
            pause = FIRST_PAUSE;
        }
        // Not all of a machine's proxies at once.
        tokio::time::sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Takes what comes, until nothing more does: why, and whether anything has.
async fn listen(endpoint: &Endpoint, shared: &Shared) -> (String, bool) {
    let mut heard = false;
    let listening = async {
        let client = WorkloadApiClient::connect(endpoint.clone()).await?;
        let mut contexts = pin!(client.stream_x509_contexts().await?);
        while let Some(context) = poll_fn(|cx| contexts.as_mut().poll_next(cx)).await {
            let svids = Svids::new(&context?);
            shared.put(svids);
            heard = true;
        }
        Ok::<_, WorkloadApiError>(())
    };
    let ended = listening.await;
    (ended.err().map_or_else(|| "the stream has ended".to_owned(), |error| in_words(&error)), heard)
}

/// With what it is due to.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let reason = error.to_string();
        if !words.contains(&reason) {
            words = format!("{words}: {reason}");
        }
        source = error.source();
    }
    words
}

impl Svids {
    fn new(context: &X509Context) -> Self {
        let certificates =
            |all: &[spiffe::Certificate]| all.iter().map(|one| pem("CERTIFICATE", one.as_bytes())).collect();
        let svid = |svid: &Arc<spiffe::X509Svid>| Svid {
            id: svid.spiffe_id().to_string(),
            hint: svid.hint().map(str::to_owned),
            trust_domain: svid.spiffe_id().trust_domain().to_string(),
            chain: certificates(svid.cert_chain()),
            key: Key(pem("PRIVATE KEY", svid.private_key().as_bytes())),
        };
        let bundle = |bundle: &X509Bundle| certificates(bundle.authorities());
        let bundles = context.bundle_set().iter().map(|(domain, of)| (domain.to_string(), bundle(of)));
        Self { all: context.svids().iter().map(svid).collect(), bundles: bundles.collect() }
    }

    /// Writes one of them to a folder, which is made where it is missing, in place of what was there: a workload's
    /// certificate, and the authorities of federated trust domains, each with its file.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, svid: &Svid, folder: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
        let roots = self.bundles.get(&svid.trust_domain).map(String::as_str).unwrap_or_default();
        write(folder, &[(KEY, &svid.key.0), (CERT_CHAIN, &svid.chain), (ROOT_CERT, roots)])?;
        let federated = folder.join(FEDERATED);
        let mut files = BTreeMap::new();
        for (domain, roots) in self.bundles.iter().filter(|(domain, _)| **domain != svid.trust_domain) {
            let name = format!("{domain}.pem");
            write(&federated, &[(&name, roots)])?;
            files.insert(domain.clone(), federated.join(name));
        }
        for stale in fs::read_dir(&federated).into_iter().flatten() {
            let stale = stale?.path();
            if !files.values().any(|kept| *kept == stale) {
                fs::remove_file(stale)?;
            }
        }
        Ok(files)
    }
}
