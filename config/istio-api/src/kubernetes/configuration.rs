//! Namespace, ServiceAccount, Secret, ConfigMap.

use crate::Metadata;
use crate::resource::{Kind, Shape};
use crate::scalar::{Labels, Optional};
use plugin_config::{At, FromNode, ListMap, Node, ReadNode};

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
    #[derive(Clone, Debug, PartialEq)]
    pub struct Secret {
        /// `kubernetes.io/tls`, `Opaque` …
        pub kind: Optional<String> = "type",
        /// By key, in base64.
        pub data: ListMap<Hidden> = "data",
        /// By key, as texts; before `data`.
        pub string_data: ListMap<Hidden> = "stringData";
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

/// A text that is nobody's to see: not in a message, a log, or what is written back.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// What is shown instead.
const HIDDEN: &str = "…";

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl ReadNode for Hidden {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        match node {
            Node::String(text) => self.0 = text.as_ref().to_owned(),
            _ => at.refuse(HIDDEN, "expected a string"),
        }
    }
}

impl FromNode for Hidden {}

impl serde::Serialize for Hidden {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
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
    const IS_SECRET: bool = true;

    fn validate(&self, _: &Metadata, at: &mut At) {
        at.field("data", |at| {
            for (key, value) in self.data.iter() {
                let text = value.reveal().split_ascii_whitespace().collect::<String>();
                if !crate::scalar::is_base64(&text) {
                    at.key(key, |at| at.refuse(HIDDEN, "expected base64"));
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
