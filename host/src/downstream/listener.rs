//! A listener on one worker: its socket, and the filter chains that serve what comes on it.

use crate::downstream::admit::{Rejected, Rejection};
use crate::downstream::connection::{Accepted, serve_connection};
use crate::downstream::http_manager::HttpManager;
use crate::downstream::live_chain::LiveChain;
use crate::downstream::tcp;
use crate::downstream::tcp_manager::TcpManager;
use crate::generation::ListenerPlan;
use crate::overload::Room;
use crate::telemetry::ListenerStats;
use crate::wasm::ConnectionProperties;
use crate::worker::{Workbench, Worker, spawn_guarded};
use compiler::snapshot::Direction;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// How long nothing is accepted when no connection can be had, for want of file descriptors above all.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Numbers of connections: unique in the process.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// What serves the connections of one filter chain.
#[derive(Clone)]
pub(crate) enum Served {
    Http(Rc<LiveChain<HttpManager>>),
    Tcp(Rc<LiveChain<TcpManager>>),
}

/// A new way to serve a filter chain.
pub(crate) enum Manager {
    Http(Box<HttpManager>),
    Tcp(Box<TcpManager>),
}

/// A listener of one configuration on this worker.
struct Serving {
    plan: Arc<ListenerPlan>,
    chains: Vec<Served>,
    stats: ListenerStats,
}

/// A listener that accepts.
pub(crate) struct ActiveListener {
    serving: Rc<RefCell<Rc<Serving>>>,
    socket: Rc<TcpListener>,
    accepting: AbortHandle,
}

/// A socket that listens at an address, beside those of the other workers.
///
/// # Errors
/// As the system's calls.
pub(crate) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl ActiveListener {
    /// Starts accepting. `managers`: how each filter chain is served.
    pub(crate) fn start(
        workbench: &Workbench,
        socket: std::net::TcpListener,
        plan: Arc<ListenerPlan>,
        managers: Vec<Manager>,
    ) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let socket = Rc::new(TcpListener::from_std(socket)?);
        let chains = managers.into_iter().map(Served::new).collect();
        let stats = ListenerStats::new(&workbench.registry, address);
        let serving = Rc::new(RefCell::new(Rc::new(Serving { plan, chains, stats })));
        let accepting = tokio::task::spawn_local(accept(workbench.worker.clone(), socket.clone(), serving.clone()));
        Ok(Self { serving, socket, accepting: accepting.abort_handle() })
    }

    /// Serves what comes from now on by a new configuration; chains that are in both go on, the others drain.
    pub(crate) fn replace(&self, plan: Arc<ListenerPlan>, managers: Vec<Manager>) {
        let old = self.serving.borrow().clone();
        let mut kept = vec![false; old.chains.len()];
        let chains = plan.filter_chains.iter().zip(managers).map(|(chain, manager)| {
            let place = old.plan.filter_chains.iter().position(|before| {
                before.filter_chain_match == chain.filter_chain_match && before.terminates_tls == chain.terminates_tls
            });
            match place.and_then(|place| Some((place, old.chains.get(place)?))) {
                Some((place, served)) => match served.replace(manager) {
                    Ok(()) => {
                        if let Some(kept) = kept.get_mut(place) {
                            *kept = true;
                        }
                        served.clone()
                    }
                    Err(manager) => Served::new(manager),
                },
                None => Served::new(manager),
            }
        });
        let chains = chains.collect();
        old.chains.iter().zip(kept).filter(|(_, kept)| !kept).for_each(|(served, _)| served.drain());
        let stats = old.stats.clone();
        self.serving.replace(Rc::new(Serving { plan, chains, stats }));
    }

    /// Whether its traffic is for the workload beside the proxy.
    pub(crate) fn is_inbound(&self) -> bool {
        self.serving.borrow().plan.direction == Direction::Inbound
    }

    /// Accepts what has been connected already, then no more; connections end with their streams.
    pub(crate) fn drain(self, worker: &Rc<Worker>) {
        self.accepting.abort();
        let serving = self.serving.borrow().clone();
        // Whoever the kernel has let in would be reset by the closing of the socket.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        while let std::task::Poll::Ready(Ok((stream, peer))) = self.socket.poll_accept(&mut context) {
            admit(worker, serving.clone(), stream, peer);
        }
        serving.chains.iter().for_each(Served::drain);
    }
}

impl Served {
    fn new(manager: Manager) -> Self {
        match manager {
            Manager::Http(manager) => Self::Http(LiveChain::new(*manager)),
            Manager::Tcp(manager) => Self::Tcp(LiveChain::new(*manager)),
        }
    }

    /// Changes what serves it; gives the manager back that is of another kind.
    fn replace(&self, manager: Manager) -> Result<(), Manager> {
        match (self, manager) {
            (Self::Http(chain), Manager::Http(manager)) => chain.replace(*manager),
            (Self::Tcp(chain), Manager::Tcp(manager)) => chain.replace(*manager),
            (_, manager) => return Err(manager),
        }
        Ok(())
    }

    fn drain(&self) {
        match self {
            Self::Http(chain) => chain.draining.begin(),
            Self::Tcp(chain) => chain.draining.begin(),
        }
    }
}

async fn accept(worker: Rc<Worker>, socket: Rc<TcpListener>, serving: Rc<RefCell<Rc<Serving>>>) {
    loop {
        // The kernel keeps them meanwhile, and refuses them itself when it has too many.
        while worker.overload.sheds_connections() {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
        match socket.accept().await {
            Ok((stream, peer)) => admit(&worker, serving.borrow().clone(), stream, peer),
            // One that was gone before it was accepted concerns nobody.
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Serves a connection, unless there are as many as may be.
fn admit(worker: &Rc<Worker>, serving: Rc<Serving>, stream: TcpStream, peer: SocketAddr) {
    match worker.overload.let_in() {
        Some(room) => spawn_guarded(worker, serve(worker.clone(), room, serving, stream, peer)),
        None => tracing::debug!(listener = %serving.plan.name, %peer, "a connection too many is closed"),
    }
}

async fn serve(worker: Rc<Worker>, _room: Room, serving: Rc<Serving>, stream: TcpStream, peer: SocketAddr) {
    let _connected = (worker.connected(), serving.stats.accepted());
    // A socket that cannot be told so is slower, not wrong.
    let _ = stream.set_nodelay(true);
    let Ok((destination, redirected)) = destination(&stream, serving.plan.use_original_dst) else { return };
    let id = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    // What is done with here once is not to take room for as long as the connection lasts.
    let admitting = Box::pin(serving.plan.chains.admit(stream, peer, destination, id));
    let admitted = match admitting.await {
        Ok(admitted) => admitted,
        Err(rejected) => {
            serving.stats.rejected(rejected.reason.word());
            return tell(&serving.plan.name, peer, &rejected);
        }
    };
    let properties = ConnectionProperties { redirected, ..admitted.properties };
    let accepted = Accepted { transport: admitted.transport, properties: Rc::new(properties) };
    match serving.chains.get(admitted.chain).cloned() {
        Some(Served::Http(chain)) => serve_connection(worker.clone(), chain, accepted).await,
        Some(Served::Tcp(chain)) => Box::pin(tcp::serve(worker.clone(), chain.current(), accepted)).await,
        None => {}
    }
}

/// Where a connection was made to: before it was redirected to this listener, if it was and that counts; and whether it
/// was.
fn destination(stream: &TcpStream, use_original_dst: bool) -> io::Result<(SocketAddr, bool)> {
    let socket = SockRef::from(stream);
    let local = socket.local_addr()?;
    let original = use_original_dst.then(|| match local.is_ipv6() {
        true => socket.original_dst_v6(),
        false => socket.original_dst_v4(),
    });
    let socket_address = |address: SockAddr| address.as_socket().ok_or_else(|| io::Error::other("no IP address"));
    let local = socket_address(local)?;
    // One that was not redirected has none, or its own.
    let original = original.and_then(Result::ok).map(socket_address).transpose()?;
    Ok(original.filter(|original| *original != local).map_or((local, false), |original| (original, true)))
}

/// Says why a connection is closed before anything has served it. Who says nothing, such as a health check, is no news.
fn tell(listener: &str, peer: SocketAddr, rejected: &Rejected) {
    let (flags, details) = (rejected.flags(), rejected.details());
    match rejected.reason {
        Rejection::Silent => tracing::debug!(listener, %peer, "a connection is closed: {rejected}"),
        _ => tracing::warn!(listener, %peer, %flags, details, "a connection is closed: {rejected}"),
    }
}
