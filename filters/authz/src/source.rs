//! `from[].source`: the identities of peers and of tokens, and the addresses requests come from.

use crate::config::Source;
use crate::field::{Field, Scope, Terms};
use plugin_config::At;

/// Most service accounts that a source may list: Istio's validation.
const MOST_SERVICE_ACCOUNTS: usize = 16;

/// Compiles one source.
pub(crate) fn compile(source: &Source, scope: &mut Scope<'_>, at: &mut At) -> Option<Terms> {
    if *source == Source::default() {
        return at.fault("{}", "a source must have at least one field with a value");
    }
    let mut terms = Terms::default();
    let mut field = |field, values, not_values| terms.field(&field, values, not_values, scope, at);
    let s = source;
    let compiled = [
        field(Field::Principal, ("principals", &s.principals), ("notPrincipals", &s.not_principals)),
        field(
            Field::RequestPrincipal,
            ("requestPrincipals", &s.request_principals),
            ("notRequestPrincipals", &s.not_request_principals),
        ),
        field(Field::Namespace, ("namespaces", &s.namespaces), ("notNamespaces", &s.not_namespaces)),
        field(
            Field::ServiceAccount,
            ("serviceAccounts", &s.service_accounts),
            ("notServiceAccounts", &s.not_service_accounts),
        ),
        field(Field::TrustDomain, ("trustDomains", &s.trust_domains), ("notTrustDomains", &s.not_trust_domains)),
        field(Field::DirectAddress, ("ipBlocks", &s.ip_blocks), ("notIpBlocks", &s.not_ip_blocks)),
        field(
            Field::RemoteAddress,
            ("remoteIpBlocks", &s.remote_ip_blocks),
            ("notRemoteIpBlocks", &s.not_remote_ip_blocks),
        ),
    ];
    let accounts = check_service_accounts(source, at);
    (compiled.iter().all(Option::is_some) && accounts.is_some()).then_some(terms)
}

fn check_service_accounts(source: &Source, at: &mut At) -> Option<()> {
    let lists = [
        ("serviceAccounts", &source.service_accounts),
        ("notServiceAccounts", &source.not_service_accounts),
    ];
    let others = [&source.principals, &source.not_principals, &source.namespaces, &source.not_namespaces];
    let mut good = Some(());
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        if list.len() > MOST_SERVICE_ACCOUNTS {
            good = at.field(name, |at| at.fault(list.len(), "expected at most 16 service accounts"));
        }
        if others.iter().any(|list| !list.is_empty()) {
            let reason = "service accounts cannot stand beside principals or namespaces in one source";
            good = at.field(name, |at| at.fault(format_args!("{list:?}"), reason));
        }
    }
    good
}
