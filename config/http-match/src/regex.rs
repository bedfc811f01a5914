//! Regular expressions with RE2's semantics and limits, as far as a small engine can have them.

use crate::re2_syntax;
use plugin_config::{At, Quoted};
use std::borrow::Cow;

/// A compiled expression, matched in linear time. `\d`, `\w`, `\s`, `\b` are about ASCII, as RE2 has them; `(?i)` is so
/// too, where RE2 also takes `K` (the Kelvin sign) for `k` and `ſ` for `s`.
#[derive(Debug)]
pub struct Regex {
    /// What decides about a whole value.
    whole: Whole,
    /// As written, for search and replace.
    part: regex_lite::Regex,
    /// What every match of the whole value starts with: compared before the automaton runs.
    literal: Box<[u8]>,
}

/// What the expression asks of what follows its literal start. The first two are common and need no automaton.
#[derive(Debug)]
enum Whole {
    /// Nothing may follow.
    Nothing,
    /// `.*`: any text of one line.
    Line,
    /// The expression, anchored at both ends.
    Program(regex_lite::Regex),
}

/// Longest expression, in bytes: Istio's validation.
const LONGEST: usize = 1024;
/// Largest program, in bytes: bounds what one expression can take of a guest's memory.
const PROGRAM: usize = 1 << 20;

impl Regex {
    /// Compiles an RE2 expression; what is not one, or cannot be had here, is a fault in `at`.
    pub fn compile(pattern: &str, at: &mut At) -> Option<Self> {
        if pattern.is_empty() {
            return at.fault("\"\"", "an empty expression matches only an empty value: write exact");
        }
        if pattern.len() > LONGEST {
            return at.fault(Quoted(pattern), format!("longer than {LONGEST} bytes"));
        }
        if let Some(reason) = re2_syntax::refusal(pattern) {
            return at.fault(Quoted(pattern), reason);
        }
        // On its own first: `a)|(b` must not become whole by the brackets put around it.
        let build = |pattern: &str| regex_lite::RegexBuilder::new(pattern).size_limit(PROGRAM).build();
        let (literal, rest) = literal_prefix(pattern);
        let whole = || match rest {
            b"" => Ok(Whole::Nothing),
            b".*" => Ok(Whole::Line),
            _ => build(&format!(r"\A(?:{pattern})\z")).map(Whole::Program),
        };
        match build(pattern).and_then(|part| Ok((part, whole()?))) {
            Ok((part, whole)) => Some(Self { whole, part, literal }),
            Err(error) => at.fault(Quoted(pattern), format!("not a valid RE2 expression: {error}")),
        }
    }

    /// Whether the whole value matches. A value that is not UTF-8 never does, as in RE2.
    pub fn is_full_match(&self, value: &[u8]) -> bool {
        // The literal is ASCII: what follows it is text when the value is.
        let Some(rest) = value.strip_prefix(&*self.literal) else { return false };
        match &self.whole {
            Whole::Nothing => rest.is_empty(),
            Whole::Line => !rest.contains(&b'\n') && std::str::from_utf8(rest).is_ok(),
            Whole::Program(program) => std::str::from_utf8(value).is_ok_and(|value| program.is_match(value)),
        }
    }

    /// Replaces every match in the value. A value that is not UTF-8, or has no match, stays as it is.
    pub fn replace_all<'v>(&self, value: &'v [u8], substitution: &Substitution) -> Cow<'v, [u8]> {
        let Ok(text) = std::str::from_utf8(value) else {
            return Cow::Borrowed(value);
        };
        match self.part.replace_all(text, |captures: &regex_lite::Captures<'_>| substitution.expand(captures)) {
            Cow::Borrowed(_) => Cow::Borrowed(value),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }
    }

    /// What every value that matches starts with; may be empty.
    pub fn literal_prefix(&self) -> &[u8] {
        &self.literal
    }

    /// How many groups the expression captures, the whole match (`\0`) not counted.
    pub fn groups(&self) -> usize {
        self.part.captures_len().saturating_sub(1)
    }
}

/// The replacement of Istio's `uriRegexRewrite.rewrite`: text with `\0` to `\9` for groups and `\\` for a backslash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Substitution(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
}

impl Substitution {
    /// Reads a replacement for an expression with so many groups. A group that does not exist, or another character
    /// after a backslash, is a fault, as RE2's check of a rewrite has it.
    pub fn compile(text: &str, groups: usize, at: &mut At) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            if character != '\\' {
                literal.push(character);
                continue;
            }
            match characters.next() {
                Some('\\') => literal.push('\\'),
                Some(digit) if digit.to_digit(10).is_some_and(|group| group as usize <= groups) => {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    pieces.push(Piece::Group(digit.to_digit(10)? as usize));
                }
                Some(digit @ '0'..='9') => {
                    let reason = format!("\\{digit}: the expression has only {groups} groups");
                    return at.fault(Quoted(text), reason);
                }
                _ => return at.fault(Quoted(text), r"a backslash must be followed by 0 to 9 or by \"),
            }
        }
        pieces.push(Piece::Text(literal));
        Some(Self(pieces))
    }

    fn expand(&self, captures: &regex_lite::Captures<'_>) -> String {
        let part = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Group(group) => captures.get(*group).map_or_else(String::new, |found| found.as_str().to_owned()),
        };
        self.0.iter().map(part).collect()
    }
}

/// The plain characters that an expression starts with (none when alternatives or flags could change their meaning),
/// and the expression behind them.
fn literal_prefix(pattern: &str) -> (Box<[u8]>, &[u8]) {
    let mut literal = Vec::new();
    if pattern.contains('|') || pattern.as_bytes().windows(2).any(|pair| pair == b"(?") {
        return (literal.into(), pattern.as_bytes());
    }
    let mut rest = pattern.strip_prefix('^').unwrap_or(pattern).as_bytes();
    loop {
        let (character, behind) = match rest {
            [b'\\', character, behind @ ..] if character.is_ascii_punctuation() => (character, behind),
            [character, behind @ ..] if is_plain(*character) => (character, behind),
            _ => return (literal.into(), rest),
        };
        // It may be repeated no times at all.
        if let Some(b'?' | b'*' | b'{') = behind.first() {
            return (literal.into(), rest);
        }
        literal.push(*character);
        rest = behind;
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-_ :=,;%&~!@#<>'\"".contains(&byte)
}
