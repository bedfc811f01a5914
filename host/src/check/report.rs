//! What a check has found.

use istio_api::{Fault, Faults, Resources, Skipped};
use serde::Serialize;
use std::collections::BTreeMap;

/// Everything that a check has to say.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// What is refused.
    pub(crate) errors: Vec<Fault>,
    /// What is taken, but hardly what was meant.
    pub(crate) warnings: Vec<Fault>,
    /// What was not looked at.
    pub(crate) skipped: Vec<Skip>,
    /// How many resources of each kind were read; nothing when something was refused.
    pub(crate) read: BTreeMap<&'static str, usize>,
}

/// Resources of a kind that is not used.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Skip {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) places: Vec<String>,
}

impl From<Skipped> for Skip {
    fn from(skipped: Skipped) -> Self {
        let places = skipped.places.iter().map(ToString::to_string).collect();
        Self { api_version: skipped.api_version, kind: skipped.kind, places }
    }
}

impl From<Result<Resources, Faults>> for Report {
    fn from(read: Result<Resources, Faults>) -> Self {
        let skips = |skipped: Vec<Skipped>| skipped.into_iter().map(Skip::from).collect();
        match read {
            Ok(resources) => {
                let mut read: BTreeMap<_, _> = resources.counts().into_iter().filter(|(_, count)| *count > 0).collect();
                if !resources.mesh_configs.is_empty() {
                    read.insert("MeshConfig", resources.mesh_configs.len());
                }
                Self { errors: Vec::new(), warnings: resources.warnings, skipped: skips(resources.skipped), read }
            }
            Err(faults) => Self {
                errors: faults.faults,
                warnings: faults.warnings,
                skipped: skips(faults.skipped),
                read: BTreeMap::new(),
            },
        }
    }
}
