//! From an accepted socket to the filter chain that serves it: first bytes, chain, TLS.

use crate::admin::CertificateReport;

use crate::downstream::first_bytes::{Opening, read_opening};
use crate::http::{Io, Rewound, Transport};
use crate::telemetry::ResponseFlags;
use crate::tls::{Secured, ServerTls, TIME_LIMIT, TlsError};
use crate::wasm::ConnectionProperties;
use bytes::BytesMut;
use compiler::snapshot::{
    self, ConnectionFacts, DownstreamTls, FilterChain, FilterChainMatcher, Listener, NetworkFilter, TransportProtocol,
};
use rustls::server::Accepted;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The filter chains of a listener, ready to choose from. Shared by the workers.
pub(crate) struct ListenerChains {
    listener: String,
    matcher: FilterChainMatcher,
    /// TLS of each chain that has it.
    tls: Vec<Option<Arc<ServerTls>>>,
    /// Of each chain, whether its server may be the one who speaks first.
    server_first: Vec<bool>,
    /// How long is waited for a client's first byte there.
    patience: Duration,
}

/// How long is waited for a client's first byte where perhaps the server is to speak first: long for a client that has
/// something to say, short for one that waits (Envoy's `listener_filters_timeout`; Istio waits for ever).
const SERVER_FIRST: Duration = Duration::from_secs(1);

/// A connection that a chain serves.
pub(crate) struct Admitted {
    /// Place of the chain in the listener's `filter_chains`.
    pub(crate) chain: usize,
    pub(crate) transport: Transport,
    pub(crate) properties: ConnectionProperties,
}

/// A connection that is closed before any chain serves it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Rejected {
    pub(crate) reason: Rejection,
    /// The server name it asked for, if it got that far.
    pub(crate) requested_server_name: String,
}

/// Why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Rejection {
    /// No chain takes it.
    NoFilterChain,
    /// It said nothing before it went away.
    Silent,
    /// The handshake failed.
    Tls(TlsError),
}

impl Rejection {
    /// For metrics.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::NoFilterChain => "no_filter_chain",
            Self::Silent => "silent",
            Self::Tls(error) => error.word(),
        }
    }
}

impl Rejected {
    /// For the access log.
    pub(crate) fn flags(&self) -> ResponseFlags {
        match self.reason {
            Rejection::NoFilterChain => ResponseFlags::NO_ROUTE_FOUND,
            Rejection::Silent | Rejection::Tls(_) => ResponseFlags::NONE,
        }
    }

    /// For the access log, as Envoy's `%RESPONSE_CODE_DETAILS%`.
    pub(crate) fn details(&self) -> &'static str {
        match self.reason {
            Rejection::NoFilterChain => "filter_chain_not_found",
            Rejection::Silent | Rejection::Tls(_) => "",
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Rejection::NoFilterChain => f.write_str("no filter chain matches")?,
            Rejection::Silent => f.write_str("the client went away without a word")?,
            Rejection::Tls(error) => error.fmt(f)?,
        }
        match self.requested_server_name.as_str() {
            "" => Ok(()),
            name => write!(f, " (server name {name})"),
        }
    }
}

/// Addresses and number of a connection.
#[derive(Clone, Copy)]
struct Ends {
    peer: SocketAddr,
    destination: SocketAddr,
    id: u64,
}

impl ListenerChains {
    /// Reads certificates and compiles the matches. What `before` has read for the same settings is used again, so that
    /// files that are just broken keep nobody from another configuration.
    ///
    /// # Errors
    /// Every fault.
    pub(crate) fn new(listener: &Listener, before: Option<&Self>) -> Result<Self, Vec<String>> {
        let known = |settings: &DownstreamTls| {
            let mut known = before.into_iter().flat_map(|before| before.tls.iter().flatten());
            known.find(|tls| tls.settings() == settings).cloned()
        };
        let socket = |settings| known(settings).map_or_else(|| ServerTls::new(settings).map(Arc::new), Ok);
        let name = &listener.name;
        let mut faults = Vec::new();
        let matcher = FilterChainMatcher::new(&listener.filter_chains);
        let matcher = matcher.map_err(|found| faults.extend(found)).ok();
        let mut tls = Vec::new();
        for (index, chain) in listener.filter_chains.iter().enumerate() {
            let made = chain.transport_socket.as_ref().map(socket).transpose();
            faults.extend(of_chain(index, made.as_ref().err()));
            tls.push(made.ok().flatten());
        }
        let bytes_as_they_come = |chain: &FilterChain| {
            chain.transport_socket.is_none() && matches!(chain.network_filter, NetworkFilter::TcpProxy(_))
        };
        let server_first = listener.filter_chains.iter().map(bytes_as_they_come).collect();
        let patience = listener.protocol_detection_timeout.and_then(snapshot::Duration::limit).unwrap_or(SERVER_FIRST);
        match matcher {
            Some(matcher) if faults.is_empty() => {
                Ok(Self { listener: name.clone(), matcher, tls, server_first, patience })
            }
            _ => Err(of_listener(name, faults)),
        }
    }

    /// The certificates that are shown to clients.
    pub(crate) fn certificates(&self) -> Vec<CertificateReport> {
        self.tls.iter().flatten().flat_map(|tls| tls.certificates()).collect()
    }

    /// Reads certificates again; connections keep those they have.
    ///
    /// # Errors
    /// Every fault. Chains without one have their new certificates all the same.
    pub(crate) fn reload_certificates(&self) -> Result<(), Vec<String>> {
        let mut faults = Vec::new();
        for (index, tls) in self.tls.iter().enumerate() {
            let reloaded = tls.as_ref().map_or(Ok(()), |tls| tls.reload());
            faults.extend(of_chain(index, reloaded.as_ref().err()));
        }
        if faults.is_empty() { Ok(()) } else { Err(of_listener(&self.listener, faults)) }
    }

    /// Finds the chain for a connection and goes through its handshake, if it has one. `peer`: the other end;
    /// `destination`: where it was made to, before any redirection; `id`: its number in this process.
    ///
    /// # Errors
    /// Why the connection is closed; the socket is closed with it.
    pub(crate) async fn admit<I: Io + 'static>(
        &self,
        socket: I,
        peer: SocketAddr,
        destination: SocketAddr,
        id: u64,
    ) -> Result<Admitted, Rejected> {
        let ends = Ends { peer, destination, id };
        if !self.matcher.needs_first_bytes(destination.port(), peer.ip().to_canonical()) {
            let chain = self.find(ends, None, TransportProtocol::RawBuffer, &[])?;
            return Ok(plain(chain, Box::new(socket), ends));
        }
        let begun = Instant::now();
        let deadline = begun + TIME_LIMIT;
        let (mut socket, mut read) = (socket, BytesMut::new());
        let patience = if self.is_server_first(ends) { begun + self.patience } else { deadline };
        let mut opening = timeout_at(patience, read_opening(&mut socket, &mut read)).await;
        if opening.is_err() && !read.is_empty() && patience < deadline {
            // It has begun to speak: what has come is looked at anew, with the rest.
            opening = timeout_at(deadline, read_opening(&mut socket, &mut read)).await;
        }
        match opening {
            Ok(Ok(Opening::Tls(hello, used))) => {
                let io = Rewinding { socket, read, used };
                self.admit_tls(*hello, io, ends, deadline).await
            }
            Ok(Ok(Opening::Plain)) => self.admit_plain(Rewound::new(socket, read), ends),
            // Perhaps the server is to speak first. It may where plaintext is served.
            Err(_) if read.is_empty() => {
                let admitted = self.admit_plain(Rewound::new(socket, read), ends);
                admitted.map_err(|_| rejected(Rejection::Tls(TlsError::Timeout), ""))
            }
            Ok(Err(TlsError::Closed)) if read.is_empty() => Err(rejected(Rejection::Silent, "")),
            Ok(Err(error)) => Err(rejected(Rejection::Tls(error), "")),
            Err(_) => Err(rejected(Rejection::Tls(TlsError::Timeout), "")),
        }
    }

    /// Whether a client that says nothing may be waiting for the server.
    fn is_server_first(&self, ends: Ends) -> bool {
        let chain = self.find(ends, None, TransportProtocol::RawBuffer, &[]);
        chain.is_ok_and(|chain| self.server_first.get(chain).copied().unwrap_or(false))
    }

    fn admit_plain<I: Io + 'static>(&self, io: Rewound<I>, ends: Ends) -> Result<Admitted, Rejected> {
        let chain = self.find(ends, None, TransportProtocol::RawBuffer, &[])?;
        match self.tls.get(chain) {
            Some(None) => Ok(plain(chain, Box::new(io), ends)),
            _ => Err(rejected(Rejection::Tls(TlsError::Plaintext), "")),
        }
    }

    async fn admit_tls<I: Io + 'static>(
        &self,
        hello: Accepted,
        io: Rewinding<I>,
        ends: Ends,
        deadline: Instant,
    ) -> Result<Admitted, Rejected> {
        let name = hello.client_hello().server_name().map(str::to_ascii_lowercase);
        let chain = {
            let hello = hello.client_hello();
            let protocols: Vec<&[u8]> = hello.alpn().into_iter().flatten().collect();
            self.find(ends, name.as_deref(), TransportProtocol::Tls, &protocols)?
        };
        let name = name.unwrap_or_default();
        let Some(Some(tls)) = self.tls.get(chain) else {
            let mut admitted = plain(chain, Box::new(Rewound::new(io.socket, io.read)), ends);
            admitted.properties.requested_server_name = name;
            return Ok(admitted);
        };
        match tls.accept(hello, io.after_hello(), deadline).await {
            Ok(secured) => Ok(admitted_secured(chain, secured, name, ends)),
            Err(error) => Err(rejected(Rejection::Tls(error), &name)),
        }
    }

    fn find(
        &self,
        ends: Ends,
        server_name: Option<&str>,
        transport_protocol: TransportProtocol,
        application_protocols: &[&[u8]],
    ) -> Result<usize, Rejected> {
        let source = ends.peer.ip().to_canonical();
        let destination_port = ends.destination.port();
        let facts =
            ConnectionFacts { destination_port, source, server_name, transport_protocol, application_protocols };
        let found = self.matcher.find(&facts);
        found.ok_or_else(|| rejected(Rejection::NoFilterChain, server_name.unwrap_or_default()))
    }
}

/// A connection of which a ClientHello has been read, and perhaps more.
struct Rewinding<I> {
    socket: I,
    read: BytesMut,
    used: usize,
}

impl<I> Rewinding<I> {
    fn after_hello(mut self) -> Rewound<I> {
        let rest = self.read.split_off(self.used.min(self.read.len()));
        Rewound::new(self.socket, rest)
    }
}

fn of_chain(index: usize, faults: Option<&Vec<String>>) -> impl Iterator<Item = String> {
    let faults = faults.into_iter().flatten();
    faults.map(move |fault| format!("filterChains[{index}].transportSocket.{fault}"))
}

fn of_listener(name: &str, faults: Vec<String>) -> Vec<String> {
    faults.into_iter().map(|fault| format!("listener {name:?} {fault}")).collect()
}

fn rejected(reason: Rejection, server_name: &str) -> Rejected {
    Rejected { reason, requested_server_name: server_name.to_owned() }
}

fn plain(chain: usize, transport: Transport, ends: Ends) -> Admitted {
    let properties = ConnectionProperties {
        id: ends.id,
        source: ends.peer,
        direct_peer: ends.peer,
        destination: ends.destination,
        redirected: false,
        requested_server_name: String::new(),
        tls_version: None,
        peer: None,
        local: None,
    };
    Admitted { chain, transport, properties }
}

fn admitted_secured<I: Io + 'static>(chain: usize, secured: Secured<I>, name: String, ends: Ends) -> Admitted {
    let Secured { stream, version, peer, local } = secured;
    let mut admitted = plain(chain, Box::new(stream), ends);
    let properties = &mut admitted.properties;
    properties.requested_server_name = name;
    properties.tls_version = version;
    properties.peer = peer;
    properties.local = Some(local);
    admitted
}

#[cfg(test)]
mod tests;
