//! Plugin configurations with `n` entries of one shape, and a request that the last of them matches.
//!
//! The last entry is the worst case of a scan; for an index it is like any other.

use outrigger_tests::case_file::Peer;
use outrigger_tests::certs;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One shape of configuration.
pub struct Shape {
    /// `<filter>/<shape>`
    pub name: &'static str,
    /// The module it is for.
    pub module: &'static str,
    /// The configuration with `n` entries.
    pub configuration: fn(usize) -> Value,
    /// Headers of a request that the last of `n` entries decides, beside the ordinary ones.
    pub request: fn(usize) -> Vec<(String, String)>,
}

impl Shape {
    /// All headers of the request that the last of `n` entries decides.
    pub fn headers(&self, n: usize) -> Vec<(String, String)> {
        request(&(self.request)(n))
    }

    /// The properties of that request, by path joined with `.`: those of its client's certificate, where one matters.
    pub fn properties(&self, n: usize) -> BTreeMap<String, Vec<u8>> {
        let mut properties = BTreeMap::new();
        for (_, principal) in (self.request)(n).into_iter().filter(|(name, _)| name == PRINCIPAL) {
            certs::peer_properties(&Peer { uri_sans: vec![principal], sni: None }, &mut properties);
        }
        properties
    }
}

/// No header, but who the client is.
const PRINCIPAL: &str = "principal";

/// An ordinary request with some headers replaced.
pub fn request(own: &[(String, String)]) -> Vec<(String, String)> {
    let ordinary = [
        (":authority", "store.example.com"),
        (":path", "/item/x"),
        (":method", "GET"),
        (":scheme", "http"),
        ("user-agent", "bench/1"),
        ("accept", "*/*"),
        ("accept-language", "en"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "0f2c5a0e-6a0b-4f53-9d5e-2f6a5c1b7d11"),
    ];
    let mut headers: Vec<(String, String)> = ordinary
        .iter()
        .filter(|(name, _)| own.iter().all(|(own, _)| own != name))
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    headers.extend(own.iter().filter(|(name, _)| name != PRINCIPAL).cloned());
    headers
}

/// Fixed width, so that the length of what is compared does not grow with `n`.
fn number(i: usize) -> String {
    format!("{i:05}")
}

/// A token, or a set of keys; the text itself when it asks for none.
fn token(text: &str) -> String {
    outrigger_tests::jwt::expand(text).unwrap_or_else(|_| text.to_owned())
}

fn pair(name: &str, value: String) -> (String, String) {
    (name.to_owned(), value)
}

/// The shapes that are looked up in indexes.
pub const INDEXED: [Shape; 9] = [
    Shape {
        name: "header-rules/exact path",
        module: "header-rules",
        configuration: |n| routes(n, |i| json!({"uri": {"exact": format!("/item/{}", number(i))}})),
        request: |n| vec![pair(":path", format!("/item/{}", number(n - 1)))],
    },
    Shape {
        name: "header-rules/prefix path",
        module: "header-rules",
        configuration: |n| routes(n, |i| json!({"uri": {"prefix": format!("/item/{}/", number(i))}})),
        request: |n| vec![pair(":path", format!("/item/{}/detail", number(n - 1)))],
    },
    Shape {
        name: "header-rules/exact header",
        module: "header-rules",
        configuration: |n| routes(n, |i| json!({"headers": {"x-tenant": {"exact": number(i)}}})),
        request: |n| vec![pair("x-tenant", number(n - 1))],
    },
    Shape {
        name: "header-rules/virtual host",
        module: "header-rules",
        configuration: |n| {
            let host = |i| json!({"domains": [format!("h{}.example.com", number(i))], "routes": [{"id": number(i)}]});
            json!({"virtualHosts": (0..n).map(host).collect::<Vec<_>>()})
        },
        request: |n| vec![pair(":authority", format!("h{}.example.com", number(n - 1)))],
    },
    Shape {
        name: "authz/exact path",
        module: "authz",
        configuration: |n| policies(n, |i| json!({"to": [{"operation": {"paths": [format!("/item/{}", number(i))]}}]})),
        request: |n| vec![pair(":path", format!("/item/{}", number(n - 1)))],
    },
    Shape {
        name: "authz/prefix path",
        module: "authz",
        configuration: |n| {
            policies(n, |i| json!({"to": [{"operation": {"paths": [format!("/item/{}/*", number(i))]}}]}))
        },
        request: |n| vec![pair(":path", format!("/item/{}/detail", number(n - 1)))],
    },
    Shape {
        name: "authz/exact principal",
        module: "authz",
        configuration: |n| {
            policies(
                n,
                |i| json!({"from": [{"source": {"principals": [format!("cluster.local/ns/shop/sa/w{}", number(i))]}}]}),
            )
        },
        request: |n| vec![pair("principal", format!("spiffe://cluster.local/ns/shop/sa/w{}", number(n - 1)))],
    },
    Shape {
        name: "jwt-authn/issuer",
        module: "jwt-authn",
        configuration: |n| {
            let jwks = token("${jwks ed25519}");
            let provider = |i| json!({"name": "p", "issuer": format!("https://{}.test", number(i)), "jwks": jwks});
            json!({"providers": (0..n).map(provider).collect::<Vec<_>>()})
        },
        request: |n| {
            let token = token(&format!(r#"Bearer ${{jwt EdDSA {{"iss":"https://{}.test"}}}}"#, number(n - 1)));
            vec![pair("authorization", token)]
        },
    },
    Shape {
        name: "authz/exact header",
        module: "authz",
        configuration: |n| {
            policies(n, |i| json!({"when": [{"key": "request.headers[x-tenant]", "values": [number(i)]}]}))
        },
        request: |n| vec![pair("x-tenant", number(n - 1))],
    },
];

/// Shapes that no index helps: every entry is looked at.
pub const LINEAR: [Shape; 2] = [
    Shape {
        name: "header-rules/regex path",
        module: "header-rules",
        configuration: |n| routes(n, |i| json!({"uri": {"regex": format!("/[a-z]+/{}", number(i))}})),
        request: |n| vec![pair(":path", format!("/item/{}", number(n - 1)))],
    },
    Shape {
        name: "authz/path template",
        module: "authz",
        configuration: |n| {
            policies(n, |i| json!({"to": [{"operation": {"paths": [format!("/{{*}}/{}", number(i))]}}]}))
        },
        request: |n| vec![pair(":path", format!("/item/{}", number(n - 1)))],
    },
];

fn routes(n: usize, condition: impl Fn(usize) -> Value) -> Value {
    let route = |i| json!({"id": number(i), "match": [condition(i)]});
    let routes: Vec<Value> = (0..n).map(route).collect();
    json!({"virtualHosts": [{"domains": ["*"], "routes": routes}]})
}

fn policies(n: usize, rule: impl Fn(usize) -> Value) -> Value {
    let rules: Vec<Value> = (0..n).map(rule).collect();
    json!({"policies": [{"name": "p", "namespace": "shop", "action": "ALLOW", "rules": rules}]})
}

/// The six filters at work on one ordinary request, by module.
pub fn six_filters() -> Vec<(&'static str, Value)> {
    let route = "shop/store/http[0]";
    vec![
        (
            "authz",
            json!({"policies": [{"name": "allow", "namespace": "shop", "action": "ALLOW", "rules": [
                {"to": [{"operation": {"methods": ["GET"], "paths": ["/store*"]}}]}]}]}),
        ),
        (
            "header-rules",
            json!({"virtualHosts": [{"domains": ["store.example.com"], "routes": [
                {"id": route, "match": [{"uri": {"prefix": "/store"}}], "headers": {"request": {"set": {"x-route": "store"}}}}]}]}),
        ),
        (
            "fault-injection",
            // One in a million, which a load of millions must not fail by.
            json!({"routes": {route: {"abort": {"httpStatus": 200, "percentage": {"value": 0.0001}}}}}),
        ),
        ("cors", json!({"routes": {route: {"allowOrigins": [{"exact": "https://shop.example.com"}]}}})),
        (
            "weighted-shifting",
            json!({"routes": {route: {"destinations": [
                {"cluster": "upstream", "weight": 80}, {"cluster": "upstream2", "weight": 20}]}}}),
        ),
        (
            "mirroring",
            json!({"routes": {route: {"mirrors": [{"cluster": "upstream2", "percentage": {"value": 0.0001}}]}}}),
        ),
    ]
}

/// The configuration of the combined module that does the same.
pub fn combined() -> Value {
    let field = |name: &str| modules::LINKED.iter().find(|(module, _)| *module == name).map(|(_, field)| *field);
    let fields = six_filters().into_iter().filter_map(|(name, value)| Some((field(name)?.to_owned(), value)));
    Value::Object(fields.collect())
}
