//! `/config_dump`: the snapshot that serves.

use crate::admin::answer::{Answer, Asked};
use crate::admin::redaction::redact;
use http::StatusCode;
use serde_json::json;

pub(super) fn config_dump(asked: &Asked<'_>) -> Answer {
    let snapshot = asked.status.snapshot();
    match serde_json::to_value(snapshot.as_deref()) {
        Ok(mut snapshot) => {
            redact(&mut snapshot);
            Answer::json(&json!({ "snapshot": snapshot, "refused_configuration": asked.status.refused() }))
        }
        Err(error) => {
            let reason = format!("the snapshot cannot be written as JSON: {error}\n");
            Answer::text(reason).with_status(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}
