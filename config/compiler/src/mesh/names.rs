//! Names as resources write them → names in full.

use istio_api::ExportTo;
use istio_api::scalar::DnsLabel;

/// A hostname in full and in lower case, as a resource of this namespace means it: a name without a dot is a service
/// beside the resource (Istio's short names).
pub(crate) fn full_name(host: &str, namespace: &str, domain: &str) -> String {
    let host = host.to_ascii_lowercase();
    if host.contains('.') || host.contains(':') || host == "*" {
        return host;
    }
    service_name(&host, namespace, domain)
}

/// The hostname of a Kubernetes service.
pub(crate) fn service_name(name: &str, namespace: &str, domain: &str) -> String {
    format!("{name}.{namespace}.svc.{domain}")
}

/// A gateway as a VirtualService of this namespace names it: `mesh`, or `namespace/name`.
pub(crate) fn gateway_name(written: &str, namespace: &str) -> String {
    match written.split_once('/') {
        _ if written == MESH => MESH.to_owned(),
        Some((".", name)) => format!("{namespace}/{name}"),
        Some(_) => written.to_owned(),
        None => match written.split_once('.') {
            // The name as it was written once: `name.namespace.svc.cluster.local`.
            Some((name, rest)) => format!("{}/{name}", rest.split('.').next().unwrap_or(rest)),
            None => format!("{namespace}/{written}"),
        },
    }
}

/// What stands for all sidecars among gateways.
pub(crate) const MESH: &str = "mesh";

/// Whether what is exported from one namespace is seen in another. What is not set is seen by all.
pub(crate) fn is_exported(export_to: &ExportTo, from: &str, to: &str) -> bool {
    match export_to {
        ExportTo::Unset | ExportTo::All => true,
        ExportTo::None => false,
        ExportTo::Namespaces { own, named } => {
            (*own && from == to) || named.iter().map(DnsLabel::as_str).any(|name| name == to)
        }
    }
}

/// Whether a hostname is one of those that a name with a wildcard stands for, or the same. Both in lower case.
pub(crate) fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.strip_prefix('*').unwrap_or(host).ends_with(suffix),
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_by_the_namespace_of_who_writes_them() {
        for (written, full) in [
            ("reviews", "reviews.shop.svc.cluster.local"),
            ("Reviews", "reviews.shop.svc.cluster.local"),
            ("reviews.other", "reviews.other"),
            ("*", "*"),
            ("*.example.com", "*.example.com"),
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "::1"),
        ] {
            assert_eq!(full_name(written, "shop", "cluster.local"), full);
        }
    }

    #[test]
    fn gateways_belong_to_namespaces() {
        for (written, name) in [
            ("mesh", "mesh"),
            ("edge", "shop/edge"),
            ("./edge", "shop/edge"),
            ("infra/edge", "infra/edge"),
            ("edge.infra.svc.cluster.local", "infra/edge"),
        ] {
            assert_eq!(gateway_name(written, "shop"), name);
        }
    }

    #[test]
    fn wildcards_cover_what_ends_alike() {
        for (pattern, host, covered) in [
            ("*", "a.b", true),
            ("*.b", "a.b", true),
            ("*.b", "*.a.b", true),
            ("*.a.b", "*.b", false),
            ("*.b", "b", false),
            ("a.b", "a.b", true),
        ] {
            assert_eq!(covers(pattern, host), covered, "{pattern} {host}");
        }
    }
}
