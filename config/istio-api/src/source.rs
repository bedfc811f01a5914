//! Where a resource was read: its file, and the place of each of its fields.

use crate::field_path;
use crate::yaml::{self, Mark};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A file that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// Its path as given, or `-` for standard input.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<File>,
    /// From one on.
    pub line: usize,
    /// In characters, from one on.
    pub column: usize,
    /// What stands there, in bytes of the file's text.
    pub bytes: Range<usize>,
}

impl Place {
    pub(crate) fn new(file: &Arc<File>, mark: Mark) -> Self {
        Self { file: file.clone(), line: mark.line, column: mark.column, bytes: mark.bytes() }
    }
}

/// `reviews.yaml:31:22`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.name, self.line, self.column)
    }
}

/// Where a resource was read.
///
/// It keeps no place of any field: the document is read again when somebody asks. Ten thousand resources have a million
/// fields, and a run that finds nothing wrong asks for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    file: Arc<File>,
    /// Bytes before the document.
    offset: usize,
    /// Lines before the document.
    lines: usize,
    /// The item of a `List` that it is: `items[3]`.
    item: Option<String>,
}

impl Source {
    /// Of a document that starts at a mark.
    pub(crate) fn new(file: &Arc<File>, document: Mark, item: Option<String>) -> Self {
        // What stands before the document in its line counts for columns, so the line is read whole.
        let start = document.bytes().start;
        let before = file.text.get(..start).unwrap_or_default();
        let offset = before.rfind('\n').map_or(0, |end| end + 1);
        Self { file: file.clone(), offset, lines: document.line.saturating_sub(1), item }
    }

    /// The file.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Where the field of a path (`spec.http[2].fault`; `$` is the resource itself) stands, or the nearest field above
    /// it that there is. A field with fields or items of its own stands where its name does.
    pub fn place(&self, path: &str) -> Place {
        let document = self.file.text.get(self.offset..).and_then(yaml::first);
        let path = match &self.item {
            Some(item) if path == "$" => item.clone(),
            Some(item) => format!("{item}.{path}"),
            None => path.to_owned(),
        };
        let mark = document.map(|document| field_path::place(&document.root, &path)).unwrap_or_default();
        let bytes = mark.bytes();
        Place {
            file: self.file.clone(),
            line: mark.line + self.lines,
            column: mark.column,
            bytes: bytes.start + self.offset..bytes.end + self.offset,
        }
    }

    /// The line of the resource itself, from one on: what stands for its age among others without one.
    pub fn line(&self) -> usize {
        self.place("$").line
    }
}
