//! The decision about one request: Istio's combination of policies, pure, for the filter and for whoever explains it.

use crate::attributes::{Attributes, Unavailable};
use crate::index::RuleSet;
use crate::rule::{Part, Rule};
use std::rc::Rc;

/// The policies of a workload, compiled.
#[derive(Debug)]
pub struct Policies {
    pub(crate) names: Vec<PolicyName>,
    /// By provider, in the order of their names.
    pub(crate) custom: Vec<Custom>,
    /// The other rules, by [`Kind`].
    pub(crate) sets: Vec<RuleSet>,
    /// Whether there is an ALLOW policy: one without rules counts.
    pub(crate) has_allow: bool,
    pub(crate) has_dry_allow: bool,
}

/// What becomes of the requests that a rule matches, CUSTOM apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Allow,
    Deny,
    Audit,
    DryAllow,
    DryDeny,
    DryCustom,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = 6;

/// What a policy is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyName {
    pub(crate) namespace: Rc<str>,
    pub(crate) name: Box<str>,
}

/// The CUSTOM rules of one provider.
#[derive(Debug)]
pub(crate) struct Custom {
    /// The provider's name.
    pub(crate) name: Box<str>,
    /// Its place among the providers; `None` when it cannot be asked, and what matches is refused.
    pub(crate) provider: Option<usize>,
    pub(crate) rules: RuleSet,
}

/// A rule, by the places of its policy in the configuration and of itself in the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId {
    /// Index in `policies`.
    pub policy: u32,
    /// Index in the policy's `rules`.
    pub rule: u32,
}

impl From<&Rule> for RuleId {
    fn from(rule: &Rule) -> Self {
        Self { policy: rule.policy, rule: rule.number }
    }
}

/// What DENY and ALLOW policies decide together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed by a rule; or, with `None`, because there is no ALLOW policy.
    Allowed(Option<RuleId>),
    /// Refused by a DENY rule; or, with `None`, because no ALLOW rule matches.
    Denied(Option<RuleId>),
}

/// The rule that comes closest to matching, and what keeps it from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearestMiss {
    /// The rule.
    pub rule: RuleId,
    /// The parts of it that do not match.
    pub parts: Vec<Part>,
}

impl Policies {
    /// Whether there is no policy at all: every request passes unread.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether some policy is there to be noted only: AUDIT, or a dry run.
    pub(crate) fn notes(&self) -> bool {
        let noted = [Kind::Audit, Kind::DryAllow, Kind::DryDeny, Kind::DryCustom];
        let has_rules = |kind: &Kind| self.sets.get(*kind as usize).is_some_and(|set| !set.is_empty());
        self.has_dry_allow || noted.iter().any(has_rules)
    }

    /// The first rule of a kind that matches.
    fn first(&self, kind: Kind, attributes: &mut Attributes<'_>) -> Result<Option<RuleId>, Unavailable> {
        match self.sets.get(kind as usize) {
            Some(set) => Ok(set.first_match(attributes)?.map(RuleId::from)),
            None => Ok(None),
        }
    }

    /// DENY, then ALLOW. CUSTOM and tokens come before.
    ///
    /// # Errors
    /// When an attribute that the decision needs is unavailable: the request must then be refused.
    pub fn decide(&self, attributes: &mut Attributes<'_>) -> Result<Decision, Unavailable> {
        match self.denied(attributes)? {
            Some(rule) => Ok(Decision::Denied(Some(rule))),
            None => self.allowed(attributes),
        }
    }

    /// What ALLOW policies decide about a request that no DENY policy refuses.
    pub(crate) fn allowed(&self, attributes: &mut Attributes<'_>) -> Result<Decision, Unavailable> {
        if !self.has_allow {
            return Ok(Decision::Allowed(None));
        }
        Ok(match self.first(Kind::Allow, attributes)? {
            Some(rule) => Decision::Allowed(Some(rule)),
            None => Decision::Denied(None),
        })
    }

    /// The first DENY rule that matches.
    pub(crate) fn denied(&self, attributes: &mut Attributes<'_>) -> Result<Option<RuleId>, Unavailable> {
        self.first(Kind::Deny, attributes)
    }

    /// The first AUDIT rule that matches.
    ///
    /// # Errors
    /// When an attribute that a rule needs is unavailable.
    pub fn audited(&self, attributes: &mut Attributes<'_>) -> Result<Option<RuleId>, Unavailable> {
        self.first(Kind::Audit, attributes)
    }

    /// What dry-run DENY policies would decide; `None` when there is none.
    ///
    /// # Errors
    /// As [`Policies::audited`].
    pub fn dry_denied(&self, attributes: &mut Attributes<'_>) -> Result<Option<Decision>, Unavailable> {
        if self.sets.get(Kind::DryDeny as usize).is_none_or(RuleSet::is_empty) {
            return Ok(None);
        }
        Ok(Some(match self.first(Kind::DryDeny, attributes)? {
            Some(rule) => Decision::Denied(Some(rule)),
            None => Decision::Allowed(None),
        }))
    }

    /// What dry-run ALLOW policies would decide; `None` when there is none.
    ///
    /// # Errors
    /// As [`Policies::audited`].
    pub fn dry_allowed(&self, attributes: &mut Attributes<'_>) -> Result<Option<Decision>, Unavailable> {
        if !self.has_dry_allow {
            return Ok(None);
        }
        Ok(Some(match self.first(Kind::DryAllow, attributes)? {
            Some(rule) => Decision::Allowed(Some(rule)),
            None => Decision::Denied(None),
        }))
    }

    /// The dry-run CUSTOM rule for which a provider would be asked.
    ///
    /// # Errors
    /// As [`Policies::audited`].
    pub fn dry_asked(&self, attributes: &mut Attributes<'_>) -> Result<Option<RuleId>, Unavailable> {
        self.first(Kind::DryCustom, attributes)
    }

    /// The ALLOW rule that comes closest to matching a refused request.
    ///
    /// # Errors
    /// As [`Policies::decide`].
    pub fn nearest_miss(&self, attributes: &mut Attributes<'_>) -> Result<Option<NearestMiss>, Unavailable> {
        let mut nearest: Option<NearestMiss> = None;
        for rule in self.sets.get(Kind::Allow as usize).map_or(&[][..], RuleSet::rules) {
            let parts = rule.misses(attributes)?;
            if nearest.as_ref().is_none_or(|nearest| parts.len() < nearest.parts.len()) {
                nearest = Some(NearestMiss { rule: rule.into(), parts });
            }
        }
        Ok(nearest)
    }

    /// The id of a rule as Istio writes it: `ns[NAMESPACE]-policy[NAME]-rule[INDEX]`.
    pub fn id(&self, rule: RuleId) -> String {
        match self.names.get(rule.policy as usize) {
            Some(name) => format!("ns[{}]-policy[{}]-rule[{}]", name.namespace, name.name, rule.rule),
            None => String::new(),
        }
    }
}
