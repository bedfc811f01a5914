//! What policies decide about: the attributes of one request, each fetched when a rule first needs it.

use crate::claims::{self, Value};
use crate::peer::{Peer, PeerCache};
use filter_api::{HostError, Stream};
use http_match::{HeaderList, parse_peer_address, split_target};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

/// Where attributes come from: a stream, or a request that somebody describes.
pub trait Facts {
    /// All request headers.
    ///
    /// # Errors
    /// When they cannot be had.
    fn headers(&mut self) -> Result<&HeaderList, HostError>;

    /// A property; `None` when it does not exist.
    ///
    /// # Errors
    /// When it cannot be told.
    fn property(&mut self, path: &[&str]) -> Result<Option<Vec<u8>>, HostError>;
}

impl Facts for Stream<'_> {
    fn headers(&mut self) -> Result<&HeaderList, HostError> {
        self.request_headers()
    }

    fn property(&mut self, path: &[&str]) -> Result<Option<Vec<u8>>, HostError> {
        Stream::property(self, path)
    }
}

/// An attribute that a decision needs and nobody can tell. It is not an absent one: what cannot be decided is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// Which: `request headers`, or the property's path.
    pub what: &'static str,
    /// Why.
    pub why: Why,
}

/// Why an attribute is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The host did not answer.
    Host(HostError),
    /// Its answer makes no sense.
    Unreadable(&'static str),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Why::Host(error) => write!(f, "{}: {error}", self.what),
            Why::Unreadable(reason) => write!(f, "{}: {reason}", self.what),
        }
    }
}

/// What outlives a request: where to look, and whose certificates are known already.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Path of the property with the direct peer's address.
    pub peer_address: Vec<String>,
    /// Certificates read before.
    pub peers: PeerCache,
}

/// What the direct peer's address is called in errors: the property's name is the user's choice.
const DIRECT_ADDRESS: &str = "the direct peer's address";

impl Surroundings {
    /// The direct peer's address, as its property has it.
    pub(crate) fn direct_address(&self, facts: &mut dyn Facts) -> Result<Option<Vec<u8>>, Unavailable> {
        let path: Vec<&str> = self.peer_address.iter().map(String::as_str).collect();
        facts.property(&path).map_err(|error| Unavailable { what: DIRECT_ADDRESS, why: Why::Host(error) })
    }
}

/// All request headers.
pub(crate) fn headers(facts: &mut dyn Facts) -> Result<&HeaderList, Unavailable> {
    facts.headers().map_err(|error| Unavailable { what: "request headers", why: Why::Host(error) })
}

/// Asks for a property, naming it in the error.
pub(crate) fn property(facts: &mut dyn Facts, what: &'static str) -> Result<Option<Vec<u8>>, Unavailable> {
    let (parent, name) = what.split_once('.').unwrap_or((what, ""));
    let path: &[&str] = if name.is_empty() { &[parent] } else { &[parent, name] };
    facts.property(path).map_err(|error| Unavailable { what, why: Why::Host(error) })
}

fn unreadable(what: &'static str, reason: &'static str) -> Unavailable {
    Unavailable { what, why: Why::Unreadable(reason) }
}

/// The attributes of one request.
pub struct Attributes<'f> {
    facts: &'f mut dyn Facts,
    surroundings: &'f mut Surroundings,
    /// Properties fetched so far, by [`Known`].
    properties: [Option<Option<Vec<u8>>>; 5],
    authority: Option<Option<Vec<u8>>>,
    peer: Option<Option<Rc<Peer>>>,
    metadata: Option<Option<Value>>,
    claims: Option<Option<Value>>,
}

/// Properties that are kept as the host gave them.
#[derive(Clone, Copy)]
enum Known {
    DirectAddress,
    RemoteAddress,
    LocalAddress,
    LocalPort,
    ServerName,
}

impl Known {
    fn name(self) -> &'static str {
        match self {
            Known::DirectAddress => DIRECT_ADDRESS,
            Known::RemoteAddress => "source.address",
            Known::LocalAddress => "destination.address",
            Known::LocalPort => "destination.port",
            Known::ServerName => "connection.requested_server_name",
        }
    }
}

impl<'f> Attributes<'f> {
    /// The attributes of the request that `facts` tells about.
    pub fn new(facts: &'f mut dyn Facts, surroundings: &'f mut Surroundings) -> Self {
        let properties = [const { None }; 5];
        Self { facts, surroundings, properties, authority: None, peer: None, metadata: None, claims: None }
    }

    /// All request headers.
    pub(crate) fn headers(&mut self) -> Result<&HeaderList, Unavailable> {
        headers(self.facts)
    }

    /// The authority in lower case, port included; `None` without one.
    pub(crate) fn authority(&mut self) -> Result<Option<&[u8]>, Unavailable> {
        if self.authority.is_none() {
            self.authority = Some(self.headers()?.get(":authority").map(<[u8]>::to_ascii_lowercase));
        }
        Ok(self.authority.as_ref().and_then(Option::as_deref))
    }

    /// The path, without query and fragment.
    pub(crate) fn path(&mut self) -> Result<&[u8], Unavailable> {
        Ok(split_target(self.headers()?.get(":path").unwrap_or_default()).0)
    }

    /// The peer's verified certificate; `None` on cleartext, and for a peer that showed none.
    pub(crate) fn peer(&mut self) -> Result<Option<&Peer>, Unavailable> {
        if self.peer.is_none() {
            self.peer = Some(read_peer(self.facts, &mut self.surroundings.peers)?);
        }
        Ok(self.peer.as_ref().and_then(Option::as_deref))
    }

    /// The address of the direct peer.
    pub(crate) fn direct_address(&mut self) -> Result<Option<IpAddr>, Unavailable> {
        address(self.property(Known::DirectAddress)?, Known::DirectAddress.name())
    }

    /// The client's address, as the host derived it.
    pub(crate) fn remote_address(&mut self) -> Result<Option<IpAddr>, Unavailable> {
        address(self.property(Known::RemoteAddress)?, Known::RemoteAddress.name())
    }

    /// The address that the connection was accepted on.
    pub(crate) fn local_address(&mut self) -> Result<Option<IpAddr>, Unavailable> {
        address(self.property(Known::LocalAddress)?, Known::LocalAddress.name())
    }

    /// The port that the connection was accepted on; `None` when it is no IP connection.
    pub(crate) fn local_port(&mut self) -> Result<Option<u16>, Unavailable> {
        let Some(value) = self.property(Known::LocalPort)? else {
            return Ok(None);
        };
        let number = <[u8; 8]>::try_from(value).map(u64::from_le_bytes).ok();
        let port = number.and_then(|number| u16::try_from(number).ok());
        port.map(Some).ok_or(unreadable(Known::LocalPort.name(), "it is not a port"))
    }

    /// The server name of the TLS client hello; `None` without one.
    pub(crate) fn server_name(&mut self) -> Result<Option<&[u8]>, Unavailable> {
        Ok(self.property(Known::ServerName)?.filter(|name| !name.is_empty()))
    }

    fn property(&mut self, known: Known) -> Result<Option<&[u8]>, Unavailable> {
        let Self { facts, surroundings, properties, .. } = self;
        let Some(slot) = properties.get_mut(known as usize) else {
            return Ok(None);
        };
        if slot.is_none() {
            *slot = Some(match known {
                Known::DirectAddress => surroundings.direct_address(*facts)?,
                _ => property(*facts, known.name())?,
            });
        }
        Ok(slot.as_ref().and_then(Option::as_deref))
    }

    /// The claims of the verified token; `None` without one. From the token filter of this suite if it ran, else from
    /// Envoy's.
    pub(crate) fn claims(&mut self) -> Result<Option<&Value>, Unavailable> {
        const WHAT: &str = "outrigger.jwt";
        if self.claims.is_none() {
            let payload =
                self.facts.property(&[WHAT]).map_err(|error| Unavailable { what: WHAT, why: Why::Host(error) })?;
            let claims = match payload {
                Some(payload) => Some(claims::from_json(&payload).map_err(|reason| unreadable(WHAT, reason))?),
                None => self.metadata()?.and_then(|all| all.at(&["envoy.filters.http.jwt_authn", "payload"])).cloned(),
            };
            self.claims = Some(claims);
        }
        Ok(self.claims.as_ref().and_then(Option::as_ref))
    }

    /// Issuer and subject of the verified token; `None` when it lacks one, or one is no text.
    pub(crate) fn request_principal(&mut self) -> Result<Option<(&str, &str)>, Unavailable> {
        let claims = self.claims()?;
        Ok(claims.and_then(|claims| Some((claims.at(&["iss"])?.text()?, claims.at(&["sub"])?.text()?))))
    }

    /// The stream's dynamic metadata, by filter; `None` when nothing set any.
    pub(crate) fn metadata(&mut self) -> Result<Option<&Value>, Unavailable> {
        const WHAT: &str = "metadata";
        if self.metadata.is_none() {
            self.metadata = Some(match property(self.facts, WHAT)? {
                Some(message) => Some(claims::from_metadata(&message).map_err(|reason| unreadable(WHAT, reason))?),
                None => None,
            });
        }
        Ok(self.metadata.as_ref().and_then(Option::as_ref))
    }
}

fn read_peer(facts: &mut dyn Facts, cache: &mut PeerCache) -> Result<Option<Rc<Peer>>, Unavailable> {
    const CERTIFICATE: &str = "connection.peer_certificate";
    // The digest first: it is short, and enough for every request but the first of a client.
    let Some(digest) =
        property(facts, "connection.sha256_peer_certificate_digest")?.filter(|digest| !digest.is_empty())
    else {
        return Ok(None);
    };
    if let Some(peer) = cache.get(&digest) {
        return Ok(Some(peer));
    }
    let pem = property(facts, CERTIFICATE)?.ok_or(unreadable(CERTIFICATE, "there is a digest but no certificate"))?;
    let peer = Peer::from_pem(&pem).map_err(|reason| unreadable(CERTIFICATE, reason))?;
    Ok(Some(cache.insert(&digest, peer)))
}

/// An address with or without a port: `10.0.0.1:80`, `[::1]:80`, `10.0.0.1`, `::1`. `None` for what is no IP address at
/// all: a Unix socket, or an address inside the proxy.
fn address(value: Option<&[u8]>, what: &'static str) -> Result<Option<IpAddr>, Unavailable> {
    let value = value.ok_or(unreadable(what, "there is no such property"))?;
    let text = std::str::from_utf8(value).map_err(|_| unreadable(what, "it is not an address"))?;
    if text.starts_with(['/', '@']) || text.starts_with("envoy://") {
        return Ok(None);
    }
    // The zone of a link-local address (`[fe80::1%eth0]:80`) is no part of it.
    let address = match text.split_once('%') {
        Some((address, _)) => parse_peer_address(address.trim_start_matches('[').as_bytes()),
        None => parse_peer_address(value),
    };
    address.map(Some).ok_or(unreadable(what, "it is not an address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<IpAddr>, Unavailable> {
        address(Some(text.as_bytes()), "x")
    }

    #[test]
    fn addresses_as_proxies_write_them() {
        for (text, ip) in [
            ("10.0.0.1:80", "10.0.0.1"),
            ("10.0.0.1", "10.0.0.1"),
            ("[::1]:80", "::1"),
            ("[fe80::1%eth0]:80", "fe80::1"),
            ("::1", "::1"),
            ("2001:db8::7", "2001:db8::7"),
        ] {
            assert_eq!(parse(text), Ok(Some(ip.parse().unwrap())), "{text}");
        }
        for text in ["/run/x.sock", "@abstract", "envoy://internal/a"] {
            assert_eq!(parse(text), Ok(None), "{text}");
        }
        for text in ["", "x", "1.2.3", "[::1", "10.0.0.300:1"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(address(None, "x").is_err());
    }
}
