//! What a DestinationRule's fields say together.

use super::validate_load_balancer::{check_load_balancer, warn_load_balancer};
use super::{
    ClientTls, ConnectionPool, DestinationRule, H2UpgradePolicy, HttpPool, LoadBalancer, OutlierDetection, TlsMode,
    TrafficPolicy, Tunnel,
};
use crate::scalar::Host;
use crate::{ExportTo, Metadata};
use plugin_config::{At, Quoted};
use std::collections::HashSet;

/// Records every fault.
pub(super) fn check(rule: &DestinationRule, metadata: &Metadata, at: &mut At) {
    if rule.host.is_ip() {
        at.field("host", |at| at.refuse(Quoted(rule.host.as_str()), "expected a hostname, or one with a wildcard"));
    }
    rule.export_to.check(metadata, false, at);
    let own = match &rule.export_to {
        ExportTo::Unset => true,
        ExportTo::Namespaces { own, named } => {
            named.iter().all(|name| name.as_str() == metadata.namespace()) && (*own || !named.is_empty())
        }
        ExportTo::All | ExportTo::None => false,
    };
    if rule.workload_selector.is_some() && !own {
        let reason = "a rule with a workloadSelector is for its own namespace alone: write \".\", or leave this out";
        at.field("exportTo", |at| at.refuse("", reason));
    }
    if let Some(policy) = &rule.traffic_policy {
        at.field("trafficPolicy", |at| check_policy(policy, at));
    }
    at.field("subsets", |at| {
        let mut names = HashSet::new();
        for (i, subset) in rule.subsets.iter().enumerate() {
            at.index(i, |at| {
                if !names.insert(&subset.name) {
                    let refuse = |at: &mut At| at.refuse(Quoted(subset.name.as_str()), "another subset has this name");
                    at.field("name", refuse);
                }
                if let Some(policy) = &subset.traffic_policy {
                    at.field("trafficPolicy", |at| check_policy(policy, at));
                }
            });
        }
    });
}

/// The blocks that a policy and its port levels have.
struct Blocks<'p> {
    load_balancer: Option<&'p LoadBalancer>,
    connection_pool: Option<&'p ConnectionPool>,
    outlier_detection: Option<&'p OutlierDetection>,
    tls: Option<&'p ClientTls>,
}

impl Blocks<'_> {
    fn are_absent(&self) -> bool {
        self.load_balancer.is_none()
            && self.connection_pool.is_none()
            && self.outlier_detection.is_none()
            && self.tls.is_none()
    }

    fn check(&self, at: &mut At) {
        optional("loadBalancer", self.load_balancer, at, check_load_balancer);
        optional("connectionPool", self.connection_pool, at, check_connection_pool);
        optional("outlierDetection", self.outlier_detection, at, check_outlier_detection);
        optional("tls", self.tls, at, check_tls);
    }
}

fn optional<T>(field: &'static str, value: Option<&T>, at: &mut At, check: impl FnOnce(&T, &mut At)) {
    if let Some(value) = value {
        at.field(field, |at| check(value, at));
    }
}

fn check_policy(policy: &TrafficPolicy, at: &mut At) {
    if *policy == TrafficPolicy::default() {
        at.refuse("{}", "says nothing: expected one block at least");
    }
    Blocks {
        load_balancer: policy.load_balancer.as_ref(),
        connection_pool: policy.connection_pool.as_ref(),
        outlier_detection: policy.outlier_detection.as_ref(),
        tls: policy.tls.as_ref(),
    }
    .check(at);
    at.field("portLevelSettings", |at| check_ports(policy, at));
    optional("tunnel", policy.tunnel.as_ref(), at, |tunnel, at| check_tunnel(tunnel, policy, at));
    optional("retryBudget", policy.retry_budget.as_ref(), at, |budget, at| {
        if let Some(percent) = budget.percent.filter(|percent| percent.get() > 100.0) {
            at.field("percent", |at| at.refuse(percent, "expected a number from 0 to 100"));
        }
    });
}

fn check_ports(policy: &TrafficPolicy, at: &mut At) {
    let mut ports = HashSet::new();
    for (i, level) in policy.port_level_settings.iter().enumerate() {
        let blocks = Blocks {
            load_balancer: level.load_balancer.as_ref(),
            connection_pool: level.connection_pool.as_ref(),
            outlier_detection: level.outlier_detection.as_ref(),
            tls: level.tls.as_ref(),
        };
        at.index(i, |at| {
            match &level.port {
                None => at.field("port", |at| at.refuse("nothing", "required field is missing")),
                Some(port) if !ports.insert(port.number) => at.field("port", |at| {
                    at.field("number", |at| at.refuse(port.number, "another entry has this port"));
                }),
                Some(_) => {}
            }
            if blocks.are_absent() {
                at.refuse("", "says nothing: expected one block at least");
            }
            blocks.check(at);
        });
    }
}

fn check_tunnel(tunnel: &Tunnel, policy: &TrafficPolicy, at: &mut At) {
    if policy.proxy_protocol.is_some() {
        at.refuse("", "not together with proxyProtocol");
    }
    let host = Host::new(&tunnel.target_host).filter(|host| !host.is_wildcard());
    if host.is_none() {
        at.field("targetHost", |at| at.refuse(Quoted(&tunnel.target_host), "expected a hostname or an IP address"));
    }
}

/// Most requests that Istio takes for one connection.
const MOST_REQUESTS: u32 = 1 << 29;

pub(crate) fn check_connection_pool(pool: &ConnectionPool, at: &mut At) {
    if pool.tcp.is_none() && pool.http.is_none() {
        at.refuse("{}", "says nothing: expected tcp, http, or both");
    }
    optional("http", pool.http.as_ref(), at, check_http_pool);
}

fn check_http_pool(pool: &HttpPool, at: &mut At) {
    if pool.use_client_protocol == Some(true) && pool.h2_upgrade_policy == H2UpgradePolicy::Upgrade {
        at.field("useClientProtocol", |at| at.refuse(true, "not together with h2UpgradePolicy: UPGRADE"));
    }
    if let Some(most) = pool.max_requests_per_connection.filter(|most| most.get() > MOST_REQUESTS) {
        at.field("maxRequestsPerConnection", |at| at.refuse(most, format!("expected at most {MOST_REQUESTS}")));
    }
}

fn check_outlier_detection(detection: &OutlierDetection, at: &mut At) {
    const SPLIT: &str = "splitExternalLocalOriginErrors";
    let split = detection.split_external_local_origin_errors == Some(true) || at.is_unread(SPLIT);
    if let Some(failures) = detection.consecutive_local_origin_failures.filter(|count| *count > 0 && !split) {
        let reason = "counts only with splitExternalLocalOriginErrors: true";
        at.field("consecutiveLocalOriginFailures", |at| at.refuse(failures, reason));
    }
}

fn check_tls(tls: &ClientTls, at: &mut At) {
    let files = [
        ("clientCertificate", &tls.client_certificate),
        ("privateKey", &tls.private_key),
        ("caCertificates", &tls.ca_certificates),
        ("caCrl", &tls.ca_crl),
    ];
    if tls.credential_name.is_some() {
        for (field, file) in files {
            if let Some(file) = file.as_deref() {
                at.field(field, |at| at.refuse(Quoted(file), "not together with credentialName"));
            }
        }
    } else if tls.mode == TlsMode::Mutual {
        for (field, file) in files.iter().take(2) {
            if file.is_none() {
                at.field(field, |at| at.refuse("nothing", "mode: MUTUAL needs it, or credentialName"));
            }
        }
    }
    if tls.insecure_skip_verify == Some(true) {
        if let Some(file) = tls.ca_certificates.as_deref() {
            at.field("caCertificates", |at| at.refuse(Quoted(file), "not together with insecureSkipVerify"));
        }
        if !tls.subject_alt_names.is_empty() {
            at.field("subjectAltNames", |at| at.refuse("", "not together with insecureSkipVerify"));
        }
    }
}

/// Records what is taken, but hardly what was meant.
pub(super) fn warn(rule: &DestinationRule, at: &mut At) {
    optional("trafficPolicy", rule.traffic_policy.as_ref(), at, warn_policy);
    at.field("subsets", |at| {
        for (i, subset) in rule.subsets.iter().enumerate() {
            at.index(i, |at| optional("trafficPolicy", subset.traffic_policy.as_ref(), at, warn_policy));
        }
    });
}

fn warn_policy(policy: &TrafficPolicy, at: &mut At) {
    let warn = |detection: Option<&OutlierDetection>, balancer: Option<&LoadBalancer>, tls, at: &mut At| {
        optional("outlierDetection", detection, at, warn_outlier_detection);
        optional("loadBalancer", balancer, at, warn_load_balancer);
        optional("tls", tls, at, warn_tls);
    };
    warn(policy.outlier_detection.as_ref(), policy.load_balancer.as_ref(), policy.tls.as_ref(), at);
    at.field("portLevelSettings", |at| {
        for (i, level) in policy.port_level_settings.iter().enumerate() {
            at.index(i, |at| {
                warn(level.outlier_detection.as_ref(), level.load_balancer.as_ref(), level.tls.as_ref(), at);
            });
        }
    });
}

fn warn_outlier_detection(detection: &OutlierDetection, at: &mut At) {
    if let Some(errors) = detection.consecutive_errors {
        let reason = "deprecated, and of no account: write consecutive5xxErrors or consecutiveGatewayErrors";
        at.field("consecutiveErrors", |at| at.refuse(errors, reason));
    }
}

fn warn_tls(tls: &ClientTls, at: &mut At) {
    if tls.mode != TlsMode::IstioMutual {
        return;
    }
    let own = [
        ("clientCertificate", &tls.client_certificate),
        ("privateKey", &tls.private_key),
        ("caCertificates", &tls.ca_certificates),
        ("credentialName", &tls.credential_name),
    ];
    for (field, value) in own {
        if let Some(value) = value.as_deref() {
            at.field(field, |at| at.refuse(Quoted(value), "of no account with mode: ISTIO_MUTUAL"));
        }
    }
}
