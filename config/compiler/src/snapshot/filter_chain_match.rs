//! Which filter chain serves a connection: Envoy's order of fields, compiled once per listener.
//!
//! One map for each field, each value of which leads to the map of the next. A step is never taken back: the answer
//! for the most specific port, name, … is the answer, as in Envoy.

use crate::snapshot::{FilterChain, FilterChainMatch, TransportProtocol};
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;

/// What is known of a connection when its chain is chosen.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionFacts<'a> {
    /// That it was made to, before any redirection.
    pub destination_port: u16,
    /// Where it comes from.
    pub source: IpAddr,
    /// In lower case.
    pub server_name: Option<&'a str>,
    /// What it begins with.
    pub transport_protocol: TransportProtocol,
    /// In the client's order.
    pub application_protocols: &'a [&'a [u8]],
}

/// The chains of a listener by what they match.
#[derive(Debug, Default)]
pub struct FilterChainMatcher {
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
    pub fn new(chains: &[FilterChain]) -> Result<Self, Vec<String>> {
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
    pub fn needs_first_bytes(&self, destination_port: u16, source: IpAddr) -> bool {
        let takes = |ranges: &Vec<IpNet>| ranges.is_empty() || ranges.iter().any(|range| range.contains(&source));
        self.port(destination_port).is_some_and(|port| port.curious.iter().any(takes))
    }

    /// The chain that serves a connection.
    pub fn find(&self, facts: &ConnectionFacts<'_>) -> Option<usize> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn chains(matches: Value) -> Vec<FilterChain> {
        let chain = |wanted: &Value| {
            json!({
                "filterChainMatch": wanted,
                "networkFilter": {"tcpProxy": {"cluster": "c"}},
            })
        };
        let chains: Vec<Value> = matches.as_array().unwrap().iter().map(chain).collect();
        serde_json::from_value(chains.into()).unwrap()
    }

    fn matcher(matches: Value) -> FilterChainMatcher {
        FilterChainMatcher::new(&chains(matches)).unwrap()
    }

    fn faults(matches: Value) -> Vec<String> {
        FilterChainMatcher::new(&chains(matches)).unwrap_err()
    }

    /// A TLS connection from 127.0.0.1 to port 80.
    fn tls<'a>(name: &'a str, protocols: &'a [&'a [u8]]) -> ConnectionFacts<'a> {
        ConnectionFacts {
            destination_port: 80,
            source: [127, 0, 0, 1].into(),
            server_name: Some(name).filter(|name| !name.is_empty()),
            transport_protocol: TransportProtocol::Tls,
            application_protocols: protocols,
        }
    }

    fn raw(destination_port: u16, source: &str) -> ConnectionFacts<'static> {
        let source = source.parse().unwrap();
        let transport_protocol = TransportProtocol::RawBuffer;
        ConnectionFacts { destination_port, source, server_name: None, transport_protocol, application_protocols: &[] }
    }

    /// What stock Envoy 1.40 does with these chains and connections.
    #[test]
    fn as_envoy_chooses() {
        let matcher = matcher(json!([
            {"serverNames": ["a.example"], "applicationProtocols": ["h2"]},
            {},
            {"serverNames": ["c.example"], "sourcePrefixRanges": ["10.0.0.0/8"]},
            {"serverNames": ["*.w.example"]},
            {"serverNames": ["*.x.w.example"], "transportProtocol": "rawBuffer"},
            {"transportProtocol": "rawBuffer"},
            {"applicationProtocols": ["http/1.1"]},
            {"serverNames": ["d.example"], "applicationProtocols": ["h2"]},
            {"serverNames": ["d.example"], "applicationProtocols": ["http/1.1"]},
        ]));
        type Protocols = &'static [&'static [u8]];
        let (h2, both, http1): (Protocols, Protocols, Protocols) = (&[b"h2"], &[b"h2", b"http/1.1"], &[b"http/1.1"]);
        let rows: &[(&str, Protocols, Option<usize>)] = &[
            ("a.example", both, Some(0)),
            ("a.example", &[], None),
            ("a.example", http1, None),
            ("b.example", &[], Some(1)),
            ("b.example", h2, Some(1)),
            ("b.example", http1, Some(6)),
            ("b.example", both, Some(6)),
            ("", &[], Some(1)),
            ("c.example", &[], None),
            ("w.example", &[], Some(1)),
            ("q.w.example", &[], Some(3)),
            ("q.r.w.example", &[], Some(3)),
            ("q.x.w.example", &[], None),
            ("d.example", both, Some(7)),
            ("d.example", http1, Some(8)),
        ];
        for (name, protocols, expected) in rows {
            assert_eq!(matcher.find(&tls(name, protocols)), *expected, "{name} {protocols:?}");
        }
        assert_eq!(matcher.find(&raw(80, "127.0.0.1")), Some(5));
        let from_within = ConnectionFacts { source: [10, 1, 2, 3].into(), ..tls("c.example", &[]) };
        assert_eq!(matcher.find(&from_within), Some(2));
    }

    #[test]
    fn ports_first_then_sources_last() {
        let matcher = matcher(json!([
            {"destinationPort": 8080, "sourcePrefixRanges": ["10.0.0.0/8", "fd00::/8"]},
            {"destinationPort": 8080, "sourcePrefixRanges": ["10.1.0.0/16"]},
            {"sourcePrefixRanges": ["192.168.0.0/16"]},
            {},
        ]));
        for (port, source, expected) in [
            (8080, "10.2.0.1", Some(0)),
            (8080, "10.1.0.1", Some(1)),
            (8080, "fd00::1", Some(0)),
            (8080, "192.168.0.1", None),
            (80, "192.168.0.1", Some(2)),
            (80, "10.1.0.1", Some(3)),
        ] {
            assert_eq!(matcher.find(&raw(port, source)), expected, "{port} {source}");
        }
    }

    #[test]
    fn first_bytes_are_wanted_only_where_they_matter() {
        let mut chains = chains(json!([
            {"destinationPort": 1},
            {"destinationPort": 2, "transportProtocol": "tls"},
            {"destinationPort": 2, "transportProtocol": "rawBuffer"},
            {"destinationPort": 3, "serverNames": ["a.example"]},
            {"destinationPort": 4, "applicationProtocols": ["h2"], "sourcePrefixRanges": ["10.0.0.0/8"]},
            {"destinationPort": 4, "sourcePrefixRanges": ["192.168.0.0/16"]},
            {"destinationPort": 5},
        ]));
        let tls = json!({"certificates": []});
        chains[6].transport_socket = Some(serde_json::from_value(tls).unwrap());
        let matcher = FilterChainMatcher::new(&chains).unwrap();
        for (port, source, expected) in [
            (1, "10.0.0.1", false),
            (2, "10.0.0.1", true),
            (3, "10.0.0.1", true),
            (4, "10.0.0.1", true),
            (4, "192.168.0.1", false),
            (5, "10.0.0.1", true),
            (6, "10.0.0.1", false),
        ] {
            assert_eq!(matcher.needs_first_bytes(port, source.parse().unwrap()), expected, "{port} {source}");
        }
    }

    #[test]
    fn what_cannot_be_matched() {
        let faults_of = faults(json!([
            {"serverNames": ["*", "a.*.example", "*w.example", "*.", ".example", ""]},
            {"serverNames": ["A.example"]},
            {"serverNames": ["b.example", "a.example"]},
            {"sourcePrefixRanges": ["10.1.2.3/8"]},
            {"sourcePrefixRanges": ["10.0.0.0/8"]},
        ]));
        assert_eq!(faults_of.len(), 8, "{faults_of:?}");
        assert_eq!(
            faults_of[0],
            "filterChains[0].filterChainMatch.serverNames: \"*\" is neither a name nor `*.` and a name"
        );
        assert_eq!(
            faults_of[6],
            "filterChains[2].filterChainMatch: filterChains[1] takes some of the same connections"
        );
        assert!(faults_of[7].contains("filterChains[4]") && faults_of[7].contains("filterChains[3]"));
        let twice = json!([{"serverNames": ["a.example", "a.example"], "applicationProtocols": ["h2", "h2"]}]);
        assert_eq!(matcher(twice).find(&tls("a.example", &[b"h2"])), Some(0));
    }
}
