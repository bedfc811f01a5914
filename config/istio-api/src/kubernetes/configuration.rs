//! Namespace, ServiceAccount, Secret, ConfigMap.

use crate::Metadata;
use crate::resource::{Kind, Shape};
use crate::scalar::Optional;
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

    /// Texts by key.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ConfigMap {
        /// The texts.
        pub data: ListMap<String> = "data";
        others
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
