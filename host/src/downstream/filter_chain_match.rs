//! Which filter chain serves a connection: Envoy's order of fields, compiled once per listener.
//!
//! One map for each field, each value of which leads to the map of the next. A step is never taken back: the answer
//! for the most specific port, name, … is the answer, as in Envoy.

use compiler::snapshot::{FilterChain, FilterChainMatch, TransportProtocol};
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;

/// What is known of a connection when its chain is chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) destination_port: u16,
    pub(crate) source: IpAddr,
    /// In lower case.
    pub(crate) server_name: Option<&'a str>,
    pub(crate) transport_protocol: TransportProtocol,
    /// In the client's order.
    pub(crate) application_protocols: &'a [&'a [u8]],
}

/// The chains of a listener by what they match.
#[derive(Debug, Default)]
pub(crate) struct FilterChainMatcher {
    ports: HashMap<u16, Port>,
    any_port: Option<Port>,
}

/// The chains of a port.
#[derive(Debug, Default)]
struct Port {
    names: ServerNames,
    /// Of the chains that cannot be told from others without the connection's first bytes: where from they take them.
    curious: Vec<Vec<IpNet>>,
}

#[derive(Debug, Default)]
struct ServerNames {
    exact: HashMap<String, Transports>,
    /// Without the `*.`.
    below: HashMap<String, Transports>,
    any: Option<Transports>,
}

#[derive(Debug, Default)]
struct Transports {
    named: HashMap<TransportProtocol, ApplicationProtocols>,
    any: Option<ApplicationProtocols>,
}

#[derive(Debug, Default)]
struct ApplicationProtocols {
    named: HashMap<Vec<u8>, Sources>,
    any: Option<Sources>,
}

#[derive(Debug, Default)]
struct Sources {
    /// Longest prefixes first.
    ranges: Vec<(IpNet, usize)>,
    any: Option<usize>,
}

impl FilterChainMatcher {
    /// Compiles the matches of a listener's chains.
    ///
    /// # Errors
    /// Every fault: names that cannot be matched, chains that match the same.
    pub(crate) fn new(chains: &[FilterChain]) -> Result<Self, Vec<String>> {
        let mut matcher = Self::default();
        let mut faults = Vec::new();
        for (index, chain) in chains.iter().enumerate() {
            let wanted = &chain.filter_chain_match;
            let bad_names = wanted.server_names.iter().filter(|name| !is_server_name(name));
            faults.extend(bad_names.map(|name| {
                format!(
                    "filterChains[{index}].filterChainMatch.serverNames: {name:?} is neither a name nor `*.` and a name"
                )
            }));
            let port = match wanted.destination_port {
                Some(port) => matcher.ports.entry(port).or_default(),
                None => matcher.any_port.get_or_insert_default(),
            };
            if is_curious(chain) {
                port.curious.push(wanted.source_prefix_ranges.clone());
            }
            if let Some(other) = port.names.add(wanted, index) {
                faults.push(format!(
                    "filterChains[{index}].filterChainMatch: filterChains[{other}] takes some of the same connections"
                ));
            }
        }
        if faults.is_empty() { Ok(matcher) } else { Err(faults) }
    }

    /// Whether a connection's first bytes must be seen to choose its chain, or to serve it.
    pub(crate) fn needs_first_bytes(&self, destination_port: u16, source: IpAddr) -> bool {
        let takes = |ranges: &Vec<IpNet>| ranges.is_empty() || ranges.iter().any(|range| range.contains(&source));
        self.port(destination_port).is_some_and(|port| port.curious.iter().any(takes))
    }

    /// The chain that serves a connection.
    pub(crate) fn find(&self, facts: &Facts<'_>) -> Option<usize> {
        let transports = self.port(facts.destination_port)?.names.find(facts.server_name)?;
        let protocols = transports.named.get(&facts.transport_protocol).or(transports.any.as_ref())?;
        let named = facts.application_protocols.iter().find_map(|protocol| protocols.named.get(*protocol));
        named.or(protocols.any.as_ref())?.find(facts.source)
    }

    fn port(&self, port: u16) -> Option<&Port> {
        self.ports.get(&port).or(self.any_port.as_ref())
    }
}

/// Whether a chain cannot be chosen or served without the first bytes.
fn is_curious(chain: &FilterChain) -> bool {
    let wanted = &chain.filter_chain_match;
    chain.transport_socket.is_some()
        || wanted.transport_protocol.is_some()
        || !wanted.server_names.is_empty()
        || !wanted.application_protocols.is_empty()
}

fn is_server_name(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    !name.is_empty() && !name.starts_with('.') && !name.contains('*')
}

impl ServerNames {
    /// Adds a chain. The chain that was there before, if one was: the first of them stays.
    fn add(&mut self, wanted: &FilterChainMatch, index: usize) -> Option<usize> {
        if wanted.server_names.is_empty() {
            return self.any.get_or_insert_default().add(wanted, index);
        }
        let mut clash = None;
        for name in &wanted.server_names {
            let name = name.to_ascii_lowercase();
            let transports = match name.strip_prefix("*.") {
                Some(suffix) => self.below.entry(suffix.to_owned()).or_default(),
                None => self.exact.entry(name).or_default(),
            };
            clash = transports.add(wanted, index).or(clash);
        }
        clash
    }

    fn find(&self, name: Option<&str>) -> Option<&Transports> {
        let name = name.unwrap_or_default();
        let suffixes = name.match_indices('.').filter_map(|(dot, _)| name.get(dot + 1..));
        let below = || suffixes.into_iter().find_map(|suffix| self.below.get(suffix));
        self.exact.get(name).or_else(below).or(self.any.as_ref())
    }
}

impl Transports {
    fn add(&mut self, wanted: &FilterChainMatch, index: usize) -> Option<usize> {
        let protocols = match wanted.transport_protocol {
            Some(protocol) => self.named.entry(protocol).or_default(),
            None => self.any.get_or_insert_default(),
        };
        protocols.add(wanted, index)
    }
}

impl ApplicationProtocols {
    fn add(&mut self, wanted: &FilterChainMatch, index: usize) -> Option<usize> {
        if wanted.application_protocols.is_empty() {
            return self.any.get_or_insert_default().add(wanted, index);
        }
        let mut clash = None;
        for protocol in &wanted.application_protocols {
            clash = self.named.entry(protocol.clone().into()).or_default().add(wanted, index).or(clash);
        }
        clash
    }
}

impl Sources {
    fn add(&mut self, wanted: &FilterChainMatch, index: usize) -> Option<usize> {
        if wanted.source_prefix_ranges.is_empty() {
            let before = self.any.filter(|before| *before != index);
            self.any.get_or_insert(index);
            return before;
        }
        let mut clash = None;
        for range in wanted.source_prefix_ranges.iter().map(IpNet::trunc) {
            match self.ranges.iter().find(|(known, _)| *known == range) {
                Some((_, before)) => clash = Some(*before).filter(|before| *before != index).or(clash),
                None => self.ranges.push((range, index)),
            }
        }
        self.ranges.sort_by_key(|(range, _)| std::cmp::Reverse(range.prefix_len()));
        clash
    }

    fn find(&self, source: IpAddr) -> Option<usize> {
        let range = self.ranges.iter().find(|(range, _)| range.contains(&source));
        range.map(|(_, index)| *index).or(self.any)
    }
}
