//! What is wrong with a configuration, and where.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// One place where a configuration is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: `rules[2].delay.fixedDelay`; `$` is the document itself.
    pub path: String,
    /// The offending value as JSON, shortened.
    pub value: String,
    /// Why it was refused, and what would be accepted.
    pub reason: Cow<'static, str>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.path, ": ", &self.value, ": ", &self.reason] {
            f.write_str(part)?;
        }
        Ok(())
    }
}

/// Every fault of one configuration: those of reading it, in document order, then those of what was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// A single fault of the whole document.
    pub fn whole(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(vec![Fault { path: "$".into(), value: String::new(), reason: reason.into() }])
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The faults, in document order.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// The same faults with their paths below `prefix`: `authz` turns `rules[0]` into `authz.rules[0]`.
    pub fn under(mut self, prefix: &str) -> Self {
        for fault in &mut self.0 {
            fault.path = match fault.path.as_str() {
                "$" => prefix.to_owned(),
                path if path.starts_with('[') => format!("{prefix}{path}"),
                path => format!("{prefix}.{path}"),
            };
        }
        self
    }

    /// Adds the faults of another reading of the same document.
    pub fn extend(&mut self, other: Faults) {
        self.0.extend(other.0);
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The place being read: carries the path from the document's root and collects faults.
///
/// The path is kept as segments and spelt out only when there is a fault, so a good configuration pays nothing.
#[derive(Debug)]
pub struct At {
    path: Vec<Segment>,
    faults: Vec<Fault>,
    /// Where something could not be read.
    unread: Vec<String>,
    checks: bool,
}

#[derive(Debug)]
enum Segment {
    Field(&'static str),
    Key(String),
    Index(usize),
}

/// Longest excerpt of a value that a fault quotes, in characters.
const EXCERPT: usize = 80;

impl At {
    /// At the root of a document, for reading one or for checks that follow reading.
    pub fn root() -> Self {
        Self { path: Vec::new(), faults: Vec::new(), unread: Vec::new(), checks: false }
    }

    /// What follows checks what was read. Where something could not be read a default stands in its place, and a fault
    /// that is found there, or around it, is none of the user's: it is not recorded.
    pub fn start_checks(&mut self) {
        self.checks = true;
    }

    /// What follows reads on.
    pub fn start_reading(&mut self) {
        self.checks = false;
    }

    /// Whether no fault was met so far.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty()
    }

    /// Reads something one level down, at a field.
    pub fn field<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.enter_field(name);
        let value = read(self);
        self.leave();
        value
    }

    /// Reads something one level down, at a key of a map.
    pub fn key<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.enter_key(key);
        let value = read(self);
        self.leave();
        value
    }

    /// Reads something one level down, at an item of a list.
    pub fn index<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        self.enter_index(index);
        let value = read(self);
        self.leave();
        value
    }

    // Not inlined: these stand in every reader of every type, and a module's size is counted.
    #[inline(never)]
    fn enter_field(&mut self, name: &'static str) {
        self.path.push(Segment::Field(name));
    }

    #[inline(never)]
    fn enter_index(&mut self, index: usize) {
        self.path.push(Segment::Index(index));
    }

    #[inline(never)]
    fn enter_key(&mut self, key: &str) {
        self.path.push(Segment::Key(key.to_owned()));
    }

    #[inline(never)]
    fn leave(&mut self) {
        self.path.pop();
    }

    /// Records that the value here is refused.
    pub fn refuse(&mut self, value: impl fmt::Display, reason: impl Reason) {
        reason.record(&value, self);
    }

    /// As [`At::refuse`]. Returns `None`, so that whoever compiles a value can end with it.
    pub fn fault<T>(&mut self, value: impl fmt::Display, reason: impl Reason) -> Option<T> {
        self.refuse(value, reason);
        None
    }

    #[inline(never)]
    fn record(&mut self, value: &dyn fmt::Display, reason: Cow<'static, str>) {
        let path = self.path();
        if self.checks {
            if self.unread.iter().any(|unread| is_within(&path, unread)) {
                return;
            }
        } else {
            self.unread.push(path.clone());
        }
        let mut excerpt = Excerpt { text: String::new(), left: EXCERPT };
        // Ends with an error once it is long enough.
        let _ = write!(excerpt, "{value}");
        self.faults.push(Fault { path, value: excerpt.text, reason });
    }

    /// Whether a field of the object here could not be read, or something beside it could not that may have been meant
    /// for it: then what is said against its default is said against nothing that is written.
    pub fn is_unread(&self, field: &str) -> bool {
        if self.unread.is_empty() {
            return false;
        }
        let object = self.path();
        let path = if object == "$" { field.to_owned() } else { format!("{object}.{field}") };
        let is_beside = |unread: &str| {
            let inner = if object == "$" { Some(unread) } else { unread.strip_prefix(&object) };
            inner.is_some_and(|inner| !inner.trim_start_matches('.').contains(['.', '[']))
        };
        self.unread.iter().any(|unread| is_within(&path, unread) || is_beside(unread))
    }

    /// The faults met so far.
    pub fn into_faults(self) -> Faults {
        Faults(self.faults)
    }

    fn path(&self) -> String {
        let mut out = String::new();
        for segment in &self.path {
            let dot = if out.is_empty() { "" } else { "." };
            match segment {
                Segment::Field(name) => out.extend([dot, name]),
                Segment::Key(key) if plain(key) => out.extend([dot, key]),
                Segment::Key(key) => {
                    let _ = write!(out, "[{}]", Quoted(key));
                }
                Segment::Index(index) => {
                    let _ = write!(out, "[{index}]");
                }
            }
        }
        if out.is_empty() { "$".into() } else { out }
    }
}

/// A reason as it is given: mostly a text that is there anyway.
pub trait Reason {
    /// Records that a value is refused for this reason.
    fn record(self, value: &dyn fmt::Display, at: &mut At);
}

impl Reason for &'static str {
    // As with `enter_field`: a module has hundreds of reasons.
    #[inline(never)]
    fn record(self, value: &dyn fmt::Display, at: &mut At) {
        at.record(value, self.into());
    }
}

impl Reason for String {
    #[inline(never)]
    fn record(self, value: &dyn fmt::Display, at: &mut At) {
        at.record(value, self.into());
    }
}

/// Whether one path is the other, or leads to it.
fn is_within(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    short == "$" || long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The start of a value.
struct Excerpt {
    text: String,
    /// How many characters there is room for.
    left: usize,
}

impl Write for Excerpt {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.left == 0 {
                self.text.push('…');
                return Err(fmt::Error);
            }
            self.left -= 1;
            self.text.push(character);
        }
        Ok(())
    }
}

/// Texts with a separator between them. (`join` would be there once for each type of text, at a kilobyte each.)
pub fn joined(texts: &mut dyn Iterator<Item = &str>, separator: &str) -> String {
    let mut out = String::new();
    for text in texts {
        if !out.is_empty() {
            out.push_str(separator);
        }
        out.push_str(text);
    }
    out
}

fn plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A text as JSON writes it, for messages. (`{:?}` would link Unicode tables into every module.)
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\0'..='\x1f' | '\x7f' => write!(f, "\\u{:04x}", u32::from(character))?,
                other => f.write_char(other)?,
            }
        }
        f.write_char('"')
    }
}
