//! Values that cannot hold what their field does not take.

mod host;
mod ip;
mod labels;
mod names;
mod numbers;
mod optional;
mod scoped_host;
mod structure;
mod times;

pub use host::Host;
pub(crate) use host::is_domain;
pub use ip::IpBlock;
pub(crate) use ip::parse_block;
pub use labels::Labels;
pub(crate) use names::is_base64;
pub use names::{DnsLabel, DnsName, HeaderName};
pub use numbers::{Count, Decimal, ErrorCode, Port, Status, WholePercent};
pub use optional::{Ignored, Optional, Unused};
pub use scoped_host::{EgressHost, GatewayHost, NamespaceScope};
pub use structure::Structure;
pub use times::Millis;

/// Defines texts that must satisfy a function. Their default is empty, and stands only where a fault was recorded.
macro_rules! checked_text {
    ($($(#[$attr:meta])* $name:ident: $check:path, $reason:expr;)*) => {$(
        $(#[$attr])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// Of a text; `None` when it is none.
            pub fn new(text: &str) -> Option<Self> {
                $check(text).then(|| Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl plugin_config::ReadNode for $name {
            fn read_node(&mut self, node: &plugin_config::Node<'_>, at: &mut plugin_config::At) {
                let plugin_config::Node::String(text) = node else { return at.refuse(node, "expected a string") };
                match Self::new(text) {
                    Some(read) => *self = read,
                    None => at.refuse(node, $reason),
                }
            }
        }

        impl plugin_config::FromNode for $name {}

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    )*};
}

use checked_text;
