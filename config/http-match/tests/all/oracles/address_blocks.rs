//! A set of blocks holds what one of its blocks holds.

use crate::support::faultless;
use http_match::AddressBlocks;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses near each other, and a few at the ends of the space.
fn v4() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..64, (u32::MAX - 64)..=u32::MAX, any::<u32>()]
}

fn v6() -> impl Strategy<Value = u128> {
    prop_oneof![0u128..64, (u128::MAX - 64)..=u128::MAX, any::<u128>()]
}

fn masked<N: Copy + std::ops::Shr<u32, Output = N> + PartialEq + Default>(a: N, b: N, length: u8, bits: u8) -> bool {
    length == 0 || a >> u32::from(bits - length) == b >> u32::from(bits - length)
}

proptest! {
    #[test]
    fn of_v4(blocks in prop::collection::vec((v4(), 0u8..=32), 0..20), addresses in prop::collection::vec(v4(), 20)) {
        let texts: Vec<String> = blocks.iter().map(|(a, length)| format!("{}/{length}", Ipv4Addr::from(*a))).collect();
        let set = faultless(|at| AddressBlocks::parse(&texts, at)).unwrap();
        for address in addresses {
            let expected = blocks.iter().any(|(block, length)| masked(*block, address, *length, 32));
            prop_assert_eq!(set.contains(IpAddr::V4(address.into())), expected);
        }
    }

    #[test]
    fn of_v6(blocks in prop::collection::vec((v6(), 0u8..=128), 0..20), addresses in prop::collection::vec(v6(), 20)) {
        let texts: Vec<String> = blocks.iter().map(|(a, length)| format!("{}/{length}", Ipv6Addr::from(*a))).collect();
        let set = faultless(|at| AddressBlocks::parse(&texts, at)).unwrap();
        for address in addresses {
            let expected = blocks.iter().any(|(block, length)| masked(*block, address, *length, 128));
            prop_assert_eq!(set.contains(IpAddr::V6(address.into())), expected);
        }
    }
}
