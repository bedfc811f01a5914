//! What is wrong with a configuration, and where.

use std::fmt::{self, Write};

/// One place where a configuration is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: `rules[2].delay.fixedDelay`; `$` is the document itself.
    pub path: String,
    /// The offending value as JSON, shortened.
    pub value: String,
    /// Why it was refused, and what would be accepted.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.path, self.value, self.reason)
    }
}

/// Every fault of one configuration, in document order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// A single fault of the whole document.
    pub fn whole(reason: impl Into<String>) -> Self {
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
        Self { path: Vec::new(), faults: Vec::new() }
    }

    /// Reads something one level down, at a field.
    pub fn field<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.enter(Segment::Field(name));
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
        self.enter(Segment::Index(index));
        let value = read(self);
        self.leave();
        value
    }

    // Not inlined: these stand in every reader of every type, and a module's size is counted.
    #[inline(never)]
    fn enter(&mut self, segment: Segment) {
        self.path.push(segment);
    }

    #[inline(never)]
    fn enter_key(&mut self, key: &str) {
        self.path.push(Segment::Key(key.to_owned()));
    }

    #[inline(never)]
    fn leave(&mut self) {
        self.path.pop();
    }

    /// Records that the value here is refused. Returns `None`, so a reader can end with it.
    pub fn fault<T>(&mut self, value: impl fmt::Display, reason: impl Into<String>) -> Option<T> {
        self.record(&value, reason.into());
        None
    }

    #[inline(never)]
    fn record(&mut self, value: &dyn fmt::Display, reason: String) {
        let mut value = value.to_string();
        if let Some((cut, _)) = value.char_indices().nth(EXCERPT) {
            value.truncate(cut);
            value.push('…');
        }
        self.faults.push(Fault { path: self.path(), value, reason });
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
