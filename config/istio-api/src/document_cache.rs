//! Documents that were read before: of files that are read again and again most have not changed.

use crate::document::Reader;
use crate::scalar::DnsLabel;
use crate::{Faults, File, Options, Resources, Source, yaml};
use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

/// What was read, document by document, of what had no fault. It is about as large as the resources themselves.
#[derive(Debug, Default)]
pub struct DocumentCache {
    /// Of resources that name none.
    namespace: DnsLabel,
    parts: HashMap<Text, Part>,
}

/// A resource's kind, namespace and name.
pub(crate) type Key = (&'static str, String, String);

/// A part of a file: all of some documents, by themselves.
#[derive(Debug)]
struct Part {
    resources: Resources,
    known: HashMap<Key, Source>,
    /// Whether the last reading had it.
    used: bool,
}

/// A part's text, of which its resources say where they stand.
#[derive(Debug)]
struct Text(Arc<File>);

/// Where a part stands in a file.
pub(crate) struct Moved<'f> {
    pub(crate) file: &'f Arc<File>,
    /// Bytes before it.
    pub(crate) bytes: usize,
    /// Lines before it.
    pub(crate) lines: usize,
}

impl DocumentCache {
    /// As [`crate::read`], but documents that are as they were are not read again.
    ///
    /// # Errors
    /// As [`crate::read`].
    pub fn read(&mut self, sources: &[PathBuf], options: &Options) -> Result<Resources, Faults> {
        let (files, faults) = crate::files(sources);
        crate::resources::read_all(&files, faults, options, Some(self))
    }

    /// As [`crate::read_files`], but documents that are as they were are not read again.
    ///
    /// # Errors
    /// As [`crate::read_files`].
    pub fn read_files(&mut self, files: &[Arc<File>], options: &Options) -> Result<Resources, Faults> {
        crate::resources::read_all(files, Vec::new(), options, Some(self))
    }

    pub(crate) fn begin(&mut self, options: &Options) {
        if self.namespace != options.namespace {
            self.parts.clear();
            self.namespace = options.namespace.clone();
        }
        self.parts.values_mut().for_each(|part| part.used = false);
    }

    /// Forgets what is no longer there. What is refused is changed back as often as it is set right, so then nothing is.
    pub(crate) fn end(&mut self) {
        self.parts.retain(|_, part| part.used);
    }

    /// Has a reader take a file's resources. Whether that was done: a file with any fault is for the reader itself, which
    /// says what is wrong.
    pub(crate) fn file(&mut self, file: &Arc<File>, reader: &mut Reader<'_>) -> bool {
        let Some(chunks) = yaml::split(&file.text) else { return false };
        let texts = || chunks.iter().filter_map(|chunk| Some((chunk, file.text.get(chunk.bytes.clone())?)));
        for (_, text) in texts() {
            if !self.parts.contains_key(text) {
                let Some((text, part)) = read_part(text, reader.options) else { return false };
                self.parts.insert(text, part);
            }
        }
        let parts = || texts().filter_map(|(chunk, text)| Some((chunk, self.parts.get(text)?)));
        let mut names = HashSet::new();
        let is_new = |key| names.insert(key) && !reader.known.contains_key(key);
        if !parts().flat_map(|(_, part)| part.known.keys()).all(is_new) {
            return false;
        }
        for (chunk, part) in parts() {
            let moved = Moved { file, bytes: chunk.bytes.start, lines: chunk.lines };
            reader.resources.extend_from(&part.resources, &moved);
            reader.faults.warnings.extend(part.resources.warnings.iter().map(|warning| warning.moved(&moved)));
            reader.known.extend(part.known.iter().map(|(key, source)| (key.clone(), source.moved(&moved))));
        }
        for (_, text) in texts() {
            if let Some(part) = self.parts.get_mut(text) {
                part.used = true;
            }
        }
        true
    }
}

/// Reads a part by itself; `None` when it has a fault.
fn read_part(text: &str, options: &Options) -> Option<(Text, Part)> {
    let file = Arc::new(File { name: String::new(), text: text.to_owned() });
    let mut reader =
        Reader { options, resources: Resources::default(), faults: Faults::default(), known: HashMap::new() };
    reader.file(&file);
    let Reader { mut resources, faults, known, .. } = reader;
    resources.warnings = faults.warnings;
    faults.faults.is_empty().then_some((Text(file), Part { resources, known, used: false }))
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0.text
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Text {}
