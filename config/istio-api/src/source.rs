//! Where a resource was read: its file, and the place of each of its fields.

use crate::document_cache::Moved;
use crate::field_path;
use crate::tree::{Mark, Tree};
use crate::yaml::{self, Document};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A file that was read.
#[derive(PartialEq, Eq)]
pub struct File {
    /// Its path as given, or `-` for standard input.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// Without its text: it may be long, and secret.
impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.name).finish()
    }
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
    /// What of the document it is, as a path: `items[3]` of a `List`, `data.mesh` of a ConfigMap.
    part: Option<Part>,
}

/// A part of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// An item of a `List`.
    Item(String),
    /// A text that is YAML itself.
    Text(String),
}

impl Source {
    /// Of a document that starts at a mark, or of an item of a `List` in it.
    pub(crate) fn new(file: &Arc<File>, document: Mark, item: Option<String>) -> Self {
        // What stands before the document in its line counts for columns, so the line is read whole.
        let before = file.text.get(..document.bytes().start).unwrap_or_default();
        let offset = before.rfind(['\n', '\r']).map_or(0, |end| end + 1);
        Self { file: file.clone(), offset, lines: document.line.saturating_sub(1), part: item.map(Part::Item) }
    }

    /// Of a file that is no list of documents, but one value.
    pub(crate) fn whole(file: &Arc<File>) -> Self {
        Self { file: file.clone(), offset: 0, lines: 0, part: None }
    }

    /// Of a text within, which is YAML itself: `data.mesh` of a ConfigMap.
    pub(crate) fn text(&self, path: &str) -> Self {
        Self { part: Some(Part::Text(self.absolute(path))), ..self.clone() }
    }

    /// The same of a document that stands further on in another file.
    pub(crate) fn moved(&self, to: &Moved<'_>) -> Self {
        let (offset, lines) = (self.offset + to.bytes, self.lines + to.lines);
        Self { file: to.file.clone(), offset, lines, part: self.part.clone() }
    }

    /// The file.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Where the field of a path (`spec.http[2].fault`; `$` is the resource itself) stands, or the nearest field above
    /// it that there is. A field with fields or items of its own stands where its name does.
    pub fn place(&self, path: &str) -> Place {
        let Some(document) = self.file.text.get(self.offset..).and_then(yaml::first) else {
            return Place::new(&self.file, Mark::default());
        };
        match &self.part {
            Some(Part::Text(text)) => self.place_in_text(&document, text, path),
            _ => self.in_file(field_path::place(&document.root, &self.absolute(path))),
        }
    }

    /// A path from the document's root on.
    fn absolute(&self, path: &str) -> String {
        match &self.part {
            Some(Part::Item(item)) if path == "$" => item.clone(),
            Some(Part::Item(item)) => format!("{item}.{path}"),
            _ => path.to_owned(),
        }
    }

    fn in_file(&self, mark: Mark) -> Place {
        let bytes = mark.bytes();
        Place {
            file: self.file.clone(),
            line: mark.line + self.lines,
            column: mark.column,
            bytes: bytes.start + self.offset..bytes.end + self.offset,
        }
    }

    fn place_in_text(&self, document: &Document<'_>, text: &str, path: &str) -> Place {
        let outer = self.in_file(field_path::place(&document.root, text));
        let Some(text) = field_path::find(&document.root, text).and_then(Tree::text) else { return outer };
        let inner = yaml::first(text).map(|inner| field_path::place(&inner.root, path)).unwrap_or_default();
        outer.within(text, inner)
    }

    /// Where a mark of the resource's text stands.
    pub(crate) fn place_of(&self, mark: Mark) -> Place {
        let document = self.file.text.get(self.offset..).and_then(yaml::first);
        match (&self.part, document) {
            (Some(Part::Text(path)), Some(document)) => {
                let text = field_path::find(&document.root, path).and_then(Tree::text).unwrap_or_default();
                self.in_file(field_path::place(&document.root, path)).within(text, mark)
            }
            _ => self.in_file(mark),
        }
    }
}

impl Place {
    /// The same of a document that stands further on in another file.
    pub(crate) fn moved(&self, to: &Moved<'_>) -> Self {
        let bytes = self.bytes.start + to.bytes..self.bytes.end + to.bytes;
        Self { file: to.file.clone(), line: self.line + to.lines, column: self.column, bytes }
    }

    /// Where a mark of the text that begins here is in the file. Of a text that is not written as a block (`|`) only
    /// where it begins is known.
    fn within(self, text: &str, mark: Mark) -> Self {
        let file = self.file.clone();
        let before = file.text.get(..self.bytes.start).unwrap_or_default();
        let indent = before.rsplit('\n').next().unwrap_or_default();
        if !indent.bytes().all(|byte| byte == b' ') {
            return self;
        }
        // A block begins with the first of its lines that is not blank.
        let blank = text.bytes().take_while(|byte| *byte == b'\n').count();
        let line = self.line + mark.line.saturating_sub(1 + blank);
        let column = mark.column + indent.len();
        let mut lines = file.text.split_inclusive('\n');
        let start: usize = lines.by_ref().take(line - 1).map(str::len).sum();
        let line_text = lines.next().unwrap_or_default();
        let offset = line_text.char_indices().nth(column - 1).map_or(line_text.len(), |(offset, _)| offset);
        Self { line, column, bytes: start + offset..start + offset + mark.bytes().len(), file }
    }
}
