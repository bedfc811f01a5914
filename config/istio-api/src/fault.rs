//! What is wrong with resources, and where.

use crate::Place;
use crate::document_cache::Moved;
use std::fmt;

/// Which resource: `VirtualService shop/reviews`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceName {
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for what has none.
    pub namespace: String,
    /// Its name; empty when it has none.
    pub name: String,
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(if self.name.is_empty() { "(no name)" } else { &self.name })
    }
}

/// One thing that is wrong: in a field of a resource, or in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The resource; `None` when it is the file.
    pub resource: Option<ResourceName>,
    /// The field: `spec.http[2].fault.abort.httpStatus`; empty when it is the file, `$` when it is the resource.
    pub path: String,
    /// The offending value as JSON, shortened; empty when there is none.
    pub value: String,
    /// Why it is refused, and what would be accepted.
    pub reason: String,
    /// Where; `None` when the file cannot be read.
    pub place: Option<Place>,
}

impl Fault {
    /// The same of a document that stands further on in another file.
    pub(crate) fn moved(&self, to: &Moved<'_>) -> Self {
        Self { place: self.place.as_ref().map(|place| place.moved(to)), ..self.clone() }
    }

    /// A fault of a file that cannot be read.
    pub fn of_file(name: &str, reason: impl fmt::Display) -> Self {
        Self {
            resource: None,
            path: String::new(),
            value: String::new(),
            reason: format!("{name}: {reason}"),
            place: None,
        }
    }
}

/// `VirtualService shop/reviews spec.http[2].fault.abort.httpStatus: 99: expected 200 to 599 (reviews.yaml:31:22)`
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = Some(&self.path).filter(|path| !path.is_empty() && *path != "$");
        match (&self.resource, path) {
            (Some(resource), Some(path)) => write!(f, "{resource} {path}: ")?,
            (Some(resource), None) => write!(f, "{resource}: ")?,
            (None, Some(path)) => write!(f, "{path}: ")?,
            (None, None) => {}
        }
        if !self.value.is_empty() {
            write!(f, "{}: ", self.value)?;
        }
        f.write_str(&self.reason)?;
        match &self.place {
            Some(place) => write!(f, " ({place})"),
            None => Ok(()),
        }
    }
}

impl Fault {
    /// What it has, by name: `kind`, `namespace`, `name`, `path`, `value`, `reason`, `file`, `line` and `column`, as
    /// far as there are.
    pub fn entries(&self) -> Vec<(&'static str, serde_json::Value)> {
        let mut entries: Vec<(&'static str, serde_json::Value)> = Vec::new();
        if let Some(resource) = &self.resource {
            entries.push(("kind", resource.kind.as_str().into()));
            entries.push(("namespace", resource.namespace.as_str().into()));
            entries.push(("name", resource.name.as_str().into()));
        }
        let texts = [("path", &self.path), ("value", &self.value), ("reason", &self.reason)];
        let given = texts.into_iter().filter(|(_, text)| !text.is_empty());
        entries.extend(given.map(|(key, text)| (key, text.as_str().into())));
        if let Some(place) = &self.place {
            entries.push(("file", place.file.name.as_str().into()));
            entries.push(("line", place.line.into()));
            entries.push(("column", place.column.into()));
        }
        entries
    }
}

/// Why nothing was read, with every fault of every file; and what would have been said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// What is refused, in the order of the files.
    pub faults: Vec<Fault>,
    /// What is taken, but not what was meant.
    pub warnings: Vec<Fault>,
    /// What was not looked at.
    pub skipped: Vec<crate::Skipped>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
