//! `when[]`: conditions over attributes that are named by keys.

use crate::config::Condition;
use crate::field::{Field, Names, Scope, Terms, quoted, refuse};
use plugin_config::At;

/// Adds the terms of one condition.
pub(crate) fn compile(condition: &Condition, terms: &mut Terms, scope: &mut Scope<'_>, at: &mut At) {
    let field = field(&condition.key, scope.names);
    if let Err(reason) = field {
        refuse("key", &quoted(&condition.key), reason, at);
        terms.faulty = true;
    }
    if condition.values.is_empty() && condition.not_values.is_empty() {
        at.refuse(quoted(&condition.key), "a condition must have values or notValues");
        terms.faulty = true;
    }
    if let Ok(field) = field {
        terms.field(field, ("values", &condition.values), ("notValues", &condition.not_values), scope, at);
    }
}

const KEYS: &str = "unknown key, expected request.headers[NAME], source.ip, remote.ip, source.namespace, \
                    source.principal, source.serviceAccount, source.trustDomain, request.auth.principal, \
                    request.auth.audiences, request.auth.presenter, request.auth.claims[NAME], destination.ip, \
                    destination.port, connection.sni or experimental.envoy.filters.NAME[KEY]";

/// What a key names.
fn field(key: &str, names: &mut Names) -> Result<Field, &'static str> {
    Ok(match key {
        "source.ip" => Field::DirectAddress,
        "remote.ip" => Field::RemoteAddress,
        "source.namespace" => Field::Namespace,
        "source.principal" => Field::Principal,
        "source.serviceAccount" => Field::ServiceAccount,
        "source.trustDomain" => Field::TrustDomain,
        "request.auth.principal" => Field::RequestPrincipal,
        "request.auth.audiences" => Field::Claim(names.share(vec!["aud".to_owned()])),
        "request.auth.presenter" => Field::Claim(names.share(vec!["azp".to_owned()])),
        "destination.ip" => Field::LocalAddress,
        "destination.port" => Field::Port,
        "connection.sni" => Field::ServerName,
        key => return bracketed(key, names),
    })
}

fn bracketed(key: &str, names: &mut Names) -> Result<Field, &'static str> {
    const MALFORMED: &str = "expected names in brackets: request.headers[NAME], request.auth.claims[NAME], \
                             request.auth.claims[NAME][NAME] or experimental.envoy.filters.NAME[KEY]";
    let (attribute, rest) = key.split_once('[').unwrap_or((key, ""));
    let is_metadata = attribute.starts_with("experimental.envoy.filters.");
    if !is_metadata && attribute != "request.headers" && attribute != "request.auth.claims" {
        return Err(KEYS);
    }
    let inner = rest.strip_suffix(']').filter(|inner| !inner.is_empty()).ok_or(MALFORMED)?;
    if attribute == "request.headers" {
        // `:authority` is what `host` reads: the codec moves the one into the other.
        let name = if inner.eq_ignore_ascii_case("host") { ":authority" } else { inner };
        return Ok(Field::Header(names.share(vec![name.to_ascii_lowercase()])));
    }
    if let Some(filter) = attribute.strip_prefix("experimental.").filter(|_| is_metadata) {
        return Ok(Field::Metadata(names.share(vec![filter.to_owned(), inner.to_owned()])));
    }
    let mut path = Vec::new();
    // `a][b`: behind the first each piece opens its own bracket.
    for (i, piece) in inner.split(']').enumerate() {
        let name = if i > 0 { piece.strip_prefix('[') } else { Some(piece) };
        match name {
            Some(name) if !name.is_empty() && !name.contains('[') => path.push(name.to_owned()),
            _ => return Err(MALFORMED),
        }
    }
    Ok(Field::Claim(names.share(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_attributes() {
        let read = |key: &str| format!("{:?}", field(key, &mut Names::default()));
        assert_eq!(read("request.headers[X-Token]"), "Ok(Header([\"x-token\"]))");
        assert_eq!(read("request.headers[Host]"), "Ok(Header([\":authority\"]))");
        assert_eq!(read("request.headers[:path]"), "Ok(Header([\":path\"]))");
        assert_eq!(read("request.auth.claims[a][b.c]"), "Ok(Claim([\"a\", \"b.c\"]))");
        assert_eq!(read("request.auth.claims[https://x/r]"), "Ok(Claim([\"https://x/r\"]))");
        let metadata = "Ok(Metadata([\"envoy.filters.http.x\", \"k\"]))";
        assert_eq!(read("experimental.envoy.filters.http.x[k]"), metadata);
        assert_eq!(read("source.ip"), "Ok(DirectAddress)");
    }

    #[test]
    fn other_keys_are_refused() {
        for key in [
            "",
            "source.name",
            "destination.labels[app]",
            "request.headers",
            "request.headers[]",
            "request.headers[x",
            "request.auth.claims[]",
            "request.auth.claims[a][]",
            "request.auth.claims[a]b[c]",
            "experimental.envoy.filters.x",
            "experimental.other[x]",
            "Source.ip",
        ] {
            assert!(field(key, &mut Names::default()).is_err(), "{key}");
        }
    }
}
