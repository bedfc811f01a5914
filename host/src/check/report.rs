//! What a check has found.

use super::suppression::{Annotations, Suppression};
use compiler::{Analysis, Finding, Level, Mesh, Message};
use istio_api::{Fault, Faults, Resources, Skipped};
use serde::Serialize;
use std::collections::BTreeMap;

/// Everything that a check has to say.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// What is refused, and what else there is to say.
    pub(crate) findings: Vec<Found>,
    /// How many findings nobody wants.
    pub(crate) suppressed: usize,
    /// What was not looked at.
    pub(crate) skipped: Vec<Skip>,
    /// How many resources of each kind were read; nothing when something could not be read.
    pub(crate) read: BTreeMap<&'static str, usize>,
}

/// A finding.
#[derive(Debug, Serialize)]
pub(crate) struct Found {
    /// Whether nothing is made of what is written.
    pub(crate) refused: bool,
    #[serde(flatten)]
    pub(crate) finding: Finding,
}

impl Found {
    fn refused(finding: Finding) -> Self {
        Self { refused: true, finding }
    }

    fn said(finding: Finding) -> Self {
        Self { refused: false, finding }
    }

    /// How much it matters.
    pub(crate) fn level(&self) -> Level {
        self.finding.message.level
    }
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

impl Report {
    /// Of what was read, or why it was not; `unreadable`: what is wrong besides.
    pub(crate) fn new(read: Result<Resources, Faults>, unreadable: Vec<Fault>) -> Self {
        let mut report = match read {
            Ok(resources) => Self::of_resources(resources),
            Err(Faults { faults, warnings, skipped }) => Self {
                findings: of_schema(faults, warnings),
                skipped: skipped.into_iter().map(Skip::from).collect(),
                ..Self::default()
            },
        };
        report.findings.splice(0..0, of_schema(unreadable, Vec::new()));
        report
    }

    fn of_resources(mut resources: Resources) -> Self {
        let mut findings = of_schema(Vec::new(), std::mem::take(&mut resources.warnings));
        let skipped = std::mem::take(&mut resources.skipped);
        let mut read: BTreeMap<_, _> = resources.counts().into_iter().filter(|(_, count)| *count > 0).collect();
        if !resources.mesh_configs.is_empty() {
            read.insert("MeshConfig", resources.mesh_configs.len());
        }
        let Analysis { refusals, findings: found } = Mesh::new(&resources).analyse();
        findings.extend(found.into_iter().map(Found::said));
        findings.splice(0..0, refusals.into_iter().map(Found::refused));
        let all = findings.len();
        let annotations = Annotations::new(resources.all());
        findings.retain(|found| found.refused || !annotations.cover(&found.finding));
        let suppressed = all - findings.len();
        let skipped = skipped.into_iter().map(Skip::from).collect();
        Self { findings, suppressed, skipped, read }
    }

    /// Leaves out what is not wanted. What is refused is said all the same: no proxy would start.
    pub(crate) fn suppress(&mut self, unwanted: &[Suppression]) {
        let all = self.findings.len();
        let is_wanted = |found: &Found| !unwanted.iter().any(|unwanted| unwanted.covers(&found.finding));
        self.findings.retain(|found| found.refused || is_wanted(found));
        self.suppressed += all - self.findings.len();
    }

    /// Keeps what matters as much, or more.
    pub(crate) fn keep(&mut self, level: Level) {
        self.findings.retain(|found| found.level() >= level);
    }

    /// How many findings of a level there are.
    pub(crate) fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|found| found.level() == level).count()
    }
}

fn of_schema(faults: Vec<Fault>, warnings: Vec<Fault>) -> Vec<Found> {
    let of = |message| move |fault| Finding { message, fault };
    let refused = faults.into_iter().map(of(&Message::SCHEMA_VALIDATION_ERROR)).map(Found::refused);
    refused.chain(warnings.into_iter().map(of(&Message::SCHEMA_WARNING)).map(Found::said)).collect()
}
