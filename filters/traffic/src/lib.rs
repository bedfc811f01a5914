//! All six filters linked into one module, in Istio's order of effects: one VM, one crossing per callback, the
//! request headers read once.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

use filter_api::{Filter, Root};
use plugin_config::{Faults, Node};
