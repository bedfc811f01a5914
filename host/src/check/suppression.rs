//! Findings that somebody knows of: `--suppress`, and the annotation on a resource.

use compiler::Finding;
use istio_api::{AnyResource, ResourceName};
use regex_lite::{Regex, escape};
use std::collections::HashMap;

/// The annotation, as istioctl has it: codes, separated by commas, or `*` for all.
const ANNOTATION: &str = "galley.istio.io/analyze-suppress";

/// Findings of a code that are not wanted of some resources, as istioctl has it: `IST0102=Namespace default`,
/// `IST0107=Pod *.shop`.
#[derive(Clone, Debug)]
pub(crate) struct Suppression {
    code: String,
    resources: Regex,
}

impl Suppression {
    /// For clap.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected CODE=KIND NAME.NAMESPACE, with * for any text";
        let (code, resources) = text.split_once('=').ok_or(EXPECTED)?;
        if code.is_empty() || resources.is_empty() {
            return Err(EXPECTED.to_owned());
        }
        let parts: Vec<String> = resources.split('*').map(escape).collect();
        let resources = Regex::new(&format!("^(?:{})$", parts.join(".*"))).map_err(|error| error.to_string())?;
        Ok(Self { code: code.to_owned(), resources })
    }

    /// Whether a finding is not wanted.
    pub(crate) fn covers(&self, finding: &Finding) -> bool {
        let resource = finding.fault.resource.as_ref();
        self.code == finding.message.code && resource.is_some_and(|resource| self.resources.is_match(&name(resource)))
    }
}

/// `VirtualService reviews.shop`, and without a namespace `Namespace shop`.
pub(super) fn name(resource: &ResourceName) -> String {
    let ResourceName { kind, namespace, name } = resource;
    if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {name}.{namespace}") }
}

/// What resources say that is not wanted of them.
#[derive(Default)]
pub(super) struct Annotations(HashMap<String, Vec<String>>);

impl Annotations {
    /// Those of some resources.
    pub(super) fn new<'r>(resources: impl Iterator<Item = &'r dyn AnyResource>) -> Self {
        let annotated = resources.filter_map(|resource| {
            let codes = resource.metadata().annotation(ANNOTATION)?.split(',').map(|code| code.trim().to_owned());
            Some((name(&resource.resource_name()), codes.collect()))
        });
        Self(annotated.collect())
    }

    /// Whether a finding is not wanted.
    pub(super) fn cover(&self, finding: &Finding) -> bool {
        let codes = finding.fault.resource.as_ref().and_then(|resource| self.0.get(&name(resource)));
        codes.is_some_and(|codes| codes.iter().any(|code| code == "*" || code == finding.message.code))
    }
}
