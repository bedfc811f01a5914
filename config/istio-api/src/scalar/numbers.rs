//! Numbers of a range.

use plugin_config::{At, FromNode, Node, ReadNode, read};
use std::fmt;

macro_rules! whole_numbers {
    ($($(#[$attr:meta])* $name:ident: $type:ty = $least:literal..=$most:expr;)*) => {$(
        $(#[$attr])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($type);

        impl $name {
            /// Of a number; `None` outside the range.
            pub fn new(number: $type) -> Option<Self> {
                ($least..=$most).contains(&number).then_some(Self(number))
            }

            /// The number.
            pub fn get(self) -> $type {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self($least)
            }
        }

        impl ReadNode for $name {
            fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
                // In a reading of its own: what the type takes says nothing to whoever wrote the number.
                let mut own = At::root();
                let number: i64 = read(node, &mut own);
                let number = <$type>::try_from(number).ok().filter(|_| own.is_good());
                match number.and_then(Self::new) {
                    Some(number) => *self = number,
                    None => at.refuse(node, format!("expected a whole number from {} to {}", $least, $most)),
                }
            }
        }

        impl FromNode for $name {}

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(&self.0, serializer)
            }
        }
    )*};
}

whole_numbers! {
    /// A port.
    Port: u16 = 1..=65535;
    /// A status that a response may have.
    Status: u16 = 200..=599;
    /// A status that a server may answer with.
    ErrorCode: u16 = 100..=599;
    /// A percentage without a fraction.
    WholePercent: u8 = 0..=100;
    /// How many of something: Istio's signed 32 bits, of which it takes none below zero.
    Count: u32 = 0..=0x7FFF_FFFF;
}

/// A number with a fraction from 0 on: a percentage to 100 where its field says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Decimal(f64);

impl Decimal {
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl ReadNode for Decimal {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        let number = match node {
            Node::Number(number) => number.to_string().parse::<f64>().ok(),
            _ => None,
        };
        match number.filter(|number| number.is_finite() && *number >= 0.0) {
            Some(number) => self.0 = number,
            None => at.refuse(node, "expected a number, 0 or more"),
        }
    }
}

impl FromNode for Decimal {}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}
