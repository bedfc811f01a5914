//! `from[].source`: the identities of peers and of tokens, and the addresses requests come from.

use crate::config::Source;
use crate::field::{Field, Scope, Terms, quoted_list, refuse};
use plugin_config::At;

/// Most service accounts that a source may list: Istio's validation.
const MOST_SERVICE_ACCOUNTS: usize = 16;

/// Compiles one source.
pub(crate) fn compile(source: &Source, scope: &Scope<'_>, at: &mut At) -> Terms {
    let mut terms = Terms::default();
    let s = source;
    for (field, values, not_values) in [
        (Field::Principal, ("principals", &s.principals), ("notPrincipals", &s.not_principals)),
        (
            Field::RequestPrincipal,
            ("requestPrincipals", &s.request_principals),
            ("notRequestPrincipals", &s.not_request_principals),
        ),
        (Field::Namespace, ("namespaces", &s.namespaces), ("notNamespaces", &s.not_namespaces)),
        (
            Field::ServiceAccount,
            ("serviceAccounts", &s.service_accounts),
            ("notServiceAccounts", &s.not_service_accounts),
        ),
        (Field::TrustDomain, ("trustDomains", &s.trust_domains), ("notTrustDomains", &s.not_trust_domains)),
        (Field::DirectAddress, ("ipBlocks", &s.ip_blocks), ("notIpBlocks", &s.not_ip_blocks)),
        (Field::RemoteAddress, ("remoteIpBlocks", &s.remote_ip_blocks), ("notRemoteIpBlocks", &s.not_remote_ip_blocks)),
    ] {
        terms.field(field, (values.0, values.1), (not_values.0, not_values.1), scope, at);
    }
    if terms.terms.is_empty() && !terms.faulty {
        at.refuse("{}", "a source must have at least one field with a value");
        terms.faulty = true;
    }
    terms.faulty |= service_accounts_are_misused("serviceAccounts", &source.service_accounts, source, at);
    terms.faulty |= service_accounts_are_misused("notServiceAccounts", &source.not_service_accounts, source, at);
    terms
}

/// Records what Istio's validation does not let service accounts be.
fn service_accounts_are_misused(name: &'static str, accounts: &[String], source: &Source, at: &mut At) -> bool {
    let others = [&source.principals, &source.not_principals, &source.namespaces, &source.not_namespaces];
    let (many, mixed) = (accounts.len() > MOST_SERVICE_ACCOUNTS, others.iter().any(|list| !list.is_empty()));
    if many {
        refuse(name, "a longer list", "expected at most 16 service accounts", at);
    }
    if mixed && !accounts.is_empty() {
        let reason = "service accounts cannot stand beside principals or namespaces in one source";
        refuse(name, &quoted_list(accounts), reason, at);
    }
    many || (mixed && !accounts.is_empty())
}
