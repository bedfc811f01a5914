//! What an AuthorizationPolicy's fields say together.

use super::AuthorizationPolicy;
use crate::selector::check_targets;
use plugin_config::At;

/// Records every fault.
pub(super) fn check(policy: &AuthorizationPolicy, at: &mut At) {
    check_targets(policy.selector.as_ref(), policy.target_ref.as_ref(), &policy.target_refs, at);
}

/// Records what is taken, but hardly what was meant.
pub(super) fn warn(_policy: &AuthorizationPolicy, _at: &mut At) {}
