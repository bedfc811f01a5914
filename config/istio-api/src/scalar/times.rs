//! Times of a grain that proxies have.

use plugin_config::{At, Duration, FromNode, Node, ReadNode};
use std::fmt;

/// A time of whole milliseconds, at least one: what Istio takes for timeouts and intervals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(Duration);

impl Millis {
    /// The time.
    pub fn get(self) -> std::time::Duration {
        self.0.0
    }
}

impl ReadNode for Millis {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        let mut own = At::root();
        let time: Duration = plugin_config::read(node, &mut own);
        match time.whole_millis() {
            _ if !own.is_good() => Duration::default().read_node(node, at),
            Some(1..) => self.0 = time,
            _ => at.refuse(node, "expected at least 1ms, in whole milliseconds"),
        }
    }
}

impl FromNode for Millis {}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for Millis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
