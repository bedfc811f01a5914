//! Where a request goes for which no endpoint is listed: to the address that it was made to.

use crate::app::Lookup;
use crate::proxy_error::ProxyError;
use crate::wasm::StreamState;
use http_match::port_of;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

/// The address, now or later.
pub(crate) type Finding = Pin<Box<dyn Future<Output = Result<SocketAddr, ProxyError>>>>;

/// The address of a request: where its connection was redirected from; of one that was made to this proxy, what its
/// authority names, looked up.
pub(crate) fn find(state: &StreamState, lookup: &Lookup) -> Finding {
    let connection = &state.connection;
    if connection.redirected {
        return Box::pin(std::future::ready(Ok(connection.destination)));
    }
    let (wanted, lookup) = (named(state), lookup.clone());
    let own = (connection.destination, connection.direct_peer.ip());
    Box::pin(async move {
        let (host, port) = wanted.ok_or(ProxyError::NoRoute)?;
        let address = match host.parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, port),
            Err(_) => {
                let found = tokio::task::spawn_blocking(move || lookup(&host)).await;
                let found = found.ok().and_then(Result::ok).unwrap_or_default();
                SocketAddr::new(*found.first().ok_or(ProxyError::NameUnknown)?, port)
            }
        };
        // Forwarded to this very listener, a request would come back for ever.
        if leads_back(address, own) { Err(ProxyError::NoRoute) } else { Ok(address) }
    })
}

/// Host and port of the authority; without a port that of the scheme.
fn named(state: &StreamState) -> Option<(String, u16)> {
    let authority = state.request.get(":authority")?;
    let text = str::from_utf8(authority).ok()?;
    let port = port_of(authority);
    let host = if port.is_some() { text.rsplit_once(':')?.0 } else { text };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let secure = state.request.get(":scheme") == Some(b"https");
    (!host.is_empty()).then(|| (host.to_owned(), port.unwrap_or(if secure { 443 } else { 80 })))
}

/// Whether an address is the one that the connection was made to, or stands for it.
fn leads_back(address: SocketAddr, (own, peer): (SocketAddr, IpAddr)) -> bool {
    let (ip, listener) = (address.ip().to_canonical(), own.ip().to_canonical());
    let same = ip == listener || ip.is_unspecified() || (ip.is_loopback() && listener.is_loopback());
    address.port() == own.port() && (same || ip == peer.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_does_not_come_back() {
        let own = ("10.0.0.1:15001".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let local = ("127.0.0.1:15001".parse().unwrap(), "127.0.0.1".parse().unwrap());
        for (address, own, leads) in [
            ("10.0.0.1:15001", own, true),
            ("10.0.0.1:80", own, false),
            ("10.0.0.3:15001", own, false),
            ("0.0.0.0:15001", own, true),
            ("127.0.0.2:15001", local, true),
            ("[::ffff:127.0.0.1]:15001", local, true),
        ] {
            assert_eq!(leads_back(address.parse().unwrap(), own), leads, "{address}");
        }
    }
}
