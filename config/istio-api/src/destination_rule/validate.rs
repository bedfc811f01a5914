//! What a DestinationRule's fields say together.

use super::DestinationRule;
use crate::Metadata;
use plugin_config::At;

/// Records every fault.
pub(super) fn check(_rule: &DestinationRule, _metadata: &Metadata, _at: &mut At) {}

/// Records what is taken, but hardly what was meant.
pub(super) fn warn(_rule: &DestinationRule, _at: &mut At) {}
