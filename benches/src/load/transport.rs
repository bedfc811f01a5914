//! Bytes to and from a proxy, with or without TLS.

use crate::load::Target;
use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, HandshakeKind, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The name in the server's certificate.
pub(crate) const SERVER_NAME: &str = "proxy.test";

/// How long connecting and shaking hands may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open connection that does not block.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Transport {
    /// Connects; with TLS, through the whole handshake.
    pub(super) fn open(target: &Target) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, target.port));
        let mut stream = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let tls = target.tls.as_ref().map(|config| {
            let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
            let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
            while tls.is_handshaking() {
                tls.complete_io(&mut stream)?;
            }
            io::Result::Ok(tls)
        });
        let tls = tls.transpose()?;
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream);
        Ok(match tls {
            Some(tls) => Self::Tls(Box::new(StreamOwned::new(tls, stream))),
            None => Self::Plain(stream),
        })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &mut stream.sock,
        };
        stream.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    pub(super) fn has_resumed(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.conn.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(bytes),
            Self::Tls(stream) => stream.read(bytes),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => {
                let size = stream.write(bytes)?;
                // What the socket does not take now goes with the next write or read.
                match stream.flush() {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                    _ => Ok(size),
                }
            }
        }
    }
}
