//! `/listeners`.

use crate::admin::answer::{Answer, Asked};
use serde_json::{Value as Json, json};
use std::net::SocketAddr;

pub(super) fn listeners(asked: &Asked<'_>) -> Answer {
    let listeners = asked.status.listeners();
    match asked.json() {
        Ok(false) => Answer::text(listeners.iter().map(|(name, address)| format!("{name}::{address}\n")).collect()),
        Ok(true) => {
            let statuses: Vec<Json> = listeners
                .iter()
                .map(|(name, address)| json!({ "name": name, "local_address": socket_address(*address) }))
                .collect();
            Answer::json(&json!({ "listener_statuses": statuses }))
        }
        Err(answer) => answer,
    }
}

/// An address in Envoy's JSON.
pub(super) fn socket_address(address: SocketAddr) -> Json {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}
