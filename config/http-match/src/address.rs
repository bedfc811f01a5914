//! Addresses and blocks of them.

use plugin_config::{At, Quoted};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A set of addresses and CIDR blocks. IPv4 and IPv6 are apart: `::ffff:10.0.0.1` is no IPv4 address, as in Envoy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressBlocks {
    v4: Ranges,
    v6: Ranges,
}

impl AddressBlocks {
    /// Reads addresses (`10.0.0.1`) and blocks (`10.0.0.0/8`; host bits are ignored). Each that is neither is a fault
    /// in `at`, which stands at the list.
    pub fn parse(texts: &[String], at: &mut At) -> Option<Self> {
        let mut set = Self::default();
        let mut good = true;
        for (i, text) in texts.iter().enumerate() {
            match block(text) {
                Some((IpAddr::V4(_), range)) => set.v4.insert(range),
                Some((IpAddr::V6(_), range)) => set.v6.insert(range),
                None => {
                    good = false;
                    let reason = "expected an address (10.0.0.1) or a block (10.0.0.0/8)";
                    at.index(i, |at| at.refuse(Quoted(text), reason));
                }
            }
        }
        good.then_some(set)
    }

    /// Whether an address is in one of the blocks: a binary search.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.v4.contains(bits(address)),
            IpAddr::V6(_) => self.v6.contains(bits(address)),
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// An address in a block, with the block's first and last.
fn block(text: &str) -> Option<(IpAddr, (u128, u128))> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let prefix: u32 = match prefix {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
        None => width,
    };
    let host_bits = width.checked_sub(prefix)?;
    let host_mask = u128::MAX.checked_shr(128 - host_bits).unwrap_or(0);
    let bits = bits(address);
    Some((address, (bits & !host_mask, bits | host_mask)))
}

/// Sorted ranges that do not overlap: first and last of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    /// Adds a range. Two blocks either do not touch or one is inside the other.
    fn insert(&mut self, (first, last): (u128, u128)) {
        // Inside one and the same: two others can hold its ends and leave a gap between them.
        if self.holding(first).is_some_and(|(_, end)| last <= *end) {
            return;
        }
        self.0.retain(|(inner, _)| !(first..=last).contains(inner));
        let place = self.0.partition_point(|(other, _)| *other < first);
        self.0.insert(place, (first, last));
    }

    fn contains(&self, address: u128) -> bool {
        self.holding(address).is_some()
    }

    /// The range that an address is in.
    fn holding(&self, address: u128) -> Option<&(u128, u128)> {
        let behind = self.0.partition_point(|(first, _)| *first <= address);
        behind.checked_sub(1).and_then(|i| self.0.get(i)).filter(|(_, last)| address <= *last)
    }
}

/// The address in a proxy's `address:port` or `[address]:port`; also without a port. `None` for anything else.
pub fn parse_peer_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        return if is_port(port) { address.parse::<Ipv6Addr>().ok().map(IpAddr::V6) } else { None };
    }
    // What stands before the first colon of an IPv6 address is no IPv4 one.
    let (address, port) = text.split_at_checked(text.find(':').unwrap_or(text.len()))?;
    match address.parse::<Ipv4Addr>() {
        Ok(address) if is_port(port) => Some(IpAddr::V4(address)),
        _ => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
    }
}

/// Nothing, or a colon and a port.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok() && !port.starts_with('+'))
}
