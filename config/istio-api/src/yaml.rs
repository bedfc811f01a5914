//! YAML text → trees of which every key and value has its place.
//!
//! Scalars mean what they mean to Kubernetes, whose tools turn YAML into JSON by YAML 1.1's rules (`yes`, `on` and `n`
//! are truth values; see [`crate::scalar_text`]): for that the text and the quotes of a scalar are needed, which no
//! deserialiser hands on.

use crate::scalar_text::{Scalar, resolve};
use crate::tree::{Entry, Mark, Tree, Value};
use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use plugin_config::Quoted;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// How deep a document may nest.
const DEEPEST: u32 = 100;

/// How many values the aliases of one file may stand for together: a few lines of them can say a billion.
const ALIASED: usize = 100_000;

/// One document of a text.
#[derive(Debug)]
pub(crate) struct Document<'t> {
    pub(crate) root: Tree<'t>,
    /// Where it starts.
    pub(crate) mark: Mark,
    /// What is no value that Kubernetes takes, though it is YAML.
    pub(crate) faults: Vec<Defect>,
}

/// What is wrong at one place of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Defect {
    pub(crate) mark: Mark,
    /// As it is written.
    pub(crate) value: String,
    pub(crate) reason: Cow<'static, str>,
}

/// The documents of a text, and the place where it stops being YAML; what stands before that is read all the same.
pub(crate) fn documents(text: &str) -> (Vec<Document<'_>>, Option<Defect>) {
    let mut reader = Reader::new(text);
    let mut documents = Vec::new();
    loop {
        match reader.document() {
            Ok(Some(document)) => documents.push(document),
            Ok(None) => return (documents, None),
            Err(defect) => return (documents, Some(defect)),
        }
    }
}

/// A part of a text that has all of some documents.
pub(crate) struct Chunk {
    pub(crate) bytes: Range<usize>,
    /// Lines before it.
    pub(crate) lines: usize,
}

/// The parts of a text that can be read by themselves: what stands before each `---`. A line that begins so is never
/// within a value (YAML 1.2, 9.1.2). `None` where parts may depend on each other (directives; anchors, whose aliases are
/// counted for the file), or where lines cannot be counted without reading.
pub(crate) fn split(text: &str) -> Option<Vec<Chunk>> {
    let may_anchor = |before: &str| before.ends_with(|last: char| last.is_whitespace() || "[{,:?-".contains(last));
    let mut ampersands = text.match_indices('&').filter_map(|(place, _)| text.get(..place));
    if ampersands.any(|before| before.is_empty() || may_anchor(before)) {
        return None;
    }
    let (mut chunks, mut start, mut start_lines) = (Vec::new(), 0, 0);
    let (mut offset, mut lines) = (0, 0);
    for line in text.split_inclusive('\n') {
        if line.starts_with('%') || line.trim_end_matches("\r\n").contains('\r') {
            return None;
        }
        let marker =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marker && offset > start {
            chunks.push(Chunk { bytes: start..offset, lines: start_lines });
            (start, start_lines) = (offset, lines);
        }
        offset += line.len();
        lines += 1;
    }
    chunks.push(Chunk { bytes: start..offset, lines: start_lines });
    Some(chunks)
}

/// The first document of a text that was read without a fault before.
pub(crate) fn first(text: &str) -> Option<Document<'_>> {
    Reader::new(text).document().ok().flatten()
}

struct Reader<'t> {
    text: &'t str,
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    anchors: HashMap<usize, Tree<'t>>,
    /// How many values aliases have stood for.
    aliased: usize,
    faults: Vec<Defect>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        let mut options = Options::default();
        options.set_emit_comments(false);
        let parser = Parser::new_from_str_with_options(text, options);
        Self { text, parser, anchors: HashMap::new(), aliased: 0, faults: Vec::new() }
    }

    /// The next document; `None` behind the last.
    fn document(&mut self) -> Result<Option<Document<'t>>, Defect> {
        loop {
            let Some(next) = self.parser.next() else { return Ok(None) };
            let (event, span) = next.map_err(|error| syntax(&error))?;
            if let Event::DocumentStart(..) = event {
                self.anchors.clear();
                let root = self.value(DEEPEST)?;
                let faults = std::mem::take(&mut self.faults);
                return Ok(Some(Document { root, mark: Mark::new(&span), faults }));
            }
        }
    }

    fn event(&mut self) -> Result<(Event<'t>, Span), Defect> {
        match self.parser.next() {
            Some(next) => next.map_err(|error| syntax(&error)),
            None => {
                Err(Defect { mark: Mark::default(), value: String::new(), reason: "the text ends too early".into() })
            }
        }
    }

    fn value(&mut self, depth: u32) -> Result<Tree<'t>, Defect> {
        let (event, span) = self.event()?;
        self.value_of(event, &span, depth)
    }

    fn value_of(&mut self, event: Event<'t>, span: &Span, depth: u32) -> Result<Tree<'t>, Defect> {
        let mark = Mark::new(span);
        let (value, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, mark),
            Event::Scalar(text, style, anchor, tag) => (self.scalar(text, style, tag.as_deref(), mark), anchor),
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "seq", mark);
                (self.list(below(depth, mark)?)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "map", mark);
                (self.object(below(depth, mark)?)?, anchor)
            }
            _ => (Value::Null, 0),
        };
        let tree = Tree { value, mark };
        if anchor != 0 {
            self.anchors.insert(anchor, tree.clone());
        }
        Ok(tree)
    }

    fn list(&mut self, depth: u32) -> Result<Value<'t>, Defect> {
        let mut items = Vec::new();
        loop {
            match self.event()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.value_of(event, &span, depth)?),
            }
        }
    }

    fn object(&mut self, depth: u32) -> Result<Value<'t>, Defect> {
        let mut entries: Vec<Entry<'t>> = Vec::new();
        let mut seen = Seen::default();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.event()?;
            if let Event::MappingEnd = event {
                break;
            }
            let mark = Mark::new(&span);
            let key = self.key(event, mark, depth)?;
            let value = self.value(depth)?;
            match key {
                Key::Merge => merged.push((mark, value)),
                Key::None => {}
                Key::Text(key) if seen.is_new(&key, &entries) => entries.push(Entry { key, mark, value }),
                Key::Text(key) => {
                    let first = entries.iter().find(|entry| entry.key == key).map(|entry| entry.mark.line);
                    let reason = format!("duplicate key, first at line {}", first.unwrap_or_default());
                    self.refuse(mark, Quoted(&key).to_string(), reason);
                }
            }
        }
        for (mark, value) in merged {
            self.merge(&mut entries, &mut seen, mark, value);
        }
        Ok(Value::Object(entries))
    }

    /// `<<`: entries of another object, where there is none of the same key.
    fn merge(&mut self, entries: &mut Vec<Entry<'t>>, seen: &mut Seen, mark: Mark, value: Tree<'t>) {
        let objects = match value.value {
            Value::List(items) => items,
            _ => vec![value],
        };
        for object in objects {
            let Value::Object(others) = object.value else {
                self.refuse(mark, "\"<<\"".to_owned(), "expected an object, or a list of objects, to merge");
                continue;
            };
            for entry in others {
                if seen.is_new(&entry.key, entries) {
                    entries.push(entry);
                }
            }
        }
    }

    fn key(&mut self, event: Event<'t>, mark: Mark, depth: u32) -> Result<Key<'t>, Defect> {
        let (text, style) = match event {
            Event::Scalar(text, style, ..) => (text, style),
            other => {
                self.refuse(mark, self.excerpt(mark), "a key must be a text");
                self.value_of(other, &Span::default(), depth)?;
                return Ok(Key::None);
            }
        };
        if style != ScalarStyle::Plain {
            return Ok(Key::Text(text));
        }
        Ok(match resolve(&text) {
            Scalar::Text | Scalar::Number => match text.as_ref() {
                "<<" => Key::Merge,
                _ => Key::Text(text),
            },
            Scalar::Null => self.bad_key(mark, &text, "a key must be a text"),
            Scalar::Bool(value) => {
                let reason = format!("Kubernetes reads this key as {value}: put it in quotes");
                self.bad_key(mark, &text, reason)
            }
            Scalar::Refused(reason) => self.bad_key(mark, &text, reason),
        })
    }

    fn bad_key(&mut self, mark: Mark, text: &str, reason: impl Into<Cow<'static, str>>) -> Key<'t> {
        self.refuse(mark, text.to_owned(), reason);
        Key::None
    }

    fn scalar(&mut self, text: Cow<'t, str>, style: ScalarStyle, tag: Option<&Tag>, mark: Mark) -> Value<'t> {
        let plain = style == ScalarStyle::Plain;
        let suffix = tag.map(|tag| tag.is_yaml_core_schema().then(|| tag.suffix().to_owned()));
        let resolved = if plain { resolve(&text) } else { Scalar::Text };
        let (value, kind) = match resolved {
            Scalar::Null => (Value::Null, "null"),
            Scalar::Bool(value) => (Value::Bool(value), "bool"),
            Scalar::Number if text.contains(['.', 'e', 'E']) => (Value::Number(text.clone()), "float"),
            Scalar::Number => (Value::Number(text.clone()), "int"),
            Scalar::Text => (Value::Text(text.clone()), "str"),
            Scalar::Refused(_) if suffix == Some(Some("str".to_owned())) => return Value::Text(text),
            Scalar::Refused(reason) => {
                self.refuse(mark, text.into_owned(), reason);
                return Value::Null;
            }
        };
        match suffix.as_ref().map(Option::as_deref) {
            Some(Some("str")) => Value::Text(text),
            Some(tag) if tag != Some(kind) => {
                self.refuse(mark, self.excerpt(mark), "expected no tag, or one of what the value is");
                Value::Null
            }
            _ => value,
        }
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, kind: &str, mark: Mark) {
        if tag.is_some_and(|tag| !(tag.is_yaml_core_schema() && tag.suffix() == kind)) {
            self.refuse(mark, self.excerpt(mark), "expected no tag");
        }
    }

    fn alias(&mut self, anchor: usize, mark: Mark) -> Result<Tree<'t>, Defect> {
        // A value that is not complete yet has no entry: it would stand within itself.
        let Some(tree) = self.anchors.get(&anchor) else {
            return Err(Defect {
                mark,
                value: self.excerpt(mark),
                reason: "an alias within what it stands for".into(),
            });
        };
        self.aliased = self.aliased.saturating_add(size(tree));
        if self.aliased > ALIASED {
            let reason = format!("the aliases of this file stand for more than {ALIASED} values");
            return Err(Defect { mark, value: self.excerpt(mark), reason: reason.into() });
        }
        let mut tree = tree.clone();
        tree.mark = mark;
        Ok(tree)
    }

    fn refuse(&mut self, mark: Mark, value: String, reason: impl Into<Cow<'static, str>>) {
        self.faults.push(Defect { mark, value, reason: reason.into() });
    }

    fn excerpt(&self, mark: Mark) -> String {
        let line = self.text.get(mark.bytes()).and_then(|text| text.lines().next()).unwrap_or_default();
        line.chars().take(80).collect()
    }
}

/// The keys of an object that is being read; a table once there are many.
#[derive(Default)]
struct Seen(HashSet<Box<str>>);

impl Seen {
    const FEW: usize = 16;

    /// Whether a key is none of those of the entries.
    fn is_new(&mut self, key: &str, entries: &[Entry<'_>]) -> bool {
        if entries.len() < Self::FEW {
            return entries.iter().all(|entry| entry.key != key);
        }
        if self.0.is_empty() {
            self.0.extend(entries.iter().map(|entry| entry.key.as_ref().into()));
        }
        self.0.insert(key.into())
    }
}

/// What stands before a colon.
enum Key<'t> {
    Text(Cow<'t, str>),
    /// `<<`
    Merge,
    /// What was refused.
    None,
}

fn below(depth: u32, mark: Mark) -> Result<u32, Defect> {
    depth.checked_sub(1).ok_or(Defect { mark, value: String::new(), reason: "it nests too deeply".into() })
}

fn syntax(error: &ScanError) -> Defect {
    let marker = error.marker();
    let start = marker.byte_offset().unwrap_or_default();
    let mark = Mark { line: marker.line(), column: marker.col() + 1, start, end: start };
    Defect { mark, value: String::new(), reason: format!("not YAML: {}", error.info()).into() }
}

/// How many values a tree has.
fn size(tree: &Tree<'_>) -> usize {
    match &tree.value {
        Value::List(items) => items.iter().map(size).fold(1, usize::saturating_add),
        Value::Object(entries) => entries.iter().map(|entry| size(&entry.value)).fold(1, usize::saturating_add),
        _ => 1,
    }
}
