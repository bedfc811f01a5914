//! What the fields of a load balancer say together.

use super::{ConsistentHash, Distribute, Failover, LoadBalancer, LocalityLbSetting, SimpleLb, Warmup};
use plugin_config::{At, Quoted};

pub(super) fn check_load_balancer(balancer: &LoadBalancer, at: &mut At) {
    if balancer.simple.is_some() && balancer.consistent_hash.is_some() {
        at.field("consistentHash", |at| at.refuse("", "not together with simple"));
    }
    optional("consistentHash", balancer.consistent_hash.as_ref(), at, check_consistent_hash);
    optional("localityLbSetting", balancer.locality_lb_setting.as_ref(), at, check_locality);
    optional("zoneAwareLbSetting", balancer.zone_aware_lb_setting.as_ref(), at, |setting, at| {
        if balancer.locality_lb_setting.is_some() {
            at.refuse("", "not together with localityLbSetting");
        }
        if setting.min_cluster_size == Some(0) {
            at.field("minClusterSize", |at| at.refuse(0, "expected 1 at least"));
        }
        check_failovers(&setting.failover, &setting.failover_priority, at);
    });
    optional("warmup", balancer.warmup.as_ref(), at, |warmup, at| check_warmup(warmup, balancer, at));
}

fn optional<T>(field: &'static str, value: Option<&T>, at: &mut At, check: impl FnOnce(&T, &mut At)) {
    if let Some(value) = value {
        at.field(field, |at| check(value, at));
    }
}

/// Maglev's tables are below it (Envoy's limit).
const LARGEST_TABLE: u64 = 5_000_011;

fn check_consistent_hash(hash: &ConsistentHash, at: &mut At) {
    let keys = [
        hash.http_header_name.is_some(),
        hash.http_cookie.is_some(),
        hash.use_source_ip == Some(true),
        hash.http_query_parameter_name.is_some(),
    ];
    if keys.into_iter().filter(|given| *given).count() != 1 {
        let reason = "expected exactly one of httpHeaderName, httpCookie, useSourceIp: true and httpQueryParameterName";
        at.refuse("", reason);
    }
    if hash.ring_hash.is_some() && hash.maglev.is_some() {
        at.field("maglev", |at| at.refuse("", "not together with ringHash"));
    }
    if let Some(size) = hash.minimum_ring_size
        && (hash.ring_hash.is_some() || hash.maglev.is_some())
    {
        at.field("minimumRingSize", |at| at.refuse(size, "not together with ringHash or maglev"));
    }
    optional("maglev", hash.maglev.as_ref(), at, |maglev, at| {
        at.field("tableSize", |at| match maglev.table_size {
            None => at.refuse("nothing", "required field is missing"),
            Some(size) if size >= LARGEST_TABLE || !is_prime(size) => {
                at.refuse(size, format!("expected a prime number below {LARGEST_TABLE}"));
            }
            Some(_) => {}
        });
    });
    optional("httpCookie", hash.http_cookie.as_ref(), at, |cookie, at| {
        if cookie.name.is_empty() {
            at.field("name", |at| at.refuse("\"\"", "must not be empty"));
        }
    });
}

fn is_prime(number: u64) -> bool {
    number >= 2
        && (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}

fn check_warmup(warmup: &Warmup, balancer: &LoadBalancer, at: &mut At) {
    if let Some(percent) = warmup.minimum_percent.filter(|percent| percent.get() > 100.0) {
        at.field("minimumPercent", |at| at.refuse(percent, "expected a number from 0 to 100"));
    }
    if let Some(aggression) = warmup.aggression.filter(|aggression| aggression.get() == 0.0) {
        at.field("aggression", |at| at.refuse(aggression, "expected more than 0"));
    }
    if balancer.warmup_duration_secs.is_some() {
        at.refuse("", "not together with warmupDurationSecs");
    }
}

pub(crate) fn check_locality(setting: &LocalityLbSetting, at: &mut At) {
    let fails_over = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
    if fails_over && !setting.distribute.is_empty() {
        at.field("distribute", |at| at.refuse("", "not together with failover or failoverPriority"));
    }
    at.field("distribute", |at| {
        for (i, distribute) in setting.distribute.iter().enumerate() {
            at.index(i, |at| check_distribute(distribute, at));
        }
    });
    check_failovers(&setting.failover, &setting.failover_priority, at);
}

/// `region/zone/subzone`, cut or ended by a star anywhere.
fn is_locality(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let star_last = parts.iter().rev().skip(1).all(|part| !part.contains('*'));
    parts.len() <= 3 && parts.iter().all(|part| !part.is_empty() && (!part.contains('*') || *part == "*")) && star_last
}

/// Whether one of two localities covers the other.
fn overlap(one: &str, other: &str) -> bool {
    let parts = one.split('/').zip(other.split('/'));
    parts.map_while(|(one, other)| (one != "*" && other != "*").then_some(one == other)).all(|same| same)
}

fn check_distribute(distribute: &Distribute, at: &mut At) {
    const LOCALITY: &str = "expected region/zone/subzone, of which the last may be *";
    if !is_locality(&distribute.from) {
        at.field("from", |at| at.refuse(Quoted(&distribute.from), LOCALITY));
    }
    if at.is_unread("to") {
        return;
    }
    at.field("to", |at| {
        let mut sum = 0;
        let mut before: Vec<&str> = Vec::new();
        for (locality, weight) in distribute.to.iter() {
            sum += u32::from(weight.get());
            at.key(locality, |at| {
                if !is_locality(locality) {
                    at.refuse(Quoted(locality), LOCALITY);
                }
                if weight.get() == 0 {
                    at.refuse(weight, "expected 1 to 100");
                }
                if let Some(other) = before.iter().find(|other| overlap(other, locality)) {
                    at.refuse(Quoted(locality), format!("overlaps with {other}"));
                }
            });
            before.push(locality);
        }
        if sum != 100 {
            at.refuse(sum, "the weights must come to 100");
        }
    });
}

fn check_failovers(failovers: &[Failover], labels: &[String], at: &mut At) {
    at.field("failover", |at| {
        for (i, failover) in failovers.iter().enumerate() {
            at.index(i, |at| {
                for (field, region) in [("from", &failover.from), ("to", &failover.to)] {
                    if region.is_empty() || region.contains(['*', '/']) {
                        at.field(field, |at| at.refuse(Quoted(region), "expected a region"));
                    }
                }
                if failover.from == failover.to {
                    at.field("to", |at| at.refuse(Quoted(&failover.to), "expected another region than from"));
                }
            });
        }
    });
    at.field("failoverPriority", |at| {
        for (i, label) in labels.iter().enumerate() {
            let (key, _) = label.split_once('=').unwrap_or((label, ""));
            if key.is_empty() || label.contains(char::is_whitespace) {
                at.index(i, |at| at.refuse(Quoted(label), "expected a label: key, or key=value"));
            }
        }
    });
}

/// Records what is taken, but hardly what was meant.
pub(super) fn warn_load_balancer(balancer: &LoadBalancer, at: &mut At) {
    if balancer.simple == Some(SimpleLb::LeastConn) {
        at.field("simple", |at| at.refuse("\"LEAST_CONN\"", "deprecated: write LEAST_REQUEST"));
    }
    if let Some(time) = balancer.warmup_duration_secs {
        at.field("warmupDurationSecs", |at| at.refuse(time, "deprecated: write warmup.duration"));
    }
    let warms = matches!(
        balancer.simple,
        None | Some(SimpleLb::Unspecified | SimpleLb::RoundRobin | SimpleLb::LeastRequest | SimpleLb::LeastConn)
    );
    if balancer.warmup.is_some() && (!warms || balancer.consistent_hash.is_some()) {
        at.field("warmup", |at| at.refuse("", "of no account but with ROUND_ROBIN and LEAST_REQUEST"));
    }
    optional("consistentHash", balancer.consistent_hash.as_ref(), at, |hash, at| {
        if let Some(size) = hash.minimum_ring_size {
            at.field("minimumRingSize", |at| at.refuse(size, "deprecated: write ringHash.minimumRingSize"));
        }
    });
}
