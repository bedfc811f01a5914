//! Connections that carry bytes: decided when they are accepted, and closed when that cannot be done.

#![cfg(not(target_family = "wasm"))]

use native_shim::{NativeProxy, Recorded, Settings};
use std::collections::BTreeMap;

/// Whether a connection from 10.1.2.3 to port 3306 passes, and whether it is closed, not only held.
fn connect(policies: &str) -> (bool, bool) {
    let address = |text: &str| text.as_bytes().to_vec();
    let properties = BTreeMap::from([
        ("source.address".to_owned(), address("10.1.2.3:4000")),
        ("source.direct_address".to_owned(), address("10.1.2.3:4000")),
        ("destination.address".to_owned(), address("10.0.0.1:3306")),
        ("destination.port".to_owned(), 3306_u64.to_le_bytes().to_vec()),
    ]);
    let mut proxy = NativeProxy::new(Settings { properties, ..Settings::default() });
    let configuration = format!(r#"{{"hostProperties": "OUTRIGGER", {policies}}}"#);
    proxy.add_plugin(authz::configure, configuration.as_bytes()).unwrap();
    let passes = proxy.connect();
    let counted = [proxy.metric("outrigger.authz.allowed"), proxy.metric("outrigger.authz.denied")];
    assert_eq!(counted, [i64::from(passes), i64::from(!passes)], "{policies}");
    (passes, proxy.take_recorded().contains(&Recorded::Close))
}

#[test]
fn by_what_is_known_of_them() {
    for (policies, passes) in [
        (r#""policies": []"#, true),
        (r#""policies": [{"name": "none"}]"#, false),
        (r#""policies": [{"name": "port", "rules": [{"to": [{"operation": {"ports": ["3306"]}}]}]}]"#, true),
        (r#""policies": [{"name": "port", "rules": [{"to": [{"operation": {"ports": ["80"]}}]}]}]"#, false),
        (
            r#""policies": [{"name": "net", "action": "DENY",
                "rules": [{"from": [{"source": {"ipBlocks": ["10.1.0.0/16"]}}]}]}]"#,
            false,
        ),
        (r#""policies": [{"name": "who", "rules": [{"from": [{"source": {"principals": ["*"]}}]}]}]"#, false),
        (
            r#""policies": [{"name": "dry", "dryRun": true, "rules": [{"from": [{"source": {"principals": ["*"]}}]}]}]"#,
            true,
        ),
    ] {
        assert_eq!(connect(policies), (passes, !passes), "{policies}");
    }
}

/// What only a request has cannot be told of a connection: it is closed, whatever the rule is for.
#[test]
fn what_cannot_be_told_closes_them() {
    for action in ["ALLOW", "DENY"] {
        let rule = r#"{"to": [{"operation": {"methods": ["GET"]}}]}"#;
        let policies = format!(r#""policies": [{{"name": "get", "action": "{action}", "rules": [{rule}]}}]"#);
        assert_eq!(connect(&policies), (false, true), "{action}");
    }
}

/// Nobody is asked about connections: where somebody would have to be, they are closed.
#[test]
fn providers_are_not_asked() {
    let policies = r#""providers": [{"name": "p", "envoyExtAuthzHttp": {"cluster": "p"}}],
        "policies": [{"name": "ask", "action": "CUSTOM", "provider": {"name": "p"}, "rules": [RULE]}]"#;
    assert_eq!(connect(&policies.replace("RULE", "{}")), (false, true));
    let elsewhere = r#"{"to": [{"operation": {"ports": ["80"]}}]}"#;
    assert_eq!(connect(&policies.replace("RULE", elsewhere)), (true, false));
}

/// Stock Envoy accepts connections before their handshake, so whoever is denied by identity would not be known.
#[test]
fn stock_envoy_knows_too_little() {
    let mut proxy = NativeProxy::new(Settings::default());
    let denied = r#"{"policies": [{"name": "who", "action": "DENY",
        "rules": [{"from": [{"source": {"principals": ["evil*"]}}]}]}]}"#;
    proxy.add_plugin(authz::configure, denied.as_bytes()).unwrap();
    assert!(!proxy.connect());
}
