//! A client's request before any filter sees it: what it may not say is taken out, authority and path get their one
//! spelling, and the proxy adds what it knows.

use crate::downstream::HttpManager;
use crate::http::authority::{normalize_authority, scheme_port};
use crate::http::hygiene::strip_client_headers;
use crate::http::path::{PathOutcome, normalize_path};
use crate::http::refused::Refused;
use crate::http::repeated::join_request;
use crate::wasm::{CertificateProperties, ConnectionProperties};
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
    if let Some(peer) = &connection.peer {
        put(headers, b"x-forwarded-client-cert", &client_certificate(peer, connection.local.as_deref()));
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

/// Who the client is, for the application: `By`, `Hash`, `Subject`, `URI` and `DNS` in Envoy's form (`SANITIZE_SET`:
/// what the client said has been taken out). Names are printable ASCII; a subject is quoted.
fn client_certificate(peer: &CertificateProperties, local: Option<&CertificateProperties>) -> SmallVec<[u8; 512]> {
    let mut text = SmallVec::<[u8; 512]>::new();
    let mut part = |name: &[u8], value: &[u8]| {
        if !text.is_empty() {
            text.push(b';');
        }
        text.extend_from_slice(name);
        text.push(b'=');
        let is_subject = name == b"Subject";
        // What ends a part must not be taken for its end.
        if !is_subject && !value.iter().any(|byte| matches!(byte, b',' | b';' | b'=' | b'"' | b'\\')) {
            return text.extend_from_slice(value);
        }
        text.push(b'"');
        for byte in value {
            // A subject is escaped already (RFC 2253).
            if !is_subject && matches!(byte, b'"' | b'\\') {
                text.push(b'\\');
            }
            text.push(*byte);
        }
        text.push(b'"');
    };
    local.into_iter().flat_map(|local| &local.uri_sans).for_each(|uri| part(b"By", uri.as_bytes()));
    part(b"Hash", peer.sha256.as_bytes());
    part(b"Subject", peer.subject.as_bytes());
    peer.uri_sans.iter().for_each(|uri| part(b"URI", uri.as_bytes()));
    peer.dns_sans.iter().for_each(|name| part(b"DNS", name.as_bytes()));
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(uris: &[&str], subject: &str) -> CertificateProperties {
        CertificateProperties {
            uri_sans: uris.iter().map(|uri| (*uri).to_owned()).collect(),
            dns_sans: vec!["a.example".to_owned()],
            subject: subject.to_owned(),
            sha256: "0a".to_owned(),
            pem: String::new(),
        }
    }

    #[test]
    fn client_certificates() {
        let text = |uris: &[&str], subject| {
            let local = certificate(&["spiffe://td/ns/a/sa/server"], "");
            String::from_utf8(client_certificate(&certificate(uris, subject), Some(&local)).to_vec()).unwrap()
        };
        assert_eq!(
            text(&["spiffe://td/ns/a/sa/b", "https://x"], ""),
            r#"By=spiffe://td/ns/a/sa/server;Hash=0a;Subject="";URI=spiffe://td/ns/a/sa/b;URI=https://x;DNS=a.example"#
        );
        // Nobody gets another part, or another certificate, into the list by a name.
        assert_eq!(
            text(&[r#"https://x/a;URI=spiffe://td/"\"#], r#"CN=a\"\,b"#),
            concat!(
                r#"By=spiffe://td/ns/a/sa/server;Hash=0a;Subject="CN=a\"\,b";"#,
                r#"URI="https://x/a;URI=spiffe://td/\"\\";DNS=a.example"#
            )
        );
    }
}
