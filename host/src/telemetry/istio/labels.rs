//! Who reports, about whom: the labels of Istio's metrics. What cannot be known is `unknown`.

use crate::telemetry::ResponseFlags;
use crate::wasm::ConnectionProperties;
use compiler::snapshot::Direction;
use std::sync::Arc;

const UNKNOWN: &str = "unknown";

/// The workload that the proxy belongs to, as Istio's labels name it. Empty fields are unknown.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LocalWorkload {
    /// Its name: `reviews-v1`.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its label `app`.
    pub app: String,
    /// Its label `version`.
    pub version: String,
    /// Its canonical service.
    pub canonical_service: String,
    /// And the revision of that.
    pub canonical_revision: String,
    /// The Kubernetes cluster it is in.
    pub cluster: String,
}

/// On whose side of the traffic numbers are taken.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// Of the listener: inbound traffic is reported by its destination, any other by its source.
    pub direction: Direction,
    /// The workload beside the proxy.
    pub workload: Arc<LocalWorkload>,
    /// The hostname of the service that inbound traffic is for, where the listener knows it.
    pub service: Option<String>,
}

/// What makes a series: everything that varies at one reporter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'k> {
    pub(super) cluster: &'k str,
    /// The identity that the client has proved, at the destination.
    pub(super) peer: &'k str,
    pub(super) rest: Rest,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Rest {
    pub(super) mutual_tls: bool,
    pub(super) protocol: Protocol,
    /// 0: none was sent.
    pub(super) status: u16,
    pub(super) flags: ResponseFlags,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Protocol {
    Http,
    /// With the status of the call, where there is one.
    Grpc(Option<u16>),
    Tcp,
}

impl<'k> Key<'k> {
    pub(super) fn new(
        reporter: &Reporter,
        connection: &'k ConnectionProperties,
        cluster: &'k str,
        (protocol, status, flags): (Protocol, u16, ResponseFlags),
    ) -> Self {
        // Whoever reports as the source knows its client by what it is, not by what it proves.
        let peer = connection.peer.as_ref().filter(|_| reporter.is_destination());
        let name = peer.and_then(|peer| peer.uri_sans.first()).map_or("", String::as_str);
        Self { cluster, peer: name, rest: Rest { mutual_tls: peer.is_some(), protocol, status, flags } }
    }
}

impl Reporter {
    pub(super) fn is_destination(&self) -> bool {
        self.direction == Direction::Inbound
    }

    /// The labels of a series.
    pub(super) fn labels(&self, key: &Key<'_>) -> Labels {
        let mut labels = Labels(Vec::with_capacity(28));
        self.source(key, &mut labels);
        self.destination(key, &mut labels);
        self.exchange(key, &mut labels);
        labels
    }

    fn source(&self, key: &Key<'_>, labels: &mut Labels) {
        labels.add("reporter", if self.is_destination() { "destination" } else { "source" });
        labels.add("source_principal", key.peer);
        match self.is_destination() {
            false => labels.workload("source", &self.workload),
            true => {
                // All that a certificate says of a workload beside its service account.
                let namespace = namespace(key.peer).unwrap_or_default().to_owned();
                labels.workload("source", &LocalWorkload { namespace, ..LocalWorkload::default() });
            }
        }
    }

    fn destination(&self, key: &Key<'_>, labels: &mut Labels) {
        labels.add("destination_principal", "");
        match self.is_destination() {
            true => labels.workload("destination", &self.workload),
            false => labels.workload("destination", &LocalWorkload::default()),
        }
        let own = self.service.as_deref().filter(|_| self.is_destination());
        let host = own.or_else(|| key.cluster.split('|').nth(3)).unwrap_or_default();
        let (name, namespace) = service_name(host);
        labels.add("destination_service", host);
        // Such as `PassthroughCluster`.
        labels.add(
            "destination_service_name",
            if key.cluster.contains('|') || own.is_some() { name } else { key.cluster },
        );
        labels.add("destination_service_namespace", namespace);
    }

    fn exchange(&self, key: &Key<'_>, labels: &mut Labels) {
        let Rest { mutual_tls, protocol, status, flags } = key.rest;
        let (protocol, grpc_status) = match protocol {
            Protocol::Http => ("http", None),
            Protocol::Grpc(status) => ("grpc", status),
            Protocol::Tcp => ("tcp", None),
        };
        labels.add("request_protocol", protocol);
        labels.0.push(("grpc_response_status", grpc_status.map(|status| status.to_string()).unwrap_or_default()));
        labels.add("response_code", &status.to_string());
        labels.add("response_flags", &flags.to_string());
        let policy = match (self.is_destination(), mutual_tls) {
            (false, _) => UNKNOWN,
            (true, true) => "mutual_tls",
            (true, false) => "none",
        };
        labels.add("connection_security_policy", policy);
    }
}

/// Label names and values.
pub(super) struct Labels(Vec<(&'static str, String)>);

impl Labels {
    fn add(&mut self, name: &'static str, value: &str) {
        self.0.push((name, if value.is_empty() { UNKNOWN } else { value }.to_owned()));
    }

    fn workload(&mut self, side: &'static str, workload: &LocalWorkload) {
        let LocalWorkload { name, namespace, app, version, canonical_service, canonical_revision, cluster } = workload;
        let values = [name, namespace, app, version, canonical_service, canonical_revision, cluster];
        let names = if side == "source" { &SOURCE } else { &DESTINATION };
        names.iter().zip(values).for_each(|(name, value)| self.add(name, value));
    }

    /// As definitions take them.
    pub(super) fn pairs(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }
}

const SOURCE: [&str; 7] = [
    "source_workload",
    "source_workload_namespace",
    "source_app",
    "source_version",
    "source_canonical_service",
    "source_canonical_revision",
    "source_cluster",
];

const DESTINATION: [&str; 7] = [
    "destination_workload",
    "destination_workload_namespace",
    "destination_app",
    "destination_version",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_cluster",
];

/// The namespace in `spiffe://cluster.local/ns/shop/sa/web`.
fn namespace(principal: &str) -> Option<&str> {
    let mut segments = principal.strip_prefix("spiffe://")?.split('/').skip(1);
    segments.next().filter(|segment| *segment == "ns")?;
    segments.next()
}

/// Name and namespace of a service: of `reviews.shop.svc.cluster.local` its first two parts; any other hostname is its
/// own name.
fn service_name(host: &str) -> (&str, &str) {
    let mut parts = host.splitn(4, '.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(namespace), Some("svc")) => (name, namespace),
        _ => (host, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_by_hostname() {
        let rows = [
            ("reviews.shop.svc.cluster.local", ("reviews", "shop")),
            ("reviews.shop.svc", ("reviews", "shop")),
            ("api.example.com", ("api.example.com", "")),
            ("svc", ("svc", "")),
            ("", ("", "")),
        ];
        for (host, wanted) in rows {
            assert_eq!(service_name(host), wanted, "{host}");
        }
    }

    #[test]
    fn namespaces_by_principal() {
        let rows = [
            ("spiffe://cluster.local/ns/shop/sa/web", Some("shop")),
            ("spiffe://td/web", None),
            ("spiffe://td", None),
            ("https://td/ns/shop", None),
            ("", None),
        ];
        for (principal, wanted) in rows {
            assert_eq!(namespace(principal), wanted, "{principal}");
        }
    }
}
