//! Addresses and blocks of them.

use ipnet::IpNet;
use plugin_config::{At, Quoted};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A set of addresses and CIDR blocks. IPv4 and IPv6 are apart: `::ffff:10.0.0.1` is no IPv4 address, as in Envoy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressBlocks {
    /// Sorted, not touching: first and last address of each range.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl AddressBlocks {
    /// Reads addresses (`10.0.0.1`) and blocks (`10.0.0.0/8`; host bits are ignored). Each that is neither is a fault
    /// in `at`, which stands at the list.
    pub fn parse(texts: &[String], at: &mut At) -> Option<Self> {
        let blocks: Vec<Option<IpNet>> =
            texts.iter().enumerate().map(|(i, text)| at.index(i, |at| block(text, at))).collect();
        let mut set = Self::default();
        for block in blocks.into_iter().collect::<Option<Vec<_>>>()? {
            match block {
                IpNet::V4(block) => set.v4.push((block.network().to_bits(), block.broadcast().to_bits())),
                IpNet::V6(block) => set.v6.push((block.network().to_bits(), block.broadcast().to_bits())),
            }
        }
        set.v4 = merged(set.v4);
        set.v6 = merged(set.v6);
        Some(set)
    }

    /// Whether an address is in one of the blocks: a binary search.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => contains(&self.v4, address.to_bits()),
            IpAddr::V6(address) => contains(&self.v6, address.to_bits()),
        }
    }
}

fn block(text: &str, at: &mut At) -> Option<IpNet> {
    let read = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match read {
        Ok(block) => Some(block),
        Err(_) => at.fault(Quoted(text), "expected an address (10.0.0.1) or a block (10.0.0.0/8)"),
    }
}

fn merged<N: Ord + Copy>(mut ranges: Vec<(N, N)>) -> Vec<(N, N)> {
    ranges.sort_unstable();
    let mut out: Vec<(N, N)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => out.push((first, last)),
        }
    }
    out
}

fn contains<N: Ord + Copy>(ranges: &[(N, N)], address: N) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= address);
    behind.checked_sub(1).and_then(|i| ranges.get(i)).is_some_and(|(_, last)| address <= *last)
}

/// The address in a proxy's `address:port` or `[address]:port`; also without a port.
pub fn parse_peer_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']').and_then(|(address, _)| address.parse::<Ipv6Addr>().ok()).map(IpAddr::V6);
    }
    if let Some((address, _)) = text.split_once(':')
        && let Ok(address) = address.parse::<Ipv4Addr>()
    {
        return Some(IpAddr::V4(address));
    }
    text.parse().ok()
}
