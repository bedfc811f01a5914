//! The connections of one worker to one endpoint.

mod joining;

use crate::http::http1::head::HeadLimits;
use crate::http::{Peer, Transport};
use crate::tls::{Agreed, TlsError};
use crate::upstream::balancer::EndpointState;
use crate::upstream::circuit_breakers::{CircuitBreakers, Permit};
use crate::upstream::cluster::{SharedCluster, Unavailable};
use crate::upstream::http1::{Http1Connection, Http1Upstream};
use crate::upstream::http2::Http2Connection;
use crate::upstream::tunnel::Tunnel;
use joining::Joining;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// The upstream's end of a stream.
pub(crate) trait UpstreamPeer: Peer {
    /// The exchange is over: a connection in a good state goes back to the pool, any other is closed.
    fn finish(self: Box<Self>);

    /// Whether the connection has served before: then its end may only mean that it was idle for too long.
    fn is_reused(&self) -> bool;

    /// Our end of the connection.
    fn local_address(&self) -> Option<SocketAddr>;

    /// After a 101, or an answered CONNECT: bytes as they come.
    fn become_tunnel(&mut self) {}
}

/// What is wanted of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// HTTP/2, where the cluster says "as downstream".
    pub(crate) http2: bool,
    /// Bytes instead of HTTP.
    pub(crate) tunnel: bool,
    /// The protocol that the client would upgrade to.
    pub(crate) upgrade: Option<Vec<u8>>,
    pub(crate) limits: HeadLimits,
    /// The server name of its TLS, where it depends on the request. Connections with one are not for requests with
    /// another.
    pub(crate) server_name: Option<Rc<str>>,
}

/// Why there is no connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ConnectFailure {
    /// The handshake of HTTP/2 failed, or nobody says why.
    Refused,
    /// The system says why, by number.
    System(i32),
    /// The handshake of TLS failed.
    Tls(Box<TlsError>),
    /// It took longer than `connectTimeout`.
    Timeout,
    /// Given up while it waited for room.
    Overflow,
}

impl ConnectFailure {
    /// Why, for logs, where that is known (`%UPSTREAM_TRANSPORT_FAILURE_REASON%`).
    pub(crate) fn reason(&self) -> Option<String> {
        match self {
            Self::Tls(reason) => Some(reason.to_string()),
            Self::System(error) => {
                let text = std::io::Error::from_raw_os_error(*error).to_string();
                let text = text.split_once(" (os error").map_or(text.as_str(), |(text, _)| text);
                Some(format!("delayed_connect_error: {text}"))
            }
            Self::Refused | Self::Timeout | Self::Overflow => None,
        }
    }
}

pub(crate) type Connecting = Pin<Box<dyn Future<Output = Result<Box<dyn UpstreamPeer>, ConnectFailure>>>>;

/// A connection that carries bytes and nothing else: never pooled.
pub(crate) struct Dialled {
    pub(crate) transport: Transport,
    /// Counts it as open as long as this lives.
    pub(crate) open: Open,
}

pub(crate) type Dialling = Pin<Box<dyn Future<Output = Result<Dialled, ConnectFailure>>>>;

/// A connection, now or later.
pub(crate) enum Acquired {
    Ready(Box<dyn UpstreamPeer>),
    Pending(Connecting),
    Refused(Unavailable),
}

/// The connections of one worker to one endpoint.
pub(crate) struct EndpointPool {
    cluster: Arc<SharedCluster>,
    address: SocketAddr,
    /// Without the cluster's TLS.
    plaintext: bool,
    /// Used last is used first, so that what is not needed grows old.
    idle: RefCell<Vec<(Http1Connection, Instant)>>,
    http2: RefCell<Vec<Http2Connection>>,
    waiting: RefCell<VecDeque<Waiting>>,
    /// HTTP/2 connections that are being made, and who waits for them.
    joining: RefCell<Vec<Joining>>,
    open: Cell<usize>,
    /// The endpoint has agreed on HTTP/1.1 where HTTP/2 was offered.
    without_http2: Cell<bool>,
}

/// A request that waits for a connection.
struct Waiting {
    server_name: Option<Rc<str>>,
    sender: oneshot::Sender<Result<Http1Connection, ConnectFailure>>,
}

/// A connection that counts as open as long as this lives.
pub(crate) struct Open {
    pool: Rc<EndpointPool>,
    /// Our end, once it is connected.
    local: Cell<Option<SocketAddr>>,
    _room: Permit,
}

impl Open {
    /// Our end of the connection.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        self.local.get()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.pool.open.set(self.pool.open.get().saturating_sub(1));
        // Whoever waits for this connection gets a new one.
        self.pool.replace();
    }
}

impl EndpointPool {
    /// Of the endpoint at a place of the cluster.
    pub(crate) fn new(cluster: Arc<SharedCluster>, place: usize, endpoint: &EndpointState) -> Self {
        Self {
            plaintext: cluster.is_plaintext(place),
            cluster,
            address: endpoint.address(),
            idle: RefCell::default(),
            http2: RefCell::default(),
            waiting: RefCell::default(),
            joining: RefCell::default(),
            open: Cell::new(0),
            without_http2: Cell::new(false),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it is without the cluster's TLS.
    pub(crate) fn is_plaintext(&self) -> bool {
        self.plaintext
    }

    /// Whether any connection is open.
    pub(crate) fn has_connections(&self) -> bool {
        self.open.get() > 0
    }

    pub(crate) fn acquire(self: &Rc<Self>, wanted: Wanted) -> Acquired {
        use compiler::snapshot::UpstreamProtocol::{Downstream, Http1, Http2};
        if wanted.tunnel {
            return self.tunnel(wanted);
        }
        let http2 = match self.cluster.config.protocol {
            // An upgrade is a matter of HTTP/1.
            _ if wanted.upgrade.is_some() => false,
            Http1 => false,
            Http2 => true,
            Downstream => wanted.http2,
        };
        if http2 { self.http2(wanted) } else { self.http1(wanted) }
    }

    fn http1(self: &Rc<Self>, wanted: Wanted) -> Acquired {
        let wanted = match self.idle(wanted) {
            Ok(peer) => return Acquired::Ready(peer),
            Err(wanted) => wanted,
        };
        let pool = self.clone();
        match self.room().or_else(|| self.make_room()) {
            Some(open) => Acquired::Pending(Box::pin(async move {
                let (transport, _) = pool.connect(&open, &wanted.server_name, false).await?;
                Ok(pool.http1_peer(transport, open, wanted))
            })),
            None => self.wait(wanted),
        }
    }

    /// An idle connection that is still good, or what was wanted.
    fn idle(self: &Rc<Self>, wanted: Wanted) -> Result<Box<dyn UpstreamPeer>, Wanted> {
        while let Some(connection) = self.take_idle(&wanted.server_name) {
            if let Some(connection) = connection.still_good() {
                return Ok(Box::new(Http1Upstream::new(connection, self.clone(), wanted)));
            }
        }
        Err(wanted)
    }

    fn http1_peer(self: Rc<Self>, transport: Transport, open: Open, wanted: Wanted) -> Box<dyn UpstreamPeer> {
        let connection = Http1Connection::new(transport, open, wanted.server_name.clone());
        Box::new(Http1Upstream::new(connection, self, wanted))
    }

    /// Waits for a connection that is in use.
    fn wait(self: &Rc<Self>, wanted: Wanted) -> Acquired {
        let Some(pending) = self.breakers().try_acquire_pending_request() else {
            self.cluster.stats.overflows.add(1);
            return Acquired::Refused(Unavailable::Overflow);
        };
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push_back(Waiting { server_name: wanted.server_name.clone(), sender });
        let pool = self.clone();
        Acquired::Pending(Box::pin(async move {
            let connection = receiver.await.map_err(|_| ConnectFailure::Refused)??;
            drop(pending);
            Ok(Box::new(Http1Upstream::new(connection, pool, wanted)) as Box<dyn UpstreamPeer>)
        }))
    }

    fn tunnel(self: &Rc<Self>, wanted: Wanted) -> Acquired {
        let Some(open) = self.room().or_else(|| self.make_room()) else {
            self.cluster.stats.overflows.add(1);
            return Acquired::Refused(Unavailable::Overflow);
        };
        let pool = self.clone();
        Acquired::Pending(Box::pin(async move {
            let (transport, _) = pool.connect(&open, &wanted.server_name, false).await?;
            Ok(Box::new(Tunnel::new(transport, open)) as Box<dyn UpstreamPeer>)
        }))
    }

    /// Connects for bytes. Unlike for requests the limit holds for a pool's first connection as well: nothing waits
    /// here that could never be served.
    pub(crate) fn dial(self: &Rc<Self>) -> Result<Dialling, Unavailable> {
        let Some(permit) = self.breakers().try_acquire_connection() else {
            self.cluster.stats.connection_overflows.add(1);
            return Err(Unavailable::Overflow);
        };
        let (pool, open) = (self.clone(), self.count(permit));
        let server_name = self.cluster.asked_name(None);
        Ok(Box::pin(async move {
            let (transport, _) = pool.connect(&open, &server_name, false).await?;
            Ok(Dialled { transport, open })
        }))
    }

    /// Room for one more connection. Each pool may have one whatever the limit.
    fn room(self: &Rc<Self>) -> Option<Open> {
        let room = match self.open.get() {
            0 => Some(self.breakers().acquire_first_connection()),
            _ => self.breakers().try_acquire_connection(),
        };
        Some(self.count(room?))
    }

    fn count(self: &Rc<Self>, room: Permit) -> Open {
        self.open.set(self.open.get() + 1);
        Open { pool: self.clone(), local: Cell::new(None), _room: room }
    }

    /// Room that an idle connection for another server name has had.
    fn make_room(self: &Rc<Self>) -> Option<Open> {
        let oldest = {
            let mut idle = self.idle.borrow_mut();
            (!idle.is_empty()).then(|| idle.remove(0))
        };
        drop(oldest?);
        self.room()
    }

    /// A new connection, and what is to be spoken on it. The time limit is for the handshake, too.
    async fn connect(
        &self,
        open: &Open,
        server_name: &Option<Rc<str>>,
        http2: bool,
    ) -> Result<(Transport, Agreed), ConnectFailure> {
        let connecting = self.connect_without_limit(open, server_name.as_deref(), http2);
        let connected = match self.cluster.config.connect_timeout.limit() {
            Some(limit) => tokio::time::timeout(limit, connecting).await.unwrap_or(Err(ConnectFailure::Timeout)),
            None => connecting.await,
        };
        let stats = &self.cluster.stats;
        if connected.is_ok() { &stats.connections } else { &stats.connect_failures }.add(1);
        connected
    }

    async fn connect_without_limit(
        &self,
        open: &Open,
        server_name: Option<&str>,
        http2: bool,
    ) -> Result<(Transport, Agreed), ConnectFailure> {
        let failure =
            |error: std::io::Error| error.raw_os_error().map_or(ConnectFailure::Refused, ConnectFailure::System);
        let stream = TcpStream::connect(self.address).await.map_err(failure)?;
        open.local.set(stream.local_addr().ok());
        // A socket that cannot be told so is slower, not wrong.
        let _ = stream.set_nodelay(true);
        let Some(tls) = self.cluster.tls.as_ref().filter(|_| !self.plaintext) else {
            return Ok((Box::new(stream), Agreed::Unsaid));
        };
        let connected = tls.connect(stream, self.address.ip(), server_name, http2).await;
        let (stream, agreed) = connected.map_err(|error| ConnectFailure::Tls(Box::new(error)))?;
        Ok((Box::new(stream), agreed))
    }

    /// Takes a connection back: for whoever waits, or for later.
    pub(crate) fn put_back(&self, mut connection: Http1Connection) {
        while let Some(waiting) = self.take_waiting(connection.server_name()) {
            match waiting.sender.send(Ok(connection)) {
                Err(Ok(unwanted)) => connection = unwanted,
                _ => return,
            }
        }
        if self.someone_waits() {
            // For another server name. Room is what it waits for.
            return drop(connection);
        }
        connection.relax();
        self.idle.borrow_mut().push((connection, Instant::now()));
    }

    /// The first that waits for a connection with such a server name and has not given up.
    fn take_waiting(&self, server_name: &Option<Rc<str>>) -> Option<Waiting> {
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|waiting| !waiting.sender.is_closed());
        let place = waiting.iter().position(|waiting| waiting.server_name == *server_name)?;
        waiting.remove(place)
    }

    fn someone_waits(&self) -> bool {
        self.waiting.borrow().iter().any(|waiting| !waiting.sender.is_closed())
    }

    /// Whether a connection that has served so many requests may serve another.
    pub(crate) fn may_reuse(&self, requests: u32) -> bool {
        let most = self.cluster.config.max_requests_per_connection;
        most == 0 || requests < most
    }

    pub(crate) fn close_idle(&self, now: Instant, limit: Duration) {
        let kept = |since: &Instant| now.saturating_duration_since(*since) < limit;
        let old: Vec<_> = self.idle.borrow_mut().extract_if(.., |(_, since)| !kept(since)).collect();
        drop(old);
    }

    /// Opens a connection for the first that waits, now that there is room.
    fn replace(self: &Rc<Self>) {
        let first = |waiting: &Waiting| (!waiting.sender.is_closed()).then(|| waiting.server_name.clone());
        let Some(server_name) = self.waiting.borrow().iter().find_map(first) else { return };
        let Some(open) = self.room() else { return };
        let pool = self.clone();
        tokio::task::spawn_local(async move {
            match pool.connect(&open, &server_name, false).await {
                Ok((transport, _)) => pool.put_back(Http1Connection::new(transport, open, server_name)),
                Err(failure) => {
                    if let Some(waiting) = pool.take_waiting(&server_name) {
                        // It may have given up just now.
                        let _ = waiting.sender.send(Err(failure));
                    }
                }
            }
        });
    }

    fn take_idle(&self, server_name: &Option<Rc<str>>) -> Option<Http1Connection> {
        let mut idle = self.idle.borrow_mut();
        let place = idle.iter().rposition(|(connection, _)| connection.server_name() == server_name)?;
        Some(idle.remove(place).0)
    }

    fn breakers(&self) -> &Arc<CircuitBreakers> {
        &self.cluster.breakers
    }
}

#[cfg(test)]
mod tests;
