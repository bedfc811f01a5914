//! Namespace, ServiceAccount, Secret, ConfigMap.

use crate::Metadata;
use crate::resource::{Kind, Shape};
use crate::scalar::{Labels, Optional};
use plugin_config::{At, ListMap, Quoted};

plugin_config::object! {
    /// A namespace: of account are its labels.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Namespace {
        ; others
    }

    /// An account that pods run as: of account are its name and its namespace.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ServiceAccount {
        ; others
    }

    /// Certificates and keys. Values in base64.
    #[derive(Clone, PartialEq)]
    pub struct Secret {
        /// `kubernetes.io/tls`, `Opaque` …
        pub kind: Optional<String> = "type",
        /// By key, in base64.
        pub data: ListMap<String> = "data",
        /// By key, as texts; before `data`.
        pub string_data: ListMap<String> = "stringData";
        others
    }

    /// Resources by their labels, as Kubernetes has it.
    #[derive(Clone, Debug, PartialEq)]
    pub struct KubernetesSelector {
        /// Labels that they all have.
        pub match_labels: Labels = "matchLabels",
        /// What else holds of their labels.
        pub match_expressions: Vec<LabelExpression> = "matchExpressions",
    }

    /// What holds of a label.
    #[derive(Clone, Debug, PartialEq)]
    pub struct LabelExpression {
        /// Its key.
        pub key: String = "key",
        /// What.
        pub operator: LabelOperator = "operator",
        /// The values: `In`, `NotIn`.
        pub values: Vec<String> = "values",
    }

    /// Texts by key.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ConfigMap {
        /// The texts.
        pub data: ListMap<String> = "data";
        others
    }
}

plugin_config::keyword! {
    /// What holds of a label.
    pub enum LabelOperator {
        /// It has one of the values.
        In = "In",
        /// It has none of the values, or is not there.
        NotIn = "NotIn",
        /// It is there.
        Exists = "Exists",
        /// It is not there.
        DoesNotExist = "DoesNotExist",
    }
}

impl KubernetesSelector {
    /// Whether it selects a resource of these labels.
    pub fn selects(&self, labels: &Labels) -> bool {
        let holds = |expression: &LabelExpression| {
            let value = labels.get(&expression.key);
            let is_one = value.is_some_and(|value| expression.values.contains(value));
            match expression.operator {
                LabelOperator::In => is_one,
                LabelOperator::NotIn => !is_one,
                LabelOperator::Exists => value.is_some(),
                LabelOperator::DoesNotExist => value.is_none(),
            }
        };
        self.match_labels.select(labels) && self.match_expressions.iter().all(holds)
    }
}

/// Without its values: they are no one's to see in a log.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = self.data.iter().chain(self.string_data.iter()).map(|(key, _)| key);
        f.debug_struct("Secret").field("kind", &self.kind).field("keys", &keys.collect::<Vec<_>>()).finish()
    }
}

impl Kind for Namespace {
    const KIND: &'static str = "Namespace";
    const GROUP: &'static str = "";
    const VERSIONS: &'static [&'static str] = &["v1"];
    const SHAPE: Shape = Shape::Whole;
    const NAMESPACED: bool = false;
}

impl Kind for ServiceAccount {
    const KIND: &'static str = "ServiceAccount";
    const GROUP: &'static str = "";
    const VERSIONS: &'static [&'static str] = &["v1"];
    const SHAPE: Shape = Shape::Whole;
}

impl Kind for Secret {
    const KIND: &'static str = "Secret";
    const GROUP: &'static str = "";
    const VERSIONS: &'static [&'static str] = &["v1"];
    const SHAPE: Shape = Shape::Whole;

    fn validate(&self, _: &Metadata, at: &mut At) {
        at.field("data", |at| {
            for (key, value) in self.data.iter() {
                let text = value.split_ascii_whitespace().collect::<String>();
                if !crate::scalar::is_base64(&text) {
                    // Not the value: a key that somebody forgot to encode is still a secret.
                    at.key(key, |at| at.refuse(Quoted("…"), "expected base64"));
                }
            }
        });
    }
}

impl Kind for ConfigMap {
    const KIND: &'static str = "ConfigMap";
    const GROUP: &'static str = "";
    const VERSIONS: &'static [&'static str] = &["v1"];
    const SHAPE: Shape = Shape::Whole;
}
