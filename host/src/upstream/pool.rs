//! The connections of one worker to one endpoint.

use crate::http::http1::head::HeadLimits;
use crate::http::{Peer, Transport};
use crate::upstream::balancer::EndpointState;
use crate::upstream::circuit_breakers::{CircuitBreakers, Permit};
use crate::upstream::cluster::{SharedCluster, Unavailable};
use crate::upstream::http1::{Http1Connection, Http1Upstream};
use crate::upstream::http2::{Http2Connection, Http2Upstream};
use crate::upstream::tunnel::Tunnel;
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
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ConnectFailure {
    /// Refused, or the handshake failed.
    Refused,
    /// It took longer than `connectTimeout`.
    Timeout,
    /// Given up while it waited for room.
    Overflow,
}

pub(crate) type Connecting = Pin<Box<dyn Future<Output = Result<Box<dyn UpstreamPeer>, ConnectFailure>>>>;

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
    /// Used last is used first, so that what is not needed grows old.
    idle: RefCell<Vec<(Http1Connection, Instant)>>,
    http2: RefCell<Vec<Http2Connection>>,
    waiting: RefCell<VecDeque<oneshot::Sender<Http1Connection>>>,
    open: Cell<usize>,
}

/// A connection that counts as open as long as this lives.
pub(crate) struct Open {
    pool: Rc<EndpointPool>,
    _room: Permit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.pool.open.set(self.pool.open.get().saturating_sub(1));
        // Whoever waits for this connection gets a new one.
        self.pool.replace();
    }
}

impl EndpointPool {
    pub(crate) fn new(cluster: Arc<SharedCluster>, endpoint: &EndpointState) -> Self {
        Self {
            cluster,
            address: endpoint.address(),
            idle: RefCell::default(),
            http2: RefCell::default(),
            waiting: RefCell::default(),
            open: Cell::new(0),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn acquire(self: &Rc<Self>, wanted: Wanted) -> Acquired {
        use compiler::snapshot::UpstreamProtocol::{Downstream, Http1, Http2};
        if wanted.tunnel {
            return self.tunnel();
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
        while let Some((connection, _)) = self.take_idle() {
            if let Some(connection) = connection.still_good() {
                return Acquired::Ready(Box::new(Http1Upstream::new(connection, self.clone(), wanted)));
            }
        }
        let pool = self.clone();
        match self.room() {
            Some(open) => Acquired::Pending(Box::pin(async move {
                let transport = pool.connect().await?;
                let connection = Http1Connection::new(transport, open);
                Ok(Box::new(Http1Upstream::new(connection, pool, wanted)) as Box<dyn UpstreamPeer>)
            })),
            None => self.wait(wanted),
        }
    }

    /// Waits for a connection that is in use.
    fn wait(self: &Rc<Self>, wanted: Wanted) -> Acquired {
        let Some(pending) = self.breakers().try_acquire_pending_request() else {
            self.cluster.stats.overflows.add(1);
            return Acquired::Refused(Unavailable::Overflow);
        };
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push_back(sender);
        let pool = self.clone();
        Acquired::Pending(Box::pin(async move {
            let connection = receiver.await.map_err(|_| ConnectFailure::Refused)?;
            drop(pending);
            Ok(Box::new(Http1Upstream::new(connection, pool, wanted)) as Box<dyn UpstreamPeer>)
        }))
    }

    fn http2(self: &Rc<Self>, wanted: Wanted) -> Acquired {
        let mut connections = self.http2.borrow_mut();
        connections.retain(Http2Connection::is_open);
        if let Some(connection) = connections.iter().find(|connection| connection.has_room()) {
            return Acquired::Ready(Box::new(Http2Upstream::new(connection.clone(), true, wanted.limits)));
        }
        let pool = self.clone();
        // Beyond the bound the streams of a connection that is there already queue.
        let Some(open) = self.room() else {
            return match connections.first() {
                Some(connection) => {
                    Acquired::Ready(Box::new(Http2Upstream::new(connection.clone(), true, wanted.limits)))
                }
                None => Acquired::Refused(Unavailable::Overflow),
            };
        };
        Acquired::Pending(Box::pin(async move {
            let transport = pool.connect().await?;
            let connection = Http2Connection::handshake(transport, open).await?;
            pool.http2.borrow_mut().push(connection.clone());
            Ok(Box::new(Http2Upstream::new(connection, false, wanted.limits)) as Box<dyn UpstreamPeer>)
        }))
    }

    fn tunnel(self: &Rc<Self>) -> Acquired {
        let Some(open) = self.room() else {
            self.cluster.stats.overflows.add(1);
            return Acquired::Refused(Unavailable::Overflow);
        };
        let pool = self.clone();
        Acquired::Pending(Box::pin(async move {
            Ok(Box::new(Tunnel::new(pool.connect().await?, open)) as Box<dyn UpstreamPeer>)
        }))
    }

    /// Room for one more connection. Each pool may have one whatever the limit.
    fn room(self: &Rc<Self>) -> Option<Open> {
        let room = match self.open.get() {
            0 => Some(self.breakers().acquire_first_connection()),
            _ => self.breakers().try_acquire_connection(),
        };
        let _room = room?;
        self.open.set(self.open.get() + 1);
        Some(Open { pool: self.clone(), _room })
    }

    async fn connect(&self) -> Result<Transport, ConnectFailure> {
        let connecting = TcpStream::connect(self.address);
        let connected = match self.cluster.config.connect_timeout.limit() {
            Some(limit) => tokio::time::timeout(limit, connecting).await,
            None => Ok(connecting.await),
        };
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            failed => {
                self.cluster.stats.connect_failures.add(1);
                return Err(if failed.is_err() { ConnectFailure::Timeout } else { ConnectFailure::Refused });
            }
        };
        self.cluster.stats.connections.add(1);
        // A socket that cannot be told so is slower, not wrong.
        let _ = stream.set_nodelay(true);
        Ok(Box::new(stream))
    }

    /// Takes a connection back: for whoever waits, or for later.
    pub(crate) fn put_back(&self, mut connection: Http1Connection) {
        while let Some(waiting) = self.waiting.borrow_mut().pop_front() {
            match waiting.send(connection) {
                Ok(()) => return,
                // That one has given up.
                Err(unwanted) => connection = unwanted,
            }
        }
        connection.relax();
        self.idle.borrow_mut().push((connection, Instant::now()));
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
        let someone = self.waiting.borrow().iter().any(|waiting| !waiting.is_closed());
        if !someone {
            return;
        }
        let Some(open) = self.room() else { return };
        let pool = self.clone();
        tokio::task::spawn_local(async move {
            match pool.connect().await {
                Ok(transport) => pool.put_back(Http1Connection::new(transport, open)),
                // The one that waits is told by its channel.
                Err(_) => drop(pool.waiting.borrow_mut().pop_front()),
            }
        });
    }

    fn take_idle(&self) -> Option<(Http1Connection, Instant)> {
        self.idle.borrow_mut().pop()
    }

    fn breakers(&self) -> &Arc<CircuitBreakers> {
        &self.cluster.breakers
    }
}
