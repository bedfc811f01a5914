//! The configuration as written → policies that can be evaluated. Every fault is found before anything is used.

use crate::config::{self, Config, HostProperties, Policy, PolicyAction, RuleFrom, RuleTo};
use crate::decision::{Custom, KINDS, Kind, Policies, PolicyName};
use crate::ext_authz;
use crate::field::{Field, Names, Scope, Terms, quoted, quoted_list, refuse, refuse_at};
use crate::index::RuleSetBuilder;
use crate::rule::{Clause, Rule};
use crate::{condition, operation, source};
use http_match::{Term, TrustDomains};
use plugin_config::{At, Node};

/// Compiles the providers. Names must be unique.
fn providers(config: &Config, at: &mut At) -> Option<Vec<ext_authz::Provider>> {
    let mut providers = Vec::with_capacity(config.providers.len());
    for (i, provider) in config.providers.iter().enumerate() {
        let taken = config.providers.iter().take(i).any(|earlier| earlier.name == provider.name);
        let compiled = at.field("providers", |at| {
            at.index(i, |at| {
                if taken {
                    refuse("name", &provider.name, "another provider has this name", at);
                }
                ext_authz::compile(provider, at)
            })
        });
        providers.extend(compiled.filter(|_| !taken));
    }
    (providers.len() == config.providers.len()).then_some(providers)
}

/// Path of the property with the direct peer's address; empty when the host tells it nowhere.
fn peer_address(config: &Config, at: &mut At) -> Option<Vec<String>> {
    let path = &config.peer_address_property;
    if path.iter().any(String::is_empty) {
        let reason = "expected the segments of a property's path, none empty";
        refuse("peerAddressProperty", &quoted_list(path), reason, at);
        return None;
    }
    Some(match config.host_properties {
        HostProperties::Outrigger if path.is_empty() => vec!["source".to_owned(), "direct_address".to_owned()],
        _ => path.clone(),
    })
}

/// Everything that a configuration compiles to, but the indexes: they are built when the document is gone.
pub(crate) struct Compiled {
    sets: Sets,
    names: Vec<PolicyName>,
    /// Of each provider that a CUSTOM policy names, sorted by name: its place among the providers.
    asked: Vec<Option<usize>>,
    pub(crate) providers: Vec<ext_authz::Provider>,
    pub(crate) peer_address: Vec<String>,
    pub(crate) log_denials: bool,
    /// Whether the host knows who a client is when its connection is accepted.
    pub(crate) judges_connections: bool,
}

impl Compiled {
    /// The policies, with their indexes. To be called once.
    pub(crate) fn take_policies(&mut self) -> Policies {
        let mut custom = Vec::with_capacity(self.asked.len());
        for ((name, rules), provider) in self.sets.custom.iter_mut().zip(&self.asked) {
            custom.push(Custom { provider: *provider, name: name.as_str().into(), rules: rules.build() });
        }
        Policies {
            names: std::mem::take(&mut self.names),
            custom,
            sets: self.sets.sets.iter_mut().map(RuleSetBuilder::build).collect(),
            has_allow: self.sets.has_allow,
            has_dry_allow: self.sets.has_dry_allow,
        }
    }

    /// Reads and compiles rule by rule: of ten thousand rules only the compiled form is ever there as a whole, beside
    /// the document itself.
    pub(crate) fn read(node: &Node<'_>, at: &mut At) -> Option<Self> {
        let mut compiler = None;
        let config = Config::read(node, at, &mut |config, i, node, at| {
            let compiler = compiler.get_or_insert_with(|| Compiler::new(config, &mut At::root()));
            let mut count = 0;
            at.start_reading();
            let policy = Policy::read(node, at, &mut |policy, number, node, at| {
                count += 1;
                at.start_reading();
                let rule: config::Rule = plugin_config::read(node, at);
                at.start_checks();
                compiler.rule((i, number), &rule, policy, at);
            });
            at.start_checks();
            compiler.policy(&policy, count, at);
        });
        at.start_checks();
        // The settings come before the policies, but their faults need be found only once.
        let fresh = Compiler::new(&config, at);
        let compiled = match compiler {
            Some(compiler) => Compiler { faulty: compiler.faulty || fresh.faulty, ..compiler },
            None => fresh,
        };
        compiled.finish(&config, at)
    }

    /// Compiles a configuration that was read as a whole.
    pub(crate) fn of(config: &Config, at: &mut At) -> Option<Self> {
        let mut compiler = Compiler::new(config, at);
        for (i, policy) in config.policies.iter().enumerate() {
            at.field("policies", |at| {
                at.index(i, |at| {
                    for (number, rule) in policy.rules.iter().enumerate() {
                        at.field("rules", |at| at.index(number, |at| compiler.rule((i, number), rule, policy, at)));
                    }
                    compiler.policy(policy, policy.rules.len(), at);
                })
            });
        }
        compiler.finish(config, at)
    }
}

fn workload_is_faulty(workload: &config::Workload, at: &mut At) -> bool {
    let unusable = |text: &str| text.is_empty() || text.contains('/');
    let mut faulty = false;
    if unusable(&workload.namespace) {
        refuse("namespace", &quoted(&workload.namespace), "expected a namespace", at);
        faulty = true;
    }
    if unusable(&workload.trust_domain) {
        let reason = "expected a trust domain, without spiffe:// and path";
        refuse("trustDomain", &quoted(&workload.trust_domain), reason, at);
        faulty = true;
    }
    for (i, alias) in workload.trust_domain_aliases.iter().enumerate().filter(|(_, alias)| unusable(alias)) {
        at.field("trustDomainAliases", |at| refuse_at(i, alias, "expected a trust domain", at));
        faulty = true;
    }
    faulty
}

/// What compiling policies needs and collects.
struct Compiler {
    domains: TrustDomains,
    namespace: String,
    /// Path of the property with the direct peer's address.
    peer_address: Option<Vec<String>>,
    names: Names,
    policies: Vec<PolicyName>,
    sets: Sets,
    faulty: bool,
}

/// Rules by what becomes of the requests they match.
#[derive(Default)]
struct Sets {
    /// By [`Kind`].
    sets: [RuleSetBuilder; KINDS],
    /// By provider, sorted by its name.
    custom: Vec<(String, RuleSetBuilder)>,
    has_allow: bool,
    has_dry_allow: bool,
}

impl Sets {
    /// Notes a policy; where its rules go.
    fn of(&mut self, policy: &Policy) -> Option<&mut RuleSetBuilder> {
        let dry = policy.dry_run.0;
        let kind = match policy.action {
            PolicyAction::Allow => {
                *(if dry { &mut self.has_dry_allow } else { &mut self.has_allow }) = true;
                if dry { Kind::DryAllow } else { Kind::Allow }
            }
            PolicyAction::Deny if dry => Kind::DryDeny,
            PolicyAction::Deny => Kind::Deny,
            // An audit decides nothing, dry or not.
            PolicyAction::Audit => Kind::Audit,
            PolicyAction::Custom if dry => Kind::DryCustom,
            PolicyAction::Custom => return self.of_provider(policy.provider.as_ref().map_or("", |p| &p.name)),
        };
        self.sets.get_mut(kind as usize)
    }

    fn of_provider(&mut self, name: &str) -> Option<&mut RuleSetBuilder> {
        let place = match self.custom.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
            Ok(place) => place,
            Err(place) => {
                self.custom.insert(place, (name.to_owned(), RuleSetBuilder::default()));
                place
            }
        };
        self.custom.get_mut(place).map(|(_, rules)| rules)
    }
}

impl Compiler {
    /// Starts with the settings of a configuration.
    fn new(config: &Config, at: &mut At) -> Self {
        let mut domains = vec![config.workload.trust_domain.clone()];
        domains.extend(config.workload.trust_domain_aliases.iter().cloned());
        Self {
            domains: TrustDomains(domains),
            namespace: config.workload.namespace.clone(),
            peer_address: peer_address(config, at),
            names: Names::default(),
            policies: Vec::new(),
            sets: Sets::default(),
            faulty: at.field("workload", |at| workload_is_faulty(&config.workload, at)),
        }
    }

    /// Adds a policy whose rules, so many, were added before.
    fn policy(&mut self, policy: &Policy, rules: usize, at: &mut At) {
        let namespace = policy.namespace.as_deref().unwrap_or(&self.namespace);
        self.faulty |= policy_is_faulty(policy, namespace, rules, at);
        // Policies of one namespace mostly stand together: they share its name.
        let last = self.policies.last().map(|last| &last.namespace).filter(|last| last.as_ref() == namespace);
        let namespace = last.cloned().unwrap_or_else(|| namespace.into());
        self.policies.push(PolicyName { namespace, name: policy.name.as_str().into() });
        self.sets.of(policy);
    }

    /// Adds a rule.
    fn rule(&mut self, (policy_index, number): (usize, usize), rule: &config::Rule, policy: &Policy, at: &mut At) {
        let mut scope = Scope {
            policy: &policy.name,
            namespace: policy.namespace.as_deref().unwrap_or(&self.namespace),
            custom: policy.action == PolicyAction::Custom,
            domains: &self.domains,
            direct_address: self.peer_address.as_ref().is_none_or(|path| !path.is_empty()),
            names: &mut self.names,
        };
        let from = at.field("from", |at| sources(rule.from.as_deref(), &scope, at));
        let to = at.field("to", |at| operations(rule.to.as_deref(), &scope, at));
        let mut when = Terms::default();
        for (i, condition) in rule.when.iter().enumerate() {
            at.field("when", |at| at.index(i, |at| condition::compile(condition, &mut when, &mut scope, at)));
        }
        self.faulty |= from.faulty || to.faulty || when.faulty;
        // Of equally rare keys the first is taken: those in headers, which cost less to look up than properties.
        let mut keys = to.keys.unwrap_or_default();
        keys.append(&mut when.keys);
        keys.extend(from.keys.unwrap_or_default());
        keys.iter_mut().for_each(|(_, keys)| keys.shrink_to_fit());
        let ids = u32::try_from(policy_index).ok().zip(u32::try_from(number).ok());
        if let (Some((policy_index, number)), Some(set)) = (ids, self.sets.of(policy)) {
            let rule = Rule {
                policy: policy_index,
                number,
                from: from.clauses.into(),
                to: to.clauses.into(),
                when: when.terms.into(),
            };
            set.push(rule, keys);
        }
    }

    /// What was compiled, unless something was refused.
    fn finish(self, config: &Config, at: &mut At) -> Option<Compiled> {
        let providers = providers(config, at)?;
        let one_provider = self.sets.custom.len() < 2 || config.multiple_providers;
        let mut asked = Vec::with_capacity(self.sets.custom.len());
        for (name, _) in &self.sets.custom {
            let position = config.providers.iter().position(|provider| provider.name == *name);
            asked.push(position.filter(|_| one_provider));
        }
        let peer_address = self.peer_address?;
        (!self.faulty).then_some(Compiled {
            sets: self.sets,
            names: self.policies,
            asked,
            providers,
            peer_address,
            log_denials: config.log_denials.unwrap_or(true),
            judges_connections: config.host_properties == HostProperties::Outrigger,
        })
    }
}

fn policy_is_faulty(policy: &Policy, namespace: &str, rules: usize, at: &mut At) -> bool {
    let mut faulty = false;
    let mut fault = |name: &'static str, value: &str, reason: &'static str| {
        refuse(name, value, reason, at);
        faulty = true;
    };
    if policy.name.is_empty() {
        fault("name", "\"\"", "a policy must have a name");
    }
    if namespace.is_empty() || namespace.contains('/') {
        fault("namespace", &quoted(namespace), "expected a namespace");
    }
    let custom = policy.action == PolicyAction::Custom;
    match &policy.provider {
        Some(provider) if !custom => fault("provider", &quoted(&provider.name), "only CUSTOM policies have a provider"),
        Some(provider) if provider.name.is_empty() => fault("provider", "\"\"", "expected a provider's name"),
        None if custom => fault("provider", "nothing", "a CUSTOM policy must name its provider"),
        _ => {}
    }
    if rules == 0 && (custom || policy.action == PolicyAction::Deny) {
        let reason = "a DENY or CUSTOM policy without rules does nothing; rules: [{}] matches every request";
        fault("rules", "[]", reason);
    }
    faulty
}

/// Compiled alternatives, with what an index can look up whichever of them matches.
#[derive(Default)]
struct Alternatives {
    clauses: Vec<Clause>,
    keys: Option<Vec<Term<Field>>>,
    faulty: bool,
}

impl Alternatives {
    fn push(&mut self, terms: Terms) {
        self.faulty |= terms.faulty;
        self.clauses.push(terms.terms.into());
        self.keys = Some(match self.keys.take() {
            None => terms.keys,
            Some(keys) => in_both(keys, terms.keys),
        });
    }
}

/// `from: []` and `to: []` are refused: nobody can tell whether they mean everything or nothing.
fn refuse_empty(length: usize, at: &mut At) -> bool {
    if length == 0 {
        at.refuse("[]", "expected at least one entry; leave the field out to match everything");
    }
    length == 0
}

fn sources(list: Option<&[RuleFrom]>, scope: &Scope<'_>, at: &mut At) -> Alternatives {
    let mut alternatives = Alternatives::default();
    alternatives.faulty |= list.is_some_and(|list| refuse_empty(list.len(), at));
    for (i, from) in list.unwrap_or_default().iter().enumerate() {
        let terms = at.index(i, |at| at.field("source", |at| source::compile(&from.source, scope, at)));
        alternatives.push(terms);
    }
    alternatives
}

fn operations(list: Option<&[RuleTo]>, scope: &Scope<'_>, at: &mut At) -> Alternatives {
    let mut alternatives = Alternatives::default();
    alternatives.faulty |= list.is_some_and(|list| refuse_empty(list.len(), at));
    for (i, to) in list.unwrap_or_default().iter().enumerate() {
        let terms = at.index(i, |at| at.field("operation", |at| operation::compile(&to.operation, scope, at)));
        alternatives.push(terms);
    }
    alternatives
}

/// The fields that both have keys for, each with the keys of both.
fn in_both(ours: Vec<Term<Field>>, mut theirs: Vec<Term<Field>>) -> Vec<Term<Field>> {
    let mut both = Vec::with_capacity(ours.len());
    for (field, mut keys) in ours {
        if let Some(position) = theirs.iter().position(|(other, _)| *other == field) {
            keys.append(&mut theirs.swap_remove(position).1);
            both.push((field, keys));
        }
    }
    both
}
