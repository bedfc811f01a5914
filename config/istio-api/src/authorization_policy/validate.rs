//! What an AuthorizationPolicy's fields say together.

use super::{Action, AuthorizationPolicy, Condition, Operation, Rule, Source};
use crate::scalar::parse_block;
use crate::selector::check_targets;
use http_match::PathPattern;
use plugin_config::{At, Quoted};

/// Most rules, and most alternatives of `from`.
const MOST: usize = 512;

/// Records every fault.
pub(super) fn check(policy: &AuthorizationPolicy, at: &mut At) {
    check_targets(policy.selector.as_ref(), policy.target_ref.as_ref(), &policy.target_refs, at);
    let action = policy.action;
    at.field("rules", |at| {
        if policy.rules.is_empty() && matches!(action, Action::Deny | Action::Custom) {
            at.refuse("nothing", format!("{} without rules does nothing", action.as_str()));
        }
        if policy.rules.len() > MOST {
            at.refuse(policy.rules.len(), format!("at most {MOST} rules"));
        }
        for (i, rule) in policy.rules.iter().enumerate() {
            at.index(i, |at| check_rule(rule, action, at));
        }
    });
    if at.is_unread("action") {
        return;
    }
    at.field("provider", |at| match (&policy.provider, action) {
        (Some(provider), Action::Custom) if provider.name.is_empty() => {
            at.field("name", |at| at.refuse("\"\"", "must not be empty"));
        }
        (Some(_), Action::Custom) | (None, Action::Allow | Action::Deny | Action::Audit) => {}
        (None, Action::Custom) => at.refuse("nothing", "CUSTOM needs it"),
        (Some(_), _) => at.refuse("", "only with action: CUSTOM"),
    });
}

fn check_rule(rule: &Rule, action: Action, at: &mut At) {
    at.field("from", |at| match rule.from.as_deref() {
        Some([]) => at.refuse("[]", "must not be empty: leave it out for any source"),
        Some(from) => {
            if from.len() > MOST {
                at.refuse(from.len(), format!("at most {MOST} alternatives"));
            }
            for (i, from) in from.iter().enumerate() {
                at.index(i, |at| at.field("source", |at| check_source(&from.source, action, at)));
            }
        }
        None => {}
    });
    at.field("to", |at| match rule.to.as_deref() {
        Some([]) => at.refuse("[]", "must not be empty: leave it out for any operation"),
        Some(to) => {
            for (i, to) in to.iter().enumerate() {
                at.index(i, |at| at.field("operation", |at| check_operation(&to.operation, at)));
            }
        }
        None => {}
    });
    at.field("when", |at| {
        for (i, condition) in rule.when.iter().enumerate() {
            at.index(i, |at| check_condition(condition, action, at));
        }
    });
}

/// A list of values with its field.
type Values<'v> = (&'static str, &'v [String]);

/// Checks each value.
fn each(values: Values<'_>, at: &mut At, check: impl Fn(&str, &mut At)) {
    at.field(values.0, |at| {
        for (i, value) in values.1.iter().enumerate() {
            at.index(i, |at| match value.as_str() {
                "" => at.refuse("\"\"", "must not be empty"),
                value => check(value, at),
            });
        }
    });
}

fn check_source(source: &Source, action: Action, at: &mut At) {
    let peers: [Values<'_>; 6] = [
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("requestPrincipals", &source.request_principals),
        ("notRequestPrincipals", &source.not_request_principals),
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
    ];
    let accounts: [Values<'_>; 2] =
        [("serviceAccounts", &source.service_accounts), ("notServiceAccounts", &source.not_service_accounts)];
    let domains: [Values<'_>; 2] =
        [("trustDomains", &source.trust_domains), ("notTrustDomains", &source.not_trust_domains)];
    let blocks: [Values<'_>; 4] = [
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
    ];
    let identities = peers.iter().chain(&accounts).chain(&domains);
    if identities.clone().chain(&blocks).all(|(_, values)| values.is_empty()) {
        at.refuse("{}", "must not be empty: leave from out for any source");
    }
    if action == Action::Custom {
        for (field, _) in identities.filter(|(_, values)| !values.is_empty()) {
            at.field(field, |at| at.refuse("", "CUSTOM policies cannot ask for identities"));
        }
    }
    peers.iter().for_each(|values| each(*values, at, |_, _| {}));
    domains.iter().for_each(|values| each(*values, at, check_trust_domain));
    blocks.iter().for_each(|values| each(*values, at, check_block));
    for (field, values) in accounts {
        if values.len() > MOST_ACCOUNTS {
            at.field(field, |at| at.refuse(values.len(), format!("at most {MOST_ACCOUNTS} values")));
        }
        let others = [&source.principals, &source.not_principals, &source.namespaces, &source.not_namespaces];
        if !values.is_empty() && others.iter().any(|others| !others.is_empty()) {
            at.field(field, |at| at.refuse("", "not together with principals or namespaces"));
        }
        each((field, values), at, check_service_account);
    }
}

const MOST_ACCOUNTS: usize = 16;
const LONGEST_ACCOUNT: usize = 320;

fn check_service_account(account: &str, at: &mut At) {
    let parts = account.split('/');
    let valid = parts.clone().count() <= 2 && parts.into_iter().all(|part| !part.is_empty());
    if account.len() > LONGEST_ACCOUNT || account.contains('*') || !valid {
        at.refuse(Quoted(account), "expected name, or namespace/name, without wildcards");
    }
}

fn check_trust_domain(domain: &str, at: &mut At) {
    let inner = domain.strip_prefix('*').or_else(|| domain.strip_suffix('*')).unwrap_or(domain);
    if domain.contains('/') || inner.contains('*') {
        at.refuse(Quoted(domain), "expected a trust domain, with a star at its start or its end or none");
    }
}

fn check_block(block: &str, at: &mut At) {
    if parse_block(block).is_none() {
        at.refuse(Quoted(block), "expected an IP address, or a block such as \"10.0.0.0/8\"");
    }
}

fn check_port(port: &str, at: &mut At) {
    if !port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().is_err() {
        at.refuse(Quoted(port), "expected a port from 0 to 65535");
    }
}

fn check_path(path: &str, at: &mut At) {
    PathPattern::parse(path, at);
}

fn check_operation(operation: &Operation, at: &mut At) {
    let texts: [Values<'_>; 4] = [
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("methods", &operation.methods),
        ("notMethods", &operation.not_methods),
    ];
    let ports: [Values<'_>; 2] = [("ports", &operation.ports), ("notPorts", &operation.not_ports)];
    let paths: [Values<'_>; 2] = [("paths", &operation.paths), ("notPaths", &operation.not_paths)];
    if texts.iter().chain(&ports).chain(&paths).all(|(_, values)| values.is_empty()) {
        at.refuse("{}", "must not be empty: leave to out for any operation");
    }
    texts.iter().for_each(|values| each(*values, at, |_, _| {}));
    ports.iter().for_each(|values| each(*values, at, check_port));
    paths.iter().for_each(|values| each(*values, at, check_path));
}

/// What a condition can be about.
enum Attribute {
    Text,
    Block,
    Port,
    Identity,
    ServiceAccount,
    TrustDomain,
}

/// What stands in brackets behind `start`, one level or more; `None` when it is not of this form.
fn in_brackets<'k>(key: &'k str, start: &str) -> Option<Vec<&'k str>> {
    let inner = key.strip_prefix(start)?.strip_prefix('[')?.strip_suffix(']')?;
    let levels: Vec<&str> = inner.split("][").collect();
    levels.iter().all(|level| !level.is_empty()).then_some(levels)
}

fn attribute(key: &str) -> Option<Attribute> {
    Some(match key {
        "source.ip" | "remote.ip" | "destination.ip" => Attribute::Block,
        "destination.port" => Attribute::Port,
        "source.namespace" | "source.principal" => Attribute::Identity,
        "source.serviceAccount" => Attribute::ServiceAccount,
        "source.trustDomain" => Attribute::TrustDomain,
        "request.auth.principal" | "request.auth.audiences" | "request.auth.presenter" => Attribute::Identity,
        "connection.sni" => Attribute::Text,
        key if in_brackets(key, "request.auth.claims").is_some() => Attribute::Identity,
        key if in_brackets(key, "request.headers").is_some_and(|levels| levels.len() == 1) => Attribute::Text,
        key if key.starts_with("experimental.envoy.filters.") && key.ends_with(']') => Attribute::Text,
        _ => return None,
    })
}

fn check_condition(condition: &Condition, action: Action, at: &mut At) {
    let known = attribute(&condition.key);
    at.field("key", |at| match &known {
        None => at.refuse(
            Quoted(&condition.key),
            "no such attribute: expected request.headers[…], source.…, remote.ip, request.auth.…, destination.ip, \
             destination.port or connection.sni",
        ),
        Some(Attribute::Identity | Attribute::ServiceAccount | Attribute::TrustDomain) if action == Action::Custom => {
            at.refuse(Quoted(&condition.key), "CUSTOM policies cannot ask for identities");
        }
        Some(_) => {
            let header = in_brackets(&condition.key, "request.headers");
            if let Some([name]) = header.as_deref()
                && http_match::header_name(name).is_none()
            {
                at.refuse(Quoted(name), "expected a header name");
            }
        }
    });
    if condition.values.is_empty() && condition.not_values.is_empty() {
        at.refuse("", "expected values, notValues, or both");
    }
    let check = match known {
        Some(Attribute::Block) => check_block,
        Some(Attribute::Port) => check_port,
        Some(Attribute::ServiceAccount) => check_service_account,
        Some(Attribute::TrustDomain) => check_trust_domain,
        _ => |_: &str, _: &mut At| {},
    };
    each(("values", &condition.values), at, check);
    each(("notValues", &condition.not_values), at, check);
}

/// Records what is taken, but hardly what was meant.
pub(super) fn warn(policy: &AuthorizationPolicy, at: &mut At) {
    if policy.action == Action::Audit && policy.rules.is_empty() {
        at.field("rules", |at| at.refuse("nothing", "AUDIT without rules does nothing"));
    }
    at.field("rules", |at| {
        for (i, rule) in policy.rules.iter().enumerate() {
            at.index(i, |at| {
                warn_from(rule, at);
                warn_to(rule, policy.action, at);
            });
        }
    });
}

fn warn_from(rule: &Rule, at: &mut At) {
    at.field("from", |at| {
        for (i, from) in rule.from.iter().flatten().enumerate() {
            let fields = [("principals", &from.source.principals), ("notPrincipals", &from.source.not_principals)];
            at.index(i, |at| {
                at.field("source", |at| {
                    for (field, values) in fields {
                        each((field, values), at, |value, at| {
                            if value.starts_with("spiffe://") {
                                at.refuse(Quoted(value), "never matches: principals are written without spiffe://");
                            }
                        });
                    }
                });
            });
        }
    });
}

fn warn_to(rule: &Rule, action: Action, at: &mut At) {
    let http_alone = |operation: &Operation| {
        let http = [&operation.hosts, &operation.not_hosts, &operation.methods, &operation.not_methods];
        let http = http.into_iter().chain([&operation.paths, &operation.not_paths]);
        http.clone().any(|values| !values.is_empty()) && operation.ports.is_empty() && operation.not_ports.is_empty()
    };
    at.field("to", |at| {
        for (i, to) in rule.to.iter().flatten().enumerate() {
            let paths = [("paths", &to.operation.paths), ("notPaths", &to.operation.not_paths)];
            at.index(i, |at| {
                at.field("operation", |at| {
                    if action == Action::Deny
                        && http_alone(&to.operation)
                        && rule.from.is_none()
                        && rule.when.is_empty()
                    {
                        at.refuse(
                            "",
                            "on TCP ports, where there is no HTTP, this refuses every connection: name ports",
                        );
                    }
                    for (field, values) in paths {
                        each((field, values), at, |value, at| {
                            if value.contains('?') {
                                at.refuse(Quoted(value), "never matches: a path has no query here");
                            }
                        });
                    }
                });
            });
        }
    });
}
