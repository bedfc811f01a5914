//! Which workloads, or which gateways and services, a resource is for.

use crate::scalar::{DnsName, Labels, Optional};
use plugin_config::{At, Quoted};

plugin_config::object! {
    /// Workloads by their labels: `matchLabels`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct LabelSelector {
        /// Labels that they all have; without one, every workload.
        pub match_labels: Labels = "matchLabels",
    }

    /// Workloads by their labels, as ServiceEntry and Sidecar write it: `labels`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct WorkloadSelector {
        /// Labels that they all have; without one, every workload.
        pub labels: Labels = "labels",
    }

    /// A gateway or a service that a policy is for, by its name.
    #[derive(Clone, Debug, PartialEq)]
    pub struct PolicyTargetReference {
        /// Its API group; Kubernetes' core when absent.
        pub group: Optional<String> = "group",
        /// Its kind.
        pub kind: String = "kind",
        /// Its name.
        pub name: DnsName = "name",
        /// Its namespace, which can only be the policy's own: refused.
        pub namespace: Optional<String> = "namespace",
    }
}

/// What a policy may be attached to, with the API groups of each.
const TARGETS: [(&str, &[&str]); 4] = [
    ("Gateway", &["gateway.networking.k8s.io"]),
    ("GatewayClass", &["gateway.networking.k8s.io"]),
    ("Service", &["", "core"]),
    ("ServiceEntry", &["networking.istio.io"]),
];

impl PolicyTargetReference {
    fn check(&self, at: &mut At) {
        let group = self.group.as_deref().unwrap_or_default();
        match TARGETS.iter().find(|(kind, _)| *kind == self.kind) {
            None => at.field("kind", |at| {
                at.refuse(Quoted(&self.kind), "expected Gateway, GatewayClass, Service or ServiceEntry");
            }),
            Some((kind, groups)) if !groups.contains(&group) => at.field("group", |at| {
                at.refuse(Quoted(group), format!("expected {:?}, the group of {kind}", groups.first().unwrap_or(&"")));
            }),
            Some(_) => {}
        }
        if let Some(namespace) = self.namespace.as_deref() {
            let reason = "a policy can only refer to its own namespace: leave this out";
            at.field("namespace", |at| at.refuse(Quoted(namespace), reason));
        }
    }
}

/// Most references that a policy may have.
const MOST_TARGETS: usize = 16;

/// Checks what a policy is for: a selector, or references, or one reference in the old form, but not two of them.
pub(crate) fn check_targets(
    selector: Option<&LabelSelector>,
    target_ref: Option<&PolicyTargetReference>,
    target_refs: &[PolicyTargetReference],
    at: &mut At,
) {
    let given = [selector.is_some(), target_ref.is_some(), !target_refs.is_empty()];
    if given.into_iter().filter(|given| *given).count() > 1 {
        at.refuse("", "only one of selector, targetRef and targetRefs can be given");
    }
    if let Some(target) = target_ref {
        at.field("targetRef", |at| target.check(at));
    }
    at.field("targetRefs", |at| {
        if target_refs.len() > MOST_TARGETS {
            at.refuse(target_refs.len(), format!("at most {MOST_TARGETS} references"));
        }
        for (i, target) in target_refs.iter().enumerate() {
            at.index(i, |at| target.check(at));
        }
    });
}
