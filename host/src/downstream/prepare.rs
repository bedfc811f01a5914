//! A client's request before any filter sees it: what it may not say is taken out, authority and path get their one
//! spelling, and the proxy adds what it knows.

use crate::downstream::HttpManager;
use crate::http::authority::{normalize_authority, scheme_port};
use crate::http::hygiene::strip_client_headers;
use crate::http::path::{PathOutcome, normalize_path};
use crate::http::refused::Refused;
use crate::http::repeated::join_request;
use crate::wasm::ConnectionProperties;
use crate::worker::Worker;
use compiler::snapshot::Direction;
use http_match::HeaderList;
use smallvec::SmallVec;
use std::net::IpAddr;
use std::rc::Rc;
use uuid::Builder;

/// A request that has been made ready, beside its headers.
pub(crate) struct Prepared {
    /// Its connection, with the client that trusted proxies name.
    pub(crate) connection: Rc<ConnectionProperties>,
    /// The authority as the client spelt it, where it is spelt otherwise now.
    pub(crate) authority_as_sent: Option<Vec<u8>>,
}

/// Makes a request's headers what filters may trust.
///
/// # Errors
/// What makes the request one that must not be passed on.
pub(crate) fn prepare(
    headers: &mut HeaderList,
    worker: &Worker,
    manager: &HttpManager,
    connection: &Rc<ConnectionProperties>,
) -> Result<Prepared, Refused> {
    strip_client_headers(headers)?;
    join_request(headers);
    let secure = connection.tls_version.is_some();
    let authority_as_sent = spell_authority(headers, scheme_port(secure))?;
    if let Some(path) = headers.get(":path")
        && let PathOutcome::Changed(path) = normalize_path(path, manager.path_normalization)?
        && let Some(index) = headers.position(b":path")
    {
        headers.replace_at(index, &path);
    }
    let connection = forwarded(headers, manager, connection, secure);
    if headers.get("x-request-id").is_none() {
        let random = u128::from(worker.draw()) << 64 | u128::from(worker.draw());
        let mut text = [0; 36];
        let id = Builder::from_u128(random).with_variant(uuid::Variant::RFC4122).with_version(uuid::Version::Random);
        let id = id.into_uuid();
        headers.append(b"x-request-id", id.hyphenated().encode_lower(&mut text).as_bytes());
    }
    Ok(Prepared { connection, authority_as_sent })
}

/// Whether there is room for one more request.
///
/// # Errors
/// There is none: the process is short of memory.
pub(crate) fn room(worker: &Worker) -> Result<(), Refused> {
    if worker.overload.sheds_requests() {
        worker.overload.shed();
        return Err(Refused::OVERLOADED);
    }
    Ok(())
}

/// Gives the authority its one spelling, and what was there if that is another.
fn spell_authority(headers: &mut HeaderList, default_port: u16) -> Result<Option<Vec<u8>>, Refused> {
    let Some(index) = headers.position(b":authority") else {
        return Err(Refused::MISSING_HOST);
    };
    let raw = headers.at(index).map(|(_, value)| value).unwrap_or_default();
    let normal = normalize_authority(raw, default_port)?;
    if normal == raw {
        return Ok(None);
    }
    let (normal, raw) = (normal.into_owned(), raw.to_vec());
    headers.replace_at(index, &normal);
    Ok(Some(raw))
}

/// `x-forwarded-for` and `-proto`, and who the client is, as Envoy with `use_remote_address` and
/// `xff_num_trusted_hops`. At an edge the socket is believed, and as many proxies in front as are trusted; beside a
/// workload the headers are those of the sidecar or gateway before it.
fn forwarded(
    headers: &mut HeaderList,
    manager: &HttpManager,
    connection: &Rc<ConnectionProperties>,
    secure: bool,
) -> Rc<ConnectionProperties> {
    let edge = manager.config.use_remote_address.unwrap_or(manager.direction == Direction::Unspecified);
    let hops = manager.config.trusted_hops;
    let client = match (edge, hops) {
        (true, 0) => None,
        (true, hops) => forwarded_client(headers, hops - 1),
        (false, hops) => forwarded_client(headers, hops),
    };
    let scheme: &[u8] = if secure { b"https" } else { b"http" };
    let trusted = !edge || hops > 0;
    let named: Option<&[u8]> = match headers.get("x-forwarded-proto") {
        Some(b"http") if trusted => Some(b"http"),
        Some(b"https") if trusted => Some(b"https"),
        _ => None,
    };
    match (named, headers.position(b":scheme")) {
        // That of the client, whatever is spoken between proxies.
        (Some(named), Some(place)) => headers.replace_at(place, named),
        (Some(_), None) => {}
        (None, _) => put(headers, b"x-forwarded-proto", scheme),
    }
    if edge {
        let mut list = SmallVec::<[u8; 128]>::new();
        for value in headers.values("x-forwarded-for").filter(|value| !value.is_empty()) {
            list.extend_from_slice(value);
            list.push(b',');
        }
        append_address(&mut list, connection.direct_peer.ip());
        put(headers, b"x-forwarded-for", &list);
    }
    match client {
        Some(ip) if ip != connection.source.ip() => {
            let mut connection = ConnectionProperties::clone(connection);
            connection.source = (ip, 0).into();
            Rc::new(connection)
        }
        _ => connection.clone(),
    }
}

/// Makes a header say something; repeats have been joined.
fn put(headers: &mut HeaderList, name: &[u8], value: &[u8]) {
    match headers.position(name) {
        Some(place) => headers.replace_at(place, value),
        None => headers.append(name, value),
    }
}

/// Appends an address as text. IPv4 not by way of `fmt`, which takes a thousand instructions for it.
fn append_address(text: &mut SmallVec<[u8; 128]>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    text.push(b'.');
                }
                text.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        IpAddr::V6(address) => text.extend_from_slice(address.to_string().as_bytes()),
    }
}

/// The address that many places from the end of `x-forwarded-for`.
fn forwarded_client(headers: &HeaderList, from_end: usize) -> Option<IpAddr> {
    headers.get("x-forwarded-for")?;
    let list = headers.values("x-forwarded-for").collect::<Vec<_>>().join(&b","[..]);
    let named = list.rsplit(|byte| *byte == b',').nth(from_end)?;
    str::from_utf8(named.trim_ascii()).ok()?.parse().ok()
}
