//! The checked and compiled form of a plugin configuration, and the decisions it takes.

use crate::action::{Ending, OperationsId, OperationsTable};
use crate::config::Config;
use crate::route::{Route, RouteTable, VirtualHost};
use crate::rule::{Rule, RuleTable};
use filter_api::header_name;
use http_match::{Found, Request, port_of};
use plugin_config::{At, Quoted};

/// Carries the chosen cluster to the proxy's `cluster_header` route, unless the configuration names another.
const CLUSTER_HEADER: &str = "x-outrigger-cluster";

/// A compiled configuration: immutable, the same for every stream.
#[derive(Debug)]
pub struct Compiled {
    pub(crate) rules: RuleTable,
    pub(crate) routes: RouteTable,
    pub(crate) operations: OperationsTable,
    pub(crate) cluster_header: String,
    pub(crate) strip: bool,
    explicit_ports: Box<[u16]>,
    /// The response operations that every stream gets, when that is all there is to do.
    pub(crate) constant: Option<Vec<OperationsId>>,
}

/// Where a request belongs.
#[derive(Clone, Copy, Debug)]
pub enum Decision<'c> {
    /// There are no virtual hosts: it goes on.
    Unrouted,
    /// No virtual host has its authority: `unknownAuthority` says what becomes of it.
    UnknownAuthority,
    /// No route of its virtual host matches: 404.
    NoRoute(&'c VirtualHost),
    /// The first route that matches.
    Route(&'c VirtualHost, &'c Route, Found),
}

impl Compiled {
    /// Compiles a configuration; every fault is recorded in `at`, which stands at it.
    pub fn compile(config: &Config, at: &mut At) -> Option<Self> {
        let cluster_header = at.field("clusterHeader", |at| compile_cluster_header(config, at));
        // For the faults of the rest it does not matter which it is.
        let header = cluster_header.as_deref().unwrap_or(CLUSTER_HEADER);
        let mut operations = OperationsTable::default();
        let rules = RuleTable::compile(&config.rules, header, &mut operations, at);
        let unknown = config.unknown_authority.as_ref();
        let routes = RouteTable::compile(&config.virtual_hosts, unknown, header, &mut operations, at);
        let (rules, routes) = (rules?, routes?);
        let chooses_cluster = rules.rules.iter().any(|rule| rule.cluster.is_some());
        let strip = config.strip_control_headers.unwrap_or(!routes.is_empty() || chooses_cluster);
        let mut compiled = Self {
            rules,
            routes,
            operations,
            cluster_header: cluster_header?,
            strip,
            explicit_ports: config.explicit_ports.as_slice().into(),
            constant: None,
        };
        compiled.constant = compiled.constant_response();
        Some(compiled)
    }

    /// The first rule at or behind the number `from` that a request matches, as its number.
    pub fn find_rule(&self, from: usize, request: &Request<'_>) -> Option<usize> {
        self.rules.table.find_from(from, request).map(|found| found.entry)
    }

    /// Whether rules behind this one are tried.
    pub fn continues_after(&self, rule: usize) -> bool {
        self.rules.rules.get(rule).is_some_and(|rule| !rule.stops)
    }

    /// The name of a rule, if it has one.
    pub fn rule_name(&self, rule: usize) -> Option<&str> {
        self.rules.rules.get(rule)?.name.as_deref()
    }

    /// Where a request belongs, as the rules left it.
    pub fn decide(&self, request: &Request<'_>) -> Decision<'_> {
        match self.routes.find(request.authority, request.port) {
            _ if self.routes.is_empty() => Decision::Unrouted,
            None => Decision::UnknownAuthority,
            Some(host) => host.decide(request),
        }
    }

    /// The port that a request is addressed to, which came in on `port`.
    pub fn addressed_port(&self, port: Option<u16>, authority: &[u8]) -> Option<u16> {
        let explicit = port.is_some_and(|port| self.explicit_ports.contains(&port));
        if explicit { port_of(authority) } else { port }
    }

    /// Where every request belongs, when that is known without looking at one.
    pub(crate) fn fixed_decision(&self) -> Option<Decision<'_>> {
        if self.routes.is_empty() { Some(Decision::Unrouted) } else { self.routes.fixed()?.fixed() }
    }

    fn constant_response(&self) -> Option<Vec<OperationsId>> {
        if self.strip || !self.routes.is_empty() {
            return None;
        }
        let mut constant = Vec::new();
        let mut next = 0;
        while let Some(found) = self.rules.table.fixed_from(next)? {
            let rule = self.rules.rules.get(found.entry)?;
            constant.extend(self.constant_rule(rule)?);
            if rule.stops {
                break;
            }
            next = found.entry + 1;
        }
        Some(constant)
    }

    /// The response operations of a rule that needs nothing of a request.
    fn constant_rule(&self, rule: &Rule) -> Option<Option<OperationsId>> {
        let idle = matches!(rule.ending, Ending::Forward(None)) && rule.cluster.is_none() && rule.tags.is_empty();
        let operations = rule.operations.and_then(|id| self.operations.get(id));
        let constant = operations.is_none_or(|operations| !operations.has_request() && !operations.captures());
        (idle && constant).then_some(rule.operations)
    }
}

fn compile_cluster_header(config: &Config, at: &mut At) -> Option<String> {
    let Some(written) = &config.cluster_header else {
        return Some(CLUSTER_HEADER.to_owned());
    };
    match header_name(written).filter(|name| !name.starts_with(':')) {
        Some(name) => Some(name.into_string()),
        None => at.fault(Quoted(written), "not a header name"),
    }
}
