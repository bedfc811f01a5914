//! Regular expressions with RE2's semantics and limits, as far as a small engine can have them.

use plugin_config::At;
use std::borrow::Cow;

/// A compiled expression. Linear time; ASCII classes and ASCII case folding, as RE2 has for `\d`, `\w`, `\s`, `\b`.
#[derive(Debug)]
pub struct Regex {
    /// Anchored at both ends, for matching.
    whole: regex_lite::Regex,
    /// As written, for search and replace.
    part: regex_lite::Regex,
    /// What every match of the whole value starts with: compared before the automaton runs.
    literal: Box<[u8]>,
}

/// Longest expression, in bytes: Istio's validation.
const LONGEST: usize = 1024;
/// Largest program, in bytes: bounds what one expression can take of a guest's memory.
const PROGRAM: usize = 1 << 20;
/// Largest repetition count: RE2's.
const REPETITIONS: u32 = 1000;

impl Regex {
    /// Compiles an RE2 expression; what is not one, or cannot be had here, is a fault in `at`.
    pub fn compile(pattern: &str, at: &mut At) -> Option<Self> {
        if pattern.is_empty() {
            return at.fault("\"\"", "an empty expression matches only an empty value: write exact");
        }
        if pattern.len() > LONGEST {
            return at.fault(format_args!("{pattern:?}"), format!("longer than {LONGEST} bytes"));
        }
        if let Some(reason) = unsupported(pattern) {
            return at.fault(format_args!("{pattern:?}"), reason);
        }
        // On its own first: `a)|(b` must not become whole by the brackets put around it.
        let build = |pattern: &str| regex_lite::RegexBuilder::new(pattern).size_limit(PROGRAM).build();
        match build(pattern).and_then(|part| Ok((part, build(&format!(r"\A(?:{pattern})\z"))?))) {
            Ok((part, whole)) => Some(Self { whole, part, literal: literal_prefix(pattern) }),
            Err(error) => at.fault(format_args!("{pattern:?}"), format!("not a valid RE2 expression: {error}")),
        }
    }

    /// Whether the whole value matches. A value that is not UTF-8 never does, as in RE2.
    pub fn is_full_match(&self, value: &[u8]) -> bool {
        value.starts_with(&self.literal) && std::str::from_utf8(value).is_ok_and(|value| self.whole.is_match(value))
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
                    return at.fault(format_args!("{text:?}"), reason);
                }
                _ => return at.fault(format_args!("{text:?}"), r"a backslash must be followed by 0 to 9 or by \"),
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

/// What RE2 has and the engine here has not, or the other way round.
fn unsupported(pattern: &str) -> Option<&'static str> {
    let bytes = pattern.as_bytes();
    let mut in_class = false;
    let mut i = 0;
    while let Some(&byte) = bytes.get(i) {
        let rest = bytes.get(i + 1..).unwrap_or_default();
        match byte {
            b'\\' => {
                match rest.first() {
                    Some(b'p' | b'P') => return Some(r"Unicode classes (\p, \P) are not available: list the ranges"),
                    Some(b'C') => return Some(r"\C is not available"),
                    Some(b'Q') => return Some(r"\Q…\E is not available: escape each character"),
                    _ => {}
                }
                i += 1;
            }
            b'[' if !in_class => {
                in_class = true;
                // `[]…]` and `[^]…]`: a bracket that comes first is a member.
                i += usize::from(rest.first() == Some(&b'^'));
                i += usize::from(bytes.get(i + 1) == Some(&b']'));
            }
            b'[' if rest.first() == Some(&b':') => {
                i += rest.windows(2).position(|pair| pair == b":]").map_or(0, |end| end + 2);
            }
            b']' => in_class = false,
            b'(' if !in_class && rest.starts_with(b"?") && !known_group(rest) => {
                return Some("only (?:…), (?P<name>…) and the flags i, m, s, U are RE2's");
            }
            b'{' if !in_class && repetitions(rest).is_some_and(|count| count > REPETITIONS) => {
                return Some("repetition counts go up to 1000");
            }
            _ => {}
        }
        i += 1;
    }
    None
}

/// `rest` starts behind the bracket, with `?`.
fn known_group(rest: &[u8]) -> bool {
    if rest.starts_with(b"?P<") || rest.starts_with(b"?<") {
        return true;
    }
    let end = rest.iter().position(|byte| matches!(byte, b':' | b')')).unwrap_or(rest.len());
    rest.get(1..end).is_some_and(|flags| flags.iter().all(|flag| b"imsU-".contains(flag)))
}

/// The larger count of `{n}`, `{n,}`, `{n,m}`; `None` when the brace is no repetition.
fn repetitions(rest: &[u8]) -> Option<u32> {
    let end = rest.iter().position(|&byte| byte == b'}')?;
    let counts = std::str::from_utf8(rest.get(..end)?).ok()?;
    counts.split(',').filter(|count| !count.is_empty()).map(|count| count.parse().unwrap_or(u32::MAX)).max()
}

/// The plain characters that an expression starts with; none when alternatives or flags could change their meaning.
fn literal_prefix(pattern: &str) -> Box<[u8]> {
    if pattern.contains('|') || pattern.contains("(?") {
        return Box::default();
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_ :=,;%&~!@#<>'\"".contains(c);
    let end = pattern.find(|c: char| !plain(c)).unwrap_or(pattern.len());
    let (literal, rest) = pattern.split_at_checked(end).unwrap_or_default();
    // The last character belongs to a repetition that may be none.
    let kept = if rest.starts_with(['?', '*', '{']) { literal.len().saturating_sub(1) } else { literal.len() };
    literal.as_bytes().get(..kept).unwrap_or_default().into()
}
