//! Conditions on the claims of a verified token (`@request.auth.claims.group` among the headers of a match), which only
//! gateways have. Filters match headers: jwt-authn leaves the claims that some route asks about in headers of their own,
//! which no client can set and no upstream sees.

use http_match::StringMatch;
use istio_api::virtual_service::CLAIMS;
use jwt_authn::{ClaimHeader, Config};
use plugin_config::ListMap;
use std::fmt::Write;

/// How the headers begin that have claims.
const HEADER: &str = "x-outrigger-claim-";

/// Whether the name of a header stands for a claim.
pub(super) fn is_claim(name: &str) -> bool {
    name.starts_with(CLAIMS)
}

/// Conditions on headers with those on claims made into such; the claims are added to what jwt-authn leaves.
pub(super) fn as_headers(written: &ListMap<StringMatch>, jwt_authn: &mut Config) -> ListMap<StringMatch> {
    let condition = |(name, wanted): &(String, StringMatch)| match name.strip_prefix(CLAIMS) {
        Some(claim) => (header(claim, jwt_authn), wanted.clone()),
        None => (name.clone(), wanted.clone()),
    };
    ListMap(written.0.iter().map(condition).collect())
}

/// The header that has a claim: `.a.b` or `[a][b]`. Names of headers know no case, those of claims do. Each spelling has
/// its own, so that no two conditions of a match become one.
fn header(claim: &str, jwt_authn: &mut Config) -> String {
    let mut header = HEADER.to_owned();
    for byte in claim.strip_prefix('.').unwrap_or(claim).bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => header.push(char::from(byte)),
            // Writing to a text does not fail.
            _ => write!(header, "%{byte:02x}").unwrap_or_default(),
        }
    }
    if !jwt_authn.claim_headers.iter().any(|known| known.header == header) {
        jwt_authn.claim_headers.push(ClaimHeader { header: header.clone(), claim: levels(claim) });
    }
    header
}

fn levels(claim: &str) -> Vec<String> {
    let levels = |inner: &str, separator: &str| inner.split(separator).map(str::to_owned).collect();
    match claim.strip_prefix('[').and_then(|claim| claim.strip_suffix(']')) {
        Some(inner) => levels(inner, "]["),
        None => levels(claim.strip_prefix('.').unwrap_or(claim), "."),
    }
}

/// The claim that a header has, as Istio writes it.
pub(crate) fn written(header: &str, jwt_authn: &Config) -> Option<String> {
    let known = jwt_authn.claim_headers.iter().find(|known| known.header == header)?;
    Some(format!("{CLAIMS}[{}]", known.claim.join("][")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_claim_has_a_header_of_its_own() {
        let mut config = Config::default();
        let names = [".group", "[group]", ".a.b", "[a][b]", "[a.b]", ".A.b", ".group"];
        let claims = names.map(|name| (format!("{CLAIMS}{name}"), StringMatch::Present));
        let other = [("x-group".to_owned(), StringMatch::Present)];
        let made = as_headers(&ListMap(claims.into_iter().chain(other).collect()), &mut config);
        let headers: Vec<&str> = made.0.iter().map(|(name, _)| name.strip_prefix(HEADER).unwrap_or(name)).collect();
        let wanted = ["group", "%5bgroup%5d", "a.b", "%5ba%5d%5bb%5d", "%5ba.b%5d", "%41.b", "group", "x-group"];
        assert_eq!(headers, wanted);
        let claims: Vec<String> = config.claim_headers.iter().map(|one| one.claim.join("/")).collect();
        assert_eq!(claims, ["group", "group", "a/b", "a/b", "a.b", "A/b"]);
        assert_eq!(written("x-outrigger-claim-a.b", &config).as_deref(), Some("@request.auth.claims[a][b]"));
        assert_eq!(written("x-group", &config), None);
    }
}
