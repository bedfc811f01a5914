//! What a Sidecar's fields say together.

use super::{CaptureMode, IngressListener, OutboundMode, Sidecar};
use crate::Metadata;
use crate::destination_rule::check_connection_pool;
use crate::gateway::{ServerTls, ServerTlsMode, check_server_tls};
use plugin_config::{At, Quoted};
use std::collections::HashSet;
use std::net::SocketAddr;

/// Records every fault.
pub(super) fn check(sidecar: &Sidecar, metadata: &Metadata, at: &mut At) {
    let _ = metadata;
    if *sidecar == Sidecar::default() {
        at.refuse("{}", "says nothing: expected ingress, egress, inboundConnectionPool or outboundTrafficPolicy");
    }
    at.field("ingress", |at| {
        let mut ports = HashSet::new();
        for (i, listener) in sidecar.ingress.iter().enumerate() {
            at.index(i, |at| {
                if !ports.insert((listener.bind.as_deref(), listener.port.number)) {
                    let refuse = |at: &mut At| at.refuse(listener.port.number, "another listener has this port");
                    at.field("port", |at| at.field("number", refuse));
                }
                check_ingress(listener, at);
            });
        }
    });
    at.field("egress", |at| check_egress(sidecar, at));
    if let Some(pool) = &sidecar.inbound_connection_pool {
        at.field("inboundConnectionPool", |at| check_connection_pool(pool, at));
    }
    if let Some(policy) = &sidecar.outbound_traffic_policy
        && let Some(proxy) = &policy.egress_proxy
    {
        at.field("outboundTrafficPolicy", |at| {
            let allowed = policy.mode == OutboundMode::AllowAny || at.is_unread("mode");
            at.field("egressProxy", |at| {
                if !allowed {
                    at.refuse("", "only with mode: ALLOW_ANY");
                }
                if !proxy.host.as_str().contains('.') || proxy.host.is_wildcard() {
                    at.field("host", |at| at.refuse(Quoted(proxy.host.as_str()), "expected a hostname in full"));
                }
                if proxy.port.is_none() {
                    at.field("port", |at| at.refuse("nothing", "required field is missing"));
                }
            });
        });
    }
}

fn check_ingress(listener: &IngressListener, at: &mut At) {
    if listener.port.number == 0 {
        at.field("port", |at| at.field("number", |at| at.refuse(0, "expected 1 to 65535")));
    }
    if let Some(bind) = listener.bind.as_deref()
        && bind.parse::<std::net::IpAddr>().is_err()
    {
        at.field("bind", |at| at.refuse(Quoted(bind), "expected an IP address"));
    }
    if let Some(endpoint) = listener.default_endpoint.as_deref()
        && !is_endpoint(endpoint)
    {
        let reason = "expected 127.0.0.1:port, 0.0.0.0:port, [::1]:port, [::]:port or unix:///path";
        at.field("defaultEndpoint", |at| at.refuse(Quoted(endpoint), reason));
    }
    if let Some(tls) = &listener.tls {
        at.field("tls", |at| check_ingress_tls(tls, at));
    }
    if let Some(pool) = &listener.connection_pool {
        at.field("connectionPool", |at| check_connection_pool(pool, at));
    }
}

fn is_endpoint(text: &str) -> bool {
    if let Some(path) = text.strip_prefix("unix://") {
        return path.starts_with(['/', '@']) && path.len() > 1;
    }
    let local = |address: SocketAddr| address.ip().is_loopback() || address.ip().is_unspecified();
    text.parse().is_ok_and(|address: SocketAddr| local(address) && address.port() != 0)
}

fn check_ingress_tls(tls: &ServerTls, at: &mut At) {
    if !matches!(tls.mode, ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual) {
        at.field("mode", |at| at.refuse(Quoted(tls.mode.as_str()), "expected SIMPLE, MUTUAL or OPTIONAL_MUTUAL"));
        return;
    }
    if tls.https_redirect {
        at.field("httpsRedirect", |at| at.refuse(true, "a sidecar cannot redirect: leave this out"));
    }
    if let Some(name) = tls.credential_name.as_deref() {
        at.field("credentialName", |at| at.refuse(Quoted(name), "a sidecar reads its certificates from files"));
        return;
    }
    check_server_tls(tls, at);
}

fn check_egress(sidecar: &Sidecar, at: &mut At) {
    let mut ports = HashSet::new();
    let last = sidecar.egress.len().saturating_sub(1);
    for (i, listener) in sidecar.egress.iter().enumerate() {
        at.index(i, |at| {
            if listener.hosts.is_empty() {
                at.field("hosts", |at| at.refuse("[]", "expected one host at least"));
            }
            let Some(port) = &listener.port else {
                if i < last {
                    at.refuse("", "a listener without port takes every other port: it must be the last");
                }
                return;
            };
            let socket = listener.bind.as_deref().and_then(|bind| bind.strip_prefix("unix://"));
            if socket.is_none() && port.number == 0 {
                at.field("port", |at| at.field("number", |at| at.refuse(0, "expected 1 to 65535")));
            }
            if socket.is_some() && listener.capture_mode == CaptureMode::Iptables {
                let refuse = |at: &mut At| at.refuse("\"IPTABLES\"", "no connection is redirected to a Unix socket");
                at.field("captureMode", refuse);
            }
            if !ports.insert((listener.bind.as_deref(), port.number)) {
                let refuse = |at: &mut At| at.refuse(port.number, "another listener has this port");
                at.field("port", |at| at.field("number", refuse));
            }
        });
    }
}
