//! SPIFFE identities in certificates: `spiffe://trust.domain/ns/shop/sa/reviews`.

use crate::tls::error::TlsError;

/// Checks the URIs of a verified certificate. With trust domains each must be an identity of one of them, and there
/// must be one; without, those that look like SPIFFE identities must be well-formed.
pub(super) fn check(uris: &[String], trust_domains: &[String]) -> Result<(), TlsError> {
    if uris.is_empty() && !trust_domains.is_empty() {
        return Err(TlsError::NoIdentity);
    }
    for uri in uris {
        let claims = uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:"));
        if !claims && trust_domains.is_empty() {
            continue;
        }
        let found = trust_domain(uri).ok_or_else(|| TlsError::MalformedIdentity(uri.clone()))?;
        // Compared whole: `prod.example.evil` begins like `prod.example` and is another.
        if !trust_domains.is_empty() && !trust_domains.iter().any(|accepted| accepted == found) {
            return Err(TlsError::WrongTrustDomain(found.to_owned()));
        }
    }
    Ok(())
}

/// The trust domain of an identity; `None` for what is no identity of a workload.
pub(crate) fn trust_domain(uri: &str) -> Option<&str> {
    let (domain, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
    let of_domain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    let of_path = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(of_path);
    (!domain.is_empty() && domain.bytes().all(of_domain) && path.split('/').all(is_segment)).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(uris: &[&str], domains: &[&str]) -> Result<(), TlsError> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        check(&owned(uris), &owned(domains))
    }

    #[test]
    fn trust_domains_are_compared_whole() {
        let accepted = &["prod.example", "old.example"];
        for uri in ["spiffe://prod.example/ns/a/sa/b", "spiffe://old.example/w"] {
            assert_eq!(checked(&[uri], accepted), Ok(()), "{uri}");
        }
        for (uri, domain) in [
            ("spiffe://prod.example.evil/ns/a/sa/b", "prod.example.evil"),
            ("spiffe://xprod.example/ns/a/sa/b", "xprod.example"),
            ("spiffe://prod-example/ns/a/sa/b", "prod-example"),
            ("spiffe://prod/example/ns/a/sa/b", "prod"),
        ] {
            assert_eq!(checked(&[uri], accepted), Err(TlsError::WrongTrustDomain(domain.into())), "{uri}");
            assert_eq!(checked(&[uri], &[]), Ok(()), "{uri}");
        }
    }

    #[test]
    fn every_identity_counts() {
        let (ours, theirs) = ("spiffe://prod.example/a", "spiffe://evil.example/a");
        assert_eq!(checked(&[ours, "spiffe://prod.example/b"], &["prod.example"]), Ok(()));
        for uris in [[ours, theirs], [theirs, ours]] {
            let refused = Err(TlsError::WrongTrustDomain("evil.example".into()));
            assert_eq!(checked(&uris, &["prod.example"]), refused);
        }
        assert_eq!(checked(&[], &["prod.example"]), Err(TlsError::NoIdentity));
        assert_eq!(checked(&[], &[]), Ok(()));
    }

    #[test]
    fn malformed_identities() {
        for uri in [
            "spiffe://prod.example",
            "spiffe://prod.example/",
            "spiffe://prod.example/a/",
            "spiffe://prod.example//a",
            "spiffe://prod.example/../a",
            "spiffe://prod.example/a?b",
            "spiffe://prod.example/a#b",
            "spiffe://prod.example/%61",
            "spiffe://user@prod.example/a",
            "spiffe://prod.example:80/a",
            "spiffe://Prod.example/a",
            "spiffe:///a",
            "SPIFFE://prod.example/a",
            "spiffe:prod.example/a",
        ] {
            let refused = Err(TlsError::MalformedIdentity(uri.into()));
            assert_eq!(checked(&[uri], &["prod.example"]), refused);
            assert_eq!(checked(&[uri], &[]), refused);
        }
        let web = "https://prod.example/a";
        assert_eq!(checked(&[web], &[]), Ok(()));
        assert_eq!(checked(&[web], &["prod.example"]), Err(TlsError::MalformedIdentity(web.into())));
    }
}
