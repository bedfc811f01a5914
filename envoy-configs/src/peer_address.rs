//! How authz learns the direct peer's address from stock Envoy, which has no property of its own for it.

use compiler::snapshot::Plugin;
use serde_json::{Value, json};

/// The filter state that `set_filter_state` fills, and authz reads as a property.
pub(crate) const FILTER_STATE: &str = "outrigger.peer_address";

/// The address, in Envoy's notation.
pub(crate) const DIRECT_ADDRESS: &str = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%";

/// The configuration of a plugin of ours, for stock Envoy.
pub(crate) fn configuration(plugin: &Plugin) -> Value {
    let mut configuration = plugin.configuration.clone();
    if plugin.module == "authz"
        && let Value::Object(fields) = &mut configuration
    {
        fields.insert("hostProperties".to_owned(), "ENVOY".into());
        if is_asked(plugin) {
            fields.insert("peerAddressProperty".to_owned(), json!(["filter_state", FILTER_STATE]));
        }
    }
    configuration
}

/// Whether a plugin asks for the direct peer's address: a policy by `ipBlocks` or `source.ip`, or an authorizer that is
/// told it. One that asks and is not told refuses the request.
pub(crate) fn is_asked(plugin: &Plugin) -> bool {
    plugin.module == "authz" && names_it(&plugin.configuration)
}

fn names_it(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| matches!(key.as_str(), "ipBlocks" | "notIpBlocks" | "providers") || names_it(value)),
        Value::Array(items) => items.iter().any(names_it),
        Value::String(text) => text == "source.ip",
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The filter that fills the filter state.
pub(crate) fn filter() -> Value {
    json!({
        "name": FILTER_STATE,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
            "on_request_headers": [state(FILTER_STATE, DIRECT_ADDRESS)],
        },
    })
}

/// A text of Envoy's own in the filter state, where plugins and routes see it.
pub(crate) fn state(key: &str, format: &str) -> Value {
    json!({
        "object_key": key,
        "factory_key": "envoy.string",
        "format_string": {"text_format_source": {"inline_string": format}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_told_where_it_is_asked_for() {
        let rule = |when: Value| json!({"policies": [{"rules": [when]}], "hostProperties": "OUTRIGGER"});
        for (configuration, asked) in [
            (rule(json!({"from": [{"source": {"ipBlocks": ["10.0.0.0/8"]}}]})), true),
            (rule(json!({"from": [{"source": {"notIpBlocks": ["10.0.0.0/8"]}}]})), true),
            (rule(json!({"when": [{"key": "source.ip", "values": ["10.0.0.1"]}]})), true),
            (json!({"providers": [{"name": "a"}]}), true),
            (rule(json!({"from": [{"source": {"remoteIpBlocks": ["10.0.0.0/8"]}}]})), false),
            (rule(json!({"to": [{"operation": {"paths": ["/ipBlocks"]}}]})), false),
        ] {
            let plugin = Plugin { module: "authz".to_owned(), configuration, ..Plugin::default() };
            let made = super::configuration(&plugin);
            assert_eq!(is_asked(&plugin), asked, "{made}");
            assert_eq!(made["hostProperties"], "ENVOY");
            assert_eq!(made.get("peerAddressProperty").is_some(), asked, "{made}");
        }
        let other = Plugin { module: "cors".to_owned(), configuration: json!({"a": 1}), ..Plugin::default() };
        assert_eq!(super::configuration(&other), json!({"a": 1}));
    }
}
