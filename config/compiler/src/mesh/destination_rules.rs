//! DestinationRules by the hosts that they are for.

use super::by_age;
use super::names::{covers, full_name, is_exported};
use super::service::Service;
use super::settings::MeshSettings;
use super::workload::Workload;
use istio_api::destination_rule::{
    ClientTls, ConnectionPool, LoadBalancer, OutlierDetection, ProxyProtocol, RetryBudget, Subset, TrafficPolicy,
    Tunnel,
};
use istio_api::{DestinationRule, ExportTo, Resource};
use std::collections::HashMap;

/// All DestinationRules, by namespace.
#[derive(Debug, Default)]
pub(crate) struct DestinationRules<'r>(HashMap<&'r str, OfNamespace<'r>>);

/// The rules of a namespace, the oldest of a host first.
#[derive(Debug, Default)]
struct OfNamespace<'r> {
    exact: HashMap<String, Vec<&'r Resource<DestinationRule>>>,
    /// The longest first.
    wildcards: Vec<(String, Vec<&'r Resource<DestinationRule>>)>,
}

/// What applies to a service for a client: the rules of one host in one namespace, the oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceRules<'r>(Vec<&'r Resource<DestinationRule>>);

/// A part of a rule, and where it stands.
#[derive(Debug)]
pub(crate) struct Said<'r, T> {
    pub(crate) value: &'r T,
    pub(crate) rule: &'r Resource<DestinationRule>,
    pub(crate) path: String,
}

/// What is said about a cluster, block by block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy<'r> {
    pub(crate) load_balancer: Option<Said<'r, LoadBalancer>>,
    pub(crate) connection_pool: Option<Said<'r, ConnectionPool>>,
    pub(crate) outlier_detection: Option<Said<'r, OutlierDetection>>,
    pub(crate) tls: Option<Said<'r, ClientTls>>,
    pub(crate) tunnel: Option<Said<'r, Tunnel>>,
    pub(crate) proxy_protocol: Option<Said<'r, ProxyProtocol>>,
    pub(crate) retry_budget: Option<Said<'r, RetryBudget>>,
}

impl<T> Clone for Said<'_, T> {
    fn clone(&self) -> Self {
        Self { value: self.value, rule: self.rule, path: self.path.clone() }
    }
}

impl<'r> DestinationRules<'r> {
    pub(crate) fn new(resources: &'r [Resource<DestinationRule>], settings: &MeshSettings<'_>) -> Self {
        let mut rules: HashMap<&str, OfNamespace<'r>> = HashMap::new();
        for resource in by_age(resources) {
            let namespace = resource.metadata.namespace();
            let host = full_name(resource.spec.host.as_str(), namespace, &settings.domain);
            rules.entry(namespace).or_default().add(host, resource);
        }
        rules.values_mut().for_each(|of| of.wildcards.sort_by_key(|(host, _)| std::cmp::Reverse(host.len())));
        Self(rules)
    }

    /// What applies to a service for a client: the first namespace that says something, of the client's, the service's
    /// and the root's, says all.
    pub(crate) fn of(&self, service: &Service, client: &Workload, root_namespace: &str) -> ServiceRules<'r> {
        let (own, other) = (client.namespace.as_str(), service.namespace.as_str());
        let places = [own, other, root_namespace];
        let rules = places.iter().enumerate().find_map(|(i, namespace)| {
            let all = self.0.get(namespace)?;
            // In the root namespace its own clients see at first what is for them alone.
            let private_only = i == 0 && own == root_namespace;
            let mut seen = |rule: &Resource<DestinationRule>| {
                let export_to = &rule.spec.export_to;
                let shown = is_exported(export_to, namespace, own) && (!private_only || is_private(export_to));
                shown && selects(rule, client)
            };
            all.find(&service.hostname, &mut seen)
        });
        ServiceRules(rules.unwrap_or_default())
    }
}

fn is_private(export_to: &ExportTo) -> bool {
    matches!(export_to, ExportTo::Namespaces { own: true, named } if named.is_empty())
}

/// Whether a rule is for a client: those with a selector are for workloads of their own namespace.
fn selects(rule: &Resource<DestinationRule>, client: &Workload) -> bool {
    rule.spec.workload_selector.as_ref().is_none_or(|selector| {
        rule.metadata.namespace() == client.namespace && selector.match_labels.select(&client.labels)
    })
}

impl<'r> OfNamespace<'r> {
    fn add(&mut self, host: String, rule: &'r Resource<DestinationRule>) {
        if !host.starts_with('*') {
            return self.exact.entry(host).or_default().push(rule);
        }
        match self.wildcards.iter_mut().find(|(known, _)| *known == host) {
            Some((_, rules)) => rules.push(rule),
            None => self.wildcards.push((host, vec![rule])),
        }
    }

    /// The rules of the closest host that has any; those with a selector stand over those without.
    fn find(
        &self,
        host: &str,
        seen: &mut dyn FnMut(&Resource<DestinationRule>) -> bool,
    ) -> Option<Vec<&'r Resource<DestinationRule>>> {
        let wild = self.wildcards.iter().filter(|(pattern, _)| covers(pattern, host)).map(|(_, rules)| rules);
        self.exact.get(host).into_iter().chain(wild).find_map(|rules| {
            let seen: Vec<_> = rules.iter().copied().filter(|rule| seen(rule)).collect();
            let (selected, rest): (Vec<_>, Vec<_>) =
                seen.into_iter().partition(|rule| rule.spec.workload_selector.is_some());
            let chosen = if selected.is_empty() { rest } else { selected };
            (!chosen.is_empty()).then_some(chosen)
        })
    }
}

impl<'r> ServiceRules<'r> {
    /// Every subset, each name once: the first that has it defines it.
    pub(crate) fn subsets(&self) -> Vec<Said<'r, Subset>> {
        let mut subsets: Vec<Said<'r, Subset>> = Vec::new();
        for rule in &self.0 {
            for (index, subset) in rule.spec.subsets.iter().enumerate() {
                if !subsets.iter().any(|known| known.value.name == subset.name) {
                    subsets.push(Said { value: subset, rule, path: format!("spec.subsets[{index}]") });
                }
            }
        }
        subsets
    }

    /// A subset by its name.
    pub(crate) fn subset(&self, name: &str) -> Option<Said<'r, Subset>> {
        self.subsets().into_iter().find(|subset| subset.value.name.as_str() == name)
    }

    /// What is said about a port, of a subset or of the service as a whole.
    pub(crate) fn policy(&self, port: u16, subset: Option<&Said<'r, Subset>>) -> Policy<'r> {
        let top = self.0.iter().find_map(|rule| Some((*rule, rule.spec.traffic_policy.as_ref()?)));
        let mut policy = Policy::default();
        if let Some((rule, written)) = top {
            policy.put(rule, "spec.trafficPolicy", written, port);
        }
        if let Some(subset) = subset
            && let Some(written) = &subset.value.traffic_policy
        {
            policy.put(subset.rule, &format!("{}.trafficPolicy", subset.path), written, port);
        }
        policy
    }
}

impl<'r> Policy<'r> {
    /// Puts what is written over what is there, block by block; what is written about the port stands for all four
    /// blocks that ports have, those too that it leaves out.
    fn put(&mut self, rule: &'r Resource<DestinationRule>, path: &str, written: &'r TrafficPolicy, port: u16) {
        macro_rules! put {
            ($($field:ident $name:literal)*) => {$(
                if let Some(value) = &written.$field {
                    self.$field = Some(Said { value, rule, path: format!("{path}.{}", $name) });
                }
            )*};
        }
        put! {
            load_balancer "loadBalancer" connection_pool "connectionPool" outlier_detection "outlierDetection"
            tls "tls" tunnel "tunnel" proxy_protocol "proxyProtocol" retry_budget "retryBudget"
        }
        let mut ports = written.port_level_settings.iter().enumerate();
        let own = ports.find(|(_, settings)| settings.port.is_some_and(|wanted| wanted.number.get() == port));
        let Some((index, own)) = own else { return };
        macro_rules! replace {
            ($($field:ident $name:literal)*) => {$(
                self.$field = own.$field.as_ref().map(|value| {
                    Said { value, rule, path: format!("{path}.portLevelSettings[{index}].{}", $name) }
                });
            )*};
        }
        replace! {
            load_balancer "loadBalancer" connection_pool "connectionPool" outlier_detection "outlierDetection" tls "tls"
        }
    }
}
