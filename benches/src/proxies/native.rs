//! What Envoy has itself for what our six filters do in [`crate::configurations::six_filters`].

use serde_json::{Value, json};

pub(super) const PREFIX: &str = "type.googleapis.com/envoy.extensions";

/// RBAC, fault and CORS, before the router.
pub(super) fn filters() -> Vec<Value> {
    let rules = json!({"action": "ALLOW", "policies": {"allow": {
        "permissions": [{"and_rules": {"rules": [
            {"header": {"name": ":method", "string_match": {"exact": "GET"}}},
            {"url_path": {"path": {"prefix": "/store"}}},
        ]}}],
        "principals": [{"any": true}],
    }}});
    let abort = json!({"http_status": 200, "percentage": {"numerator": 1, "denominator": "MILLION"}});
    vec![
        json!({"name": "rbac", "typed_config": {"@type": format!("{PREFIX}.filters.http.rbac.v3.RBAC"), "rules": rules}}),
        json!({"name": "fault", "typed_config": {
            "@type": format!("{PREFIX}.filters.http.fault.v3.HTTPFault"), "abort": abort}}),
        json!({"name": "cors", "typed_config": {"@type": format!("{PREFIX}.filters.http.cors.v3.Cors")}}),
    ]
}

/// Weighted clusters, a header, a CORS policy, and mirroring.
pub(super) fn routes(mirrored: f64) -> Value {
    let clusters = json!([
        {"name": "upstream", "weight": 80},
        {"name": "upstream2", "weight": 20},
    ]);
    // As our filters have it: one in a million is as good as none, but the draw is made.
    let per_million = (mirrored * 10_000.0).max(1.0);
    let fraction = json!({"numerator": per_million, "denominator": "MILLION"});
    json!([{
        "match": {"prefix": "/store"},
        "request_headers_to_add": [{
            "header": {"key": "x-route", "value": "store"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
        "typed_per_filter_config": {"cors": {
            "@type": format!("{PREFIX}.filters.http.cors.v3.CorsPolicy"),
            "allow_origin_string_match": [{"exact": "https://shop.example.com"}],
        }},
        "route": {
            "weighted_clusters": {"clusters": clusters},
            "request_mirror_policies": [
                {"cluster": "upstream2", "runtime_fraction": {"default_value": fraction}}],
        },
    }])
}
