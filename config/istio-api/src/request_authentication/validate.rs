//! What a RequestAuthentication's fields say together.

use super::{JwtRule, RequestAuthentication};
use crate::selector::check_targets;
use plugin_config::{At, Quoted};
use serde_json::Value;

/// Records every fault.
pub(super) fn check(authentication: &RequestAuthentication, at: &mut At) {
    let target_ref = authentication.target_ref.as_ref();
    check_targets(authentication.selector.as_ref(), target_ref, &authentication.target_refs, at);
    at.field("jwtRules", |at| {
        for (i, rule) in authentication.jwt_rules.iter().enumerate() {
            at.index(i, |at| check_rule(rule, at));
        }
    });
}

fn check_rule(rule: &JwtRule, at: &mut At) {
    if rule.issuer.is_none() && rule.jwks_uri.is_none() && rule.jwks_uri_snake.is_none() && rule.jwks.is_none() {
        at.field("issuer", |at| at.refuse("nothing", "needed to find the keys: there is no jwksUri and no jwks"));
    }
    let uris = [("jwksUri", rule.jwks_uri.as_deref()), ("jwks_uri", rule.jwks_uri_snake.as_deref())];
    for (field, uri) in uris {
        let Some(uri) = uri else { continue };
        let host = ["http://", "https://"].iter().find_map(|scheme| uri.strip_prefix(scheme));
        if !host.is_some_and(|host| !host.is_empty() && !host.starts_with('/')) {
            at.field(field, |at| at.refuse(Quoted(uri), "expected http:// or https:// and a host"));
        }
        if rule.jwks.is_some() {
            at.field("jwks", |at| at.refuse("", format!("only one of jwks and {field} can be given")));
        }
    }
    if let Some(jwks) = rule.jwks.as_deref() {
        at.field("jwks", |at| check_jwks(jwks, at));
    }
    let lists = [
        ("audiences", &rule.audiences),
        ("fromParams", &rule.from_params),
        ("fromCookies", &rule.from_cookies),
        ("spaceDelimitedClaims", &rule.space_delimited_claims),
    ];
    for (field, texts) in lists {
        at.field(field, |at| {
            for (i, _) in texts.iter().enumerate().filter(|(_, text)| text.is_empty()) {
                at.index(i, |at| at.refuse("\"\"", "must not be empty"));
            }
        });
    }
    at.field("outputClaimToHeaders", |at| {
        for (i, output) in rule.output_claim_to_headers.iter().enumerate() {
            at.index(i, |at| {
                let name = output.header.as_str();
                if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
                    at.field("header", |at| at.refuse(Quoted(name), "expected only A-Z, a-z, 0-9, - and _"));
                }
                if output.claim.is_empty() {
                    at.field("claim", |at| at.refuse("\"\"", "must not be empty"));
                }
            });
        }
    });
}

/// A set of keys is a JSON object with a list of objects under `keys` (RFC 7517, 5).
fn check_jwks(text: &str, at: &mut At) {
    let keys = serde_json::from_str::<Value>(text).ok();
    let keys = keys.as_ref().and_then(|set| set.get("keys")).and_then(Value::as_array);
    if !keys.is_some_and(|keys| keys.iter().all(Value::is_object)) {
        at.refuse(Quoted(text), "expected a JSON Web Key Set: {\"keys\": [{…}]}");
    }
}
