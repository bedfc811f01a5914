//! No input panics: neither a configuration nor a request.

use crate::support::with_faults;
use http_match::{
    AddressBlocks, AuthorityTableBuilder, HeaderList, HostPattern, HttpMatchRequest, MatchTableBuilder,
    NamespacePattern, PathPattern, PrincipalPattern, Regex, Request, RequestPrincipalPattern, ServiceAccountPattern,
    StringMatch, Substitution, TrustDomainPattern, TrustDomains, namespaces, parse_peer_address, split_target,
};
use proptest::prelude::*;

/// Texts of the characters that mean something somewhere.
const TELLING: &str = r"[a-b/*{}:.?+|()\[\]\\^$,#&=%<>PpQib0-9éK \-]{0,24}";

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..40), TELLING.prop_map(String::into_bytes)]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![TELLING, any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn of_expressions(pattern in text(), rewrite in text(), value in bytes()) {
        let (regex, faults) = with_faults(|at| Regex::compile(&pattern, at));
        prop_assert_eq!(regex.is_none(), faults.len() == 1);
        if let Some(regex) = regex {
            prop_assert!(!regex.is_full_match(&value) || value.starts_with(regex.literal_prefix()));
            if let (Some(substitution), _) = with_faults(|at| Substitution::compile(&rewrite, regex.groups(), at)) {
                let _ = regex.replace_all(&value, &substitution);
            }
        }
    }

    #[test]
    fn of_authorization_strings(written in text(), other in text(), value in bytes()) {
        let _ = HostPattern::parse(&written).matches_lower(&value);
        let _ = PrincipalPattern::parse(&written).matches(&value);
        let _ = NamespacePattern::parse(&written).matches(&value);
        let _ = RequestPrincipalPattern::parse(&written).matches(&value, &value);
        let _ = TrustDomains(vec![other.clone(), written.clone()]).expand_principal(&written);
        with_faults(|at| PathPattern::parse(&written, at).map(|pattern| pattern.matches(&value)));
        with_faults(|at| ServiceAccountPattern::parse(&written, &other, at).map(|pattern| pattern.matches(&value)));
        with_faults(|at| TrustDomainPattern::parse(&written, at).map(|pattern| pattern.matches(&value)));
        with_faults(|at| AddressBlocks::parse(std::slice::from_ref(&written), at));
        let _ = (parse_peer_address(&value), split_target(&value), namespaces(&value).count());
    }

    #[test]
    fn of_authorities(domains in prop::collection::vec(text(), 0..4), authority in bytes()) {
        with_faults(|at| {
            let mut builder = AuthorityTableBuilder::new();
            domains.iter().for_each(|domain| builder.insert(domain, (), at));
            let _ = builder.build().find(&authority);
        });
    }

    #[test]
    fn of_match_clauses(name in text(), written in text(), kind in 0..3, target in bytes(), value in bytes()) {
        let kinds = [StringMatch::Exact, StringMatch::Prefix, StringMatch::Regex];
        let matcher: StringMatch = kinds[kind as usize](written);
        let map = || [(name.as_str(), matcher.clone())].into_iter().collect();
        let clause = HttpMatchRequest {
            uri: Some(matcher.clone()),
            headers: map(),
            without_headers: map(),
            query_params: map(),
            ..HttpMatchRequest::default()
        };
        let mut headers = HeaderList::new();
        headers.add(":path", &target);
        headers.add(&name, &value);
        with_faults(|at| {
            let mut builder = MatchTableBuilder::new();
            builder.push(&[clause], at);
            let _ = builder.build().find(&Request::new(&headers));
        });
    }

    #[test]
    fn of_documents(document in "[{}\\[\\]\":,a-c0-9urixact ]{0,40}") {
        let _ = plugin_config::from_slice::<Vec<HttpMatchRequest>>(document.as_bytes());
        let _ = plugin_config::from_slice::<StringMatch>(document.as_bytes());
    }
}
