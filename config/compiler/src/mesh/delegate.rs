//! Routes that a VirtualService leaves to another: Istio's `delegate`.

use super::names::is_exported;
use super::virtual_services::HttpEntry;
use http_match::StringMatch;
use istio_api::scalar::DnsLabel;
use istio_api::virtual_service::{HttpMatchRequest, HttpRoute};
use istio_api::{Resource, VirtualService};
use std::borrow::Cow;
use std::collections::HashMap;

/// VirtualServices that others may leave routes to: those without hosts, by namespace and name.
pub(crate) struct Delegates<'r>(HashMap<(&'r str, &'r str), &'r Resource<VirtualService>>);

impl<'r> Delegates<'r> {
    pub(crate) fn new(resources: &'r [Resource<VirtualService>]) -> Self {
        let delegates = resources.iter().filter(|resource| resource.spec.hosts.is_empty());
        let named = |resource: &'r Resource<VirtualService>| {
            ((resource.metadata.namespace(), resource.metadata.name.as_str()), resource)
        };
        Self(delegates.map(named).collect())
    }

    /// The one that a route of a namespace is left to; `None` when there is none, or none that may be seen from there.
    pub(crate) fn find(&self, namespace: &str, route: &HttpRoute) -> Option<&'r Resource<VirtualService>> {
        let delegate = route.delegate.as_ref()?;
        let place = delegate.namespace.as_ref().map_or(namespace, DnsLabel::as_str);
        let found = self.0.get(&(place, delegate.name.as_str())).copied()?;
        is_exported(&found.spec.export_to, place, namespace).then_some(found)
    }
}

/// The entries of a VirtualService's `http`. Those of a delegate stand where they are left to it; without the delegate
/// the route is not there.
pub(crate) fn entries<'r>(resource: &'r Resource<VirtualService>, delegates: &Delegates<'r>) -> Vec<HttpEntry<'r>> {
    let mut entries = Vec::with_capacity(resource.spec.http.len());
    for (index, root) in resource.spec.http.iter().enumerate() {
        if root.delegate.is_none() {
            entries.push(entry(resource, index, Cow::Borrowed(root), route_name(root, index)));
            continue;
        }
        let Some(delegate) = delegates.find(resource.metadata.namespace(), root) else { continue };
        for (place, route) in delegate.spec.http.iter().enumerate() {
            if let Some(merged) = merge(root, route) {
                let id = format!("{}-{}", route_name(root, index), route_name(route, place));
                entries.push(entry(delegate, place, Cow::Owned(merged), id));
            }
        }
    }
    entries
}

fn entry<'r>(
    owner: &'r Resource<VirtualService>,
    index: usize,
    route: Cow<'r, HttpRoute>,
    id: String,
) -> HttpEntry<'r> {
    HttpEntry { route, owner, path: format!("spec.http[{index}]"), id }
}

fn route_name(route: &HttpRoute, index: usize) -> String {
    route.name.as_ref().map_or_else(|| format!("http[{index}]"), Clone::clone)
}

/// A delegate's route under its root's conditions; `None` when they contradict each other. What the delegate says
/// stands over what the root says.
fn merge(root: &HttpRoute, delegate: &HttpRoute) -> Option<HttpRoute> {
    let matches = merge_matches(&root.matches, &delegate.matches)?;
    let mut merged = HttpRoute { matches, ..delegate.clone() };
    macro_rules! inherit {
        ($($field:ident)*) => {$(
            if merged.$field.is_none() {
                merged.$field.clone_from(&root.$field);
            }
        )*};
    }
    inherit!(rewrite direct_response timeout retries fault cors_policy headers);
    if merged.mirror.is_none() && merged.mirrors.is_empty() {
        merged.mirror.clone_from(&root.mirror);
        merged.mirrors.clone_from(&root.mirrors);
    }
    inherit!(mirror_percent mirror_percentage);
    Some(merged)
}

/// Every pair that does not contradict itself. A match of the delegate that fits none of the root's drops the route.
fn merge_matches(root: &[HttpMatchRequest], delegate: &[HttpMatchRequest]) -> Option<Vec<HttpMatchRequest>> {
    if root.is_empty() || delegate.is_empty() {
        return Some([root, delegate].concat());
    }
    let mut merged = Vec::new();
    for own in delegate {
        let before = merged.len();
        merged.extend(root.iter().filter_map(|outer| merge_match(outer, own)));
        if merged.len() == before {
            return None;
        }
    }
    Some(merged)
}

fn merge_match(root: &HttpMatchRequest, own: &HttpMatchRequest) -> Option<HttpMatchRequest> {
    if root.request.ignore_uri_case != own.request.ignore_uri_case {
        return None;
    }
    let mut merged = own.clone();
    let (outer, inner) = (&root.request, &mut merged.request);
    inner.uri = narrower(outer.uri.as_ref(), inner.uri.as_ref())?;
    inner.scheme = narrower(outer.scheme.as_ref(), inner.scheme.as_ref())?;
    inner.method = narrower(outer.method.as_ref(), inner.method.as_ref())?;
    inner.authority = narrower(outer.authority.as_ref(), inner.authority.as_ref())?;
    inner.port = same(outer.port, inner.port)?;
    unite(&mut inner.headers.0, &outer.headers.0);
    unite(&mut inner.without_headers.0, &outer.without_headers.0);
    unite(&mut inner.query_params.0, &outer.query_params.0);
    merged.source_namespace = same((*root.source_namespace).clone(), (*own.source_namespace).clone())?.into();
    let contradicts = |(key, value): (&String, &String)| own.source_labels.get(key).is_some_and(|own| own != value);
    if root.source_labels.iter().any(contradicts) {
        return None;
    }
    let labels = root.source_labels.iter().chain(own.source_labels.iter());
    merged.source_labels = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
    if merged.gateways.is_empty() {
        merged.gateways.clone_from(&root.gateways);
    } else if !root.gateways.is_empty() && !merged.gateways.iter().all(|gateway| root.gateways.contains(gateway)) {
        return None;
    }
    Some(merged)
}

/// Maps are united; what the delegate says stands.
fn unite(own: &mut Vec<(String, StringMatch)>, outer: &[(String, StringMatch)]) {
    for (key, value) in outer {
        if !own.iter().any(|(known, _)| known == key) {
            own.push((key.clone(), value.clone()));
        }
    }
}

/// What both say, or the only one that says something; `None` when they contradict each other.
#[expect(clippy::option_option, reason = "a contradiction is not the same as no condition")]
fn same<T: Clone + PartialEq>(outer: impl Into<Option<T>>, own: impl Into<Option<T>>) -> Option<Option<T>> {
    match (outer.into(), own.into()) {
        (Some(outer), Some(own)) if outer != own => None,
        (outer, own) => Some(own.or(outer)),
    }
}

/// The condition that both make: a root's prefix leaves the delegate what begins with it; everything else must agree.
#[expect(clippy::option_option, reason = "a contradiction is not the same as no condition")]
fn narrower(outer: Option<&StringMatch>, own: Option<&StringMatch>) -> Option<Option<StringMatch>> {
    let (Some(outer), Some(own)) = (outer, own) else { return Some(own.or(outer).cloned()) };
    let fits = match (outer, own) {
        (StringMatch::Prefix(outer), StringMatch::Prefix(own) | StringMatch::Exact(own)) => own.starts_with(outer),
        (StringMatch::Exact(outer), StringMatch::Exact(own)) => outer == own,
        _ => false,
    };
    fits.then(|| Some(own.clone()))
}
