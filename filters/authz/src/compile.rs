//! The configuration as written → policies that can be evaluated. Every fault is found before anything is used.

use crate::config::{self, Config, HostProperties, Policy, PolicyAction};
use crate::decision::{Custom, Policies, PolicyName};
use crate::ext_authz;
use crate::field::{Names, Scope, Terms};
use crate::index::{Attribute, RuleSetBuilder};
use crate::rule::{Clause, Rule};
use crate::{condition, operation, source};
use http_match::TrustDomains;
use plugin_config::At;
use std::collections::BTreeMap;

/// Compiles the providers. Names must be unique.
pub(crate) fn providers(config: &Config, at: &mut At) -> Option<Vec<ext_authz::Provider>> {
    let compiled: Vec<Option<ext_authz::Provider>> = at.field("providers", |at| {
        let each = config.providers.iter().enumerate();
        each.map(|(i, provider)| {
            at.index(i, |at| {
                if config.providers.iter().take(i).any(|earlier| earlier.name == provider.name) {
                    return at.field("name", |at| at.fault(&provider.name, "another provider has this name"));
                }
                ext_authz::compile(provider, at)
            })
        })
        .collect()
    });
    compiled.into_iter().collect()
}

/// Path of the property with the direct peer's address; empty when the host tells it nowhere.
pub(crate) fn peer_address(config: &Config, at: &mut At) -> Option<Vec<String>> {
    let path = &config.peer_address_property;
    if path.iter().any(String::is_empty) {
        return at.field("peerAddressProperty", |at| {
            at.fault(format_args!("{path:?}"), "expected the segments of a property's path, none empty")
        });
    }
    Some(match config.host_properties {
        HostProperties::Outrigger if path.is_empty() => vec!["outrigger.peer_address".to_owned()],
        _ => path.clone(),
    })
}

/// Compiles the policies, for providers that exist by name.
pub(crate) fn policies(config: &Config, direct_address: bool, at: &mut At) -> Option<Policies> {
    let mut domains = vec![config.workload.trust_domain.clone()];
    domains.extend(config.workload.trust_domain_aliases.iter().cloned());
    let domains = TrustDomains(domains);
    let workload = check_workload(config, at);
    let mut compiler = Compiler { domains, direct_address, names: Names::default(), sets: Sets::default() };
    let compiled: Vec<Option<PolicyName>> = at.field("policies", |at| {
        let each = config.policies.iter().enumerate();
        each.map(|(i, policy)| at.index(i, |at| compiler.policy(i, policy, &config.workload.namespace, at))).collect()
    });
    let names: Vec<PolicyName> = compiled.into_iter().collect::<Option<_>>()?;
    workload.map(|()| compiler.sets.build(names, config))
}

fn check_workload(config: &Config, at: &mut At) -> Option<()> {
    let workload = &config.workload;
    at.field("workload", |at| {
        let mut good = Some(());
        if workload.namespace.is_empty() || workload.namespace.contains('/') {
            good = at.field("namespace", |at| at.fault(format_args!("{:?}", workload.namespace), "expected a namespace"));
        }
        if workload.trust_domain.is_empty() || workload.trust_domain.contains('/') {
            let value = format_args!("{:?}", workload.trust_domain);
            good = at.field("trustDomain", |at| at.fault(value, "expected a trust domain, without spiffe:// and path"));
        }
        for (i, alias) in workload.trust_domain_aliases.iter().enumerate() {
            if alias.is_empty() || alias.contains('/') {
                good = at.field("trustDomainAliases", |at| {
                    at.index(i, |at| at.fault(format_args!("{alias:?}"), "expected a trust domain"))
                });
            }
        }
        good
    })
}

/// What compiling policies needs and collects.
struct Compiler {
    domains: TrustDomains,
    direct_address: bool,
    names: Names,
    sets: Sets,
}

/// Rules by what becomes of the requests they match.
#[derive(Default)]
struct Sets {
    allow: RuleSetBuilder,
    deny: RuleSetBuilder,
    audit: RuleSetBuilder,
    custom: BTreeMap<String, RuleSetBuilder>,
    dry_allow: RuleSetBuilder,
    dry_deny: RuleSetBuilder,
    dry_custom: RuleSetBuilder,
    /// Whether there is an ALLOW policy: one without rules counts.
    has_allow: bool,
    has_dry_allow: bool,
}

impl Sets {
    fn of(&mut self, policy: &Policy) -> &mut RuleSetBuilder {
        match (policy.action, policy.dry_run.0) {
            (PolicyAction::Allow, false) => &mut self.allow,
            (PolicyAction::Allow, true) => &mut self.dry_allow,
            (PolicyAction::Deny, false) => &mut self.deny,
            (PolicyAction::Deny, true) => &mut self.dry_deny,
            // An audit decides nothing, dry or not.
            (PolicyAction::Audit, _) => &mut self.audit,
            (PolicyAction::Custom, true) => &mut self.dry_custom,
            (PolicyAction::Custom, false) => {
                let provider = policy.provider.as_ref().map_or(String::new(), |provider| provider.name.clone());
                self.custom.entry(provider).or_default()
            }
        }
    }

    fn build(self, names: Vec<PolicyName>, config: &Config) -> Policies {
        let one_provider = self.custom.len() < 2 || config.multiple_providers;
        let custom = self.custom.into_iter().map(|(name, rules)| {
            let position = config.providers.iter().position(|provider| provider.name == name);
            Custom { provider: position.filter(|_| one_provider), name: name.into(), rules: rules.build() }
        });
        Policies {
            names,
            custom: custom.collect(),
            allow: self.allow.build(),
            deny: self.deny.build(),
            audit: self.audit.build(),
            dry_allow: self.dry_allow.build(),
            dry_deny: self.dry_deny.build(),
            dry_custom: self.dry_custom.build(),
            has_allow: self.has_allow,
            has_dry_allow: self.has_dry_allow,
        }
    }
}

impl Compiler {
    fn policy(&mut self, index: usize, policy: &Policy, namespace: &str, at: &mut At) -> Option<PolicyName> {
        let namespace = policy.namespace.as_deref().unwrap_or(namespace);
        let checked = check_policy(policy, namespace, at);
        match (policy.action, policy.dry_run.0) {
            (PolicyAction::Allow, false) => self.sets.has_allow = true,
            (PolicyAction::Allow, true) => self.sets.has_dry_allow = true,
            _ => {}
        }
        let rules: Vec<Option<()>> = at.field("rules", |at| {
            let each = policy.rules.iter().enumerate();
            each.map(|(i, rule)| {
                at.index(i, |at| {
                    let (rule, keys) = self.rule((index, i), rule, (policy, namespace), at)?;
                    self.sets.of(policy).push(rule, keys);
                    Some(())
                })
            })
            .collect()
        });
        rules.into_iter().collect::<Option<()>>().and(checked)?;
        Some(PolicyName { namespace: namespace.into(), name: policy.name.as_str().into() })
    }

    fn rule(
        &mut self,
        (policy_index, number): (usize, usize),
        rule: &config::Rule,
        (policy, namespace): (&Policy, &str),
        at: &mut At,
    ) -> Option<(Rule, Vec<http_match::Term<Attribute>>)> {
        let mut scope = Scope {
            policy: &policy.name,
            namespace,
            custom: policy.action == PolicyAction::Custom,
            domains: &self.domains,
            direct_address: self.direct_address,
            names: &mut self.names,
        };
        let scope = &mut scope;
        let from = at.field("from", |at| {
            alternatives(rule.from.as_deref(), at, |from, at| {
                at.field("source", |at| source::compile(&from.source, scope, at))
            })
        });
        let to = at.field("to", |at| {
            alternatives(rule.to.as_deref(), at, |to, at| {
                at.field("operation", |at| operation::compile(&to.operation, scope, at))
            })
        });
        let mut when = Terms::default();
        let conditions: Vec<Option<()>> = at.field("when", |at| {
            let each = rule.when.iter().enumerate();
            each.map(|(i, condition)| at.index(i, |at| condition::compile(condition, &mut when, scope, at))).collect()
        });
        conditions.into_iter().collect::<Option<()>>()?;
        let ((from, mut keys), (to, to_keys)) = (from?, to?);
        keys.extend(to_keys);
        keys.extend(when.keys);
        let (policy, number) = (u32::try_from(policy_index).ok()?, u32::try_from(number).ok()?);
        Some((Rule { policy, number, from, to, when: when.terms.into() }, keys))
    }
}

fn check_policy(policy: &Policy, namespace: &str, at: &mut At) -> Option<()> {
    let mut good = Some(());
    if policy.name.is_empty() {
        good = at.field("name", |at| at.fault("\"\"", "a policy must have a name"));
    }
    if namespace.is_empty() || namespace.contains('/') {
        good = at.field("namespace", |at| at.fault(format_args!("{namespace:?}"), "expected a namespace"));
    }
    let custom = policy.action == PolicyAction::Custom;
    match &policy.provider {
        Some(provider) if !custom => {
            good = at.field("provider", |at| at.fault(&provider.name, "only CUSTOM policies have a provider"));
        }
        Some(provider) if provider.name.is_empty() => {
            good = at.field("provider", |at| at.field("name", |at| at.fault("\"\"", "expected a provider's name")));
        }
        None if custom => {
            good = at.field("provider", |at| at.fault("nothing", "a CUSTOM policy must name its provider"));
        }
        _ => {}
    }
    if policy.rules.is_empty() && (custom || policy.action == PolicyAction::Deny) {
        let reason = "a DENY or CUSTOM policy without rules does nothing; rules: [{}] matches every request";
        good = at.field("rules", |at| at.fault("[]", reason));
    }
    good
}

/// Compiles the alternatives of `from` or `to`, with what an index can look up whichever of them matches.
fn alternatives<T>(
    list: Option<&[T]>,
    at: &mut At,
    mut compile: impl FnMut(&T, &mut At) -> Option<Terms>,
) -> Option<(Box<[Clause]>, Vec<http_match::Term<Attribute>>)> {
    let Some(list) = list else {
        return Some((Box::default(), Vec::new()));
    };
    if list.is_empty() {
        return at.fault("[]", "expected at least one entry; leave the field out to match everything");
    }
    let compiled: Vec<Option<Terms>> =
        list.iter().enumerate().map(|(i, item)| at.index(i, |at| compile(item, at))).collect();
    let mut clauses: Vec<Clause> = Vec::with_capacity(list.len());
    let mut common: Option<Vec<http_match::Term<Attribute>>> = None;
    for Terms { terms, keys } in compiled.into_iter().collect::<Option<Vec<_>>>()? {
        clauses.push(terms.into());
        common = Some(match common {
            None => keys,
            Some(common) => in_both(common, keys),
        });
    }
    Some((clauses.into(), common.unwrap_or_default()))
}

/// The attributes that both have keys for, each with the keys of both.
fn in_both(
    ours: Vec<http_match::Term<Attribute>>,
    mut theirs: Vec<http_match::Term<Attribute>>,
) -> Vec<http_match::Term<Attribute>> {
    let joined = ours.into_iter().filter_map(|(attribute, mut keys)| {
        let position = theirs.iter().position(|(other, _)| *other == attribute)?;
        keys.append(&mut theirs.swap_remove(position).1);
        Some((attribute, keys))
    });
    joined.collect()
}
