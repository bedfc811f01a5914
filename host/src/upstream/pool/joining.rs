//! HTTP/2: requests over connections that are there, and over one that is being made.

use super::{Acquired, ConnectFailure, EndpointPool, Open, UpstreamPeer, Wanted};
use crate::tls::Agreed;
use crate::upstream::circuit_breakers::Permit;
use crate::upstream::cluster::Unavailable;
use crate::upstream::http1::Http1Connection;
use crate::upstream::http2::{Http2Connection, Http2Upstream};
use std::rc::Rc;
use tokio::sync::oneshot;

/// An HTTP/2 connection that is being made.
pub(super) struct Joining {
    server_name: Option<Rc<str>>,
    waiting: Vec<oneshot::Sender<Joined>>,
}

/// What became of it; no connection: the endpoint has agreed on HTTP/1.1.
type Joined = Result<Option<Http2Connection>, ConnectFailure>;

/// Requests that wait for one HTTP/2 connection: as many streams as one has at a time before it says otherwise.
const JOINED: usize = 100;

impl Joining {
    fn takes(&self, wanted: &Wanted) -> bool {
        self.server_name == wanted.server_name && self.waiting.len() < JOINED
    }
}

impl EndpointPool {
    pub(super) fn http2(self: &Rc<Self>, wanted: Wanted) -> Acquired {
        let mut connections = self.http2.borrow_mut();
        connections.retain(Http2Connection::is_open);
        let mut suitable = connections.iter().filter(|connection| connection.server_name() == &wanted.server_name);
        let over = |connection: &Http2Connection| {
            Acquired::Ready(Box::new(Http2Upstream::new(connection.clone(), true, wanted.limits)))
        };
        if let Some(connection) = suitable.clone().find(|connection| connection.has_room()) {
            return over(connection);
        }
        if self.joining.borrow().iter().any(|joining| joining.takes(&wanted)) {
            drop(connections);
            return self.join(wanted);
        }
        // Beyond the bound the streams of a connection that is there already queue.
        let room = self.room();
        if let (None, Some(connection)) = (&room, suitable.next()) {
            return over(connection);
        }
        drop(connections);
        let wanted = match self.without_http2.get() {
            true => match self.idle(wanted) {
                Ok(peer) => return Acquired::Ready(peer),
                Err(wanted) => wanted,
            },
            false => wanted,
        };
        let Some(open) = room.or_else(|| self.make_room()) else {
            self.cluster.stats.overflows.add(1);
            return Acquired::Refused(Unavailable::Overflow);
        };
        let server_name = wanted.server_name.clone();
        let (sender, receiver) = oneshot::channel();
        self.joining.borrow_mut().push(Joining { server_name: server_name.clone(), waiting: vec![sender] });
        // Whoever asked first may leave before it is there.
        let pool = self.clone();
        tokio::task::spawn_local(async move {
            let made = pool.connect_http2(open, server_name.clone()).await;
            pool.joined(&server_name, made);
        });
        Acquired::Pending(Box::pin(self.clone().over_joined(receiver, None, wanted)))
    }

    /// Waits for an HTTP/2 connection that is being made already.
    fn join(self: &Rc<Self>, wanted: Wanted) -> Acquired {
        let Some(pending) = self.breakers().try_acquire_pending_request() else {
            self.cluster.stats.overflows.add(1);
            return Acquired::Refused(Unavailable::Overflow);
        };
        let (sender, receiver) = oneshot::channel();
        let mut joining = self.joining.borrow_mut();
        if let Some(joining) = joining.iter_mut().find(|joining| joining.takes(&wanted)) {
            joining.waiting.push(sender);
        }
        drop(joining);
        Acquired::Pending(Box::pin(self.clone().over_joined(receiver, Some(pending), wanted)))
    }

    async fn over_joined(
        self: Rc<Self>,
        receiver: oneshot::Receiver<Joined>,
        pending: Option<Permit>,
        wanted: Wanted,
    ) -> Result<Box<dyn UpstreamPeer>, ConnectFailure> {
        let joined = receiver.await.map_err(|_| ConnectFailure::Refused)??;
        drop(pending);
        if let Some(connection) = joined {
            return Ok(Box::new(Http2Upstream::new(connection, false, wanted.limits)));
        }
        match self.http1(wanted) {
            Acquired::Ready(peer) => Ok(peer),
            Acquired::Pending(connecting) => connecting.await,
            Acquired::Refused(_) => Err(ConnectFailure::Overflow),
        }
    }

    /// A connection for HTTP/2; none if the endpoint agrees on HTTP/1.1: then that is idle now.
    async fn connect_http2(self: &Rc<Self>, open: Open, server_name: Option<Rc<str>>) -> Joined {
        let (transport, agreed) = self.connect(&open, &server_name, true).await?;
        self.without_http2.set(agreed == Agreed::Http1);
        if agreed == Agreed::Http1 {
            self.put_back(Http1Connection::new(transport, open, server_name));
            return Ok(None);
        }
        let connection = Http2Connection::handshake(transport, open, server_name).await?;
        self.http2.borrow_mut().push(connection.clone());
        Ok(Some(connection))
    }

    /// Tells everybody who waits for a connection what became of it.
    fn joined(&self, server_name: &Option<Rc<str>>, made: Joined) {
        let mut joining = self.joining.borrow_mut();
        let Some(place) = joining.iter().position(|joining| joining.server_name == *server_name) else { return };
        let waiting = joining.remove(place).waiting;
        drop(joining);
        // Who has left does not miss it.
        waiting.into_iter().for_each(|sender| drop(sender.send(made.clone())));
    }
}
