//! Envoy's format strings as they are written: text, and commands between percent signs. What a command says is known
//! to whoever has its values: filters for headers, the proxy for access logs.

use std::borrow::Cow;

/// A part of a format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatPiece<'t> {
    /// As it is to be written; `%%` has become a percent sign.
    Text(Cow<'t, str>),
    /// A command.
    Command(FormatCommand<'t>),
}

/// A command: `NAME`, `NAME(argument)`, `NAME:limit`, `NAME(argument):limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatCommand<'t> {
    /// All of it, without the percent signs.
    pub text: &'t str,
    /// The byte of the format string at which it begins: its percent sign.
    pub at: usize,
    /// Its name.
    pub name: &'t str,
    /// What stands between parentheses.
    pub argument: Option<&'t str>,
    /// How many bytes of the value are wanted; all without.
    pub limit: Option<usize>,
}

/// Why a text is no format string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatFault<'t> {
    /// The byte of the format string.
    pub at: usize,
    /// The command, without its percent signs; none for a percent sign that does not pair.
    pub command: Option<&'t str>,
    /// In words.
    pub reason: &'static str,
}

/// Reads a format string.
///
/// # Errors
/// The first percent sign that does not pair, or command that is not of the form.
pub fn read_format(text: &str) -> Result<Vec<FormatPiece<'_>>, FormatFault<'_>> {
    const UNPAIRED: &str = "a % begins a command that no other % ends: write %% for a percent sign";
    let (mut pieces, mut at) = (Vec::new(), 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (before, after) = rest.split_once('%').map_or((rest, None), |(before, after)| (before, Some(after)));
        add_text(&mut pieces, before);
        let Some(after) = after else { break };
        let sign = at + before.len();
        if after.starts_with('%') {
            add_text(&mut pieces, "%");
            at = sign + 2;
            continue;
        }
        let command = until_percent(after).ok_or(FormatFault { at: sign, command: None, reason: UNPAIRED })?;
        pieces.push(FormatPiece::Command(FormatCommand::read(command, sign)?));
        at = sign + command.len() + 2;
    }
    Ok(pieces)
}

fn add_text<'t>(pieces: &mut Vec<FormatPiece<'t>>, text: &'t str) {
    match pieces.last_mut() {
        Some(FormatPiece::Text(before)) => before.to_mut().push_str(text),
        _ if text.is_empty() => {}
        _ => pieces.push(FormatPiece::Text(text.into())),
    }
}

/// What stands before the percent sign that ends a command; one inside its parentheses does not.
fn until_percent(text: &str) -> Option<&str> {
    let mut inside = false;
    let end = text.bytes().position(|byte| {
        match byte {
            b'(' => inside = true,
            b')' => inside = false,
            _ => {}
        }
        byte == b'%' && !inside
    })?;
    text.get(..end)
}

impl<'t> FormatCommand<'t> {
    fn read(text: &'t str, at: usize) -> Result<Self, FormatFault<'t>> {
        let fault = |reason| FormatFault { at, command: Some(text), reason };
        let (name, argument, rest) = match text.split_once('(') {
            Some((name, rest)) => {
                let (argument, rest) = rest.split_once(')').ok_or_else(|| fault("a closing parenthesis is missing"))?;
                (name, Some(argument), rest)
            }
            None => {
                let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
                (name, None, rest)
            }
        };
        let limit = match rest.strip_prefix(':') {
            Some(limit) => Some(parse_limit(limit).ok_or_else(|| fault("expected a length behind the colon"))?),
            None if rest.is_empty() => None,
            None => return Err(fault("expected nothing, or :<length>, behind the parenthesis")),
        };
        Ok(Self { text, at, name, argument, limit })
    }
}

fn parse_limit(text: &str) -> Option<usize> {
    text.parse::<u32>().ok().map(|limit| limit as usize)
}

/// A header, or another where the first is not there: `X-ENVOY-ORIGINAL-PATH?:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderSelector {
    /// In lower case.
    pub name: Box<str>,
    /// In lower case.
    pub otherwise: Option<Box<str>>,
}

impl HeaderSelector {
    /// Reads a command's argument.
    ///
    /// # Errors
    /// What is no header name, in words.
    pub fn read(argument: &str) -> Result<Self, &'static str> {
        let (name, otherwise) = argument.split_once('?').map_or((argument, None), |(name, other)| (name, Some(other)));
        let name = header_name(name).ok_or("not a header name")?;
        let otherwise =
            otherwise.map(|other| header_name(other).ok_or("not a header name behind the ?")).transpose()?;
        Ok(Self { name, otherwise })
    }
}

/// A header name in lower case, a leading colon allowed; `None` when the text is none.
pub fn header_name(text: &str) -> Option<Box<str>> {
    let token = text.strip_prefix(':').unwrap_or(text);
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (!token.is_empty() && token.bytes().all(valid)).then(|| text.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Result<FormatCommand<'_>, &'static str> {
        match read_format(text).map_err(|fault| fault.reason)?.as_slice() {
            [FormatPiece::Command(command)] => Ok(*command),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn text_and_commands_alternate() {
        let pieces = read_format("100%% of %A% and%%%B(c%d)%%%").unwrap();
        let shown: Vec<_> = pieces
            .iter()
            .map(|piece| match piece {
                FormatPiece::Text(text) => format!("text {text}"),
                FormatPiece::Command(command) => format!("{} {}", command.at, command.text),
            })
            .collect();
        assert_eq!(shown, ["text 100% of ", "9 A", "text  and%", "18 B(c%d)", "text %"]);
        assert_eq!(read_format(""), Ok(Vec::new()));
        assert_eq!(read_format("ü"), Ok(vec![FormatPiece::Text("ü".into())]));
    }

    #[test]
    fn commands_have_a_name_an_argument_and_a_limit() {
        let rows = [
            ("%A%", ("A", None, None)),
            ("%A()%", ("A", Some(""), None)),
            ("%A:3%", ("A", None, Some(3))),
            ("%A(b:c):0%", ("A", Some("b:c"), Some(0))),
            ("%START_TIME(%Y-%m)%", ("START_TIME", Some("%Y-%m"), None)),
        ];
        for (text, wanted) in rows {
            let command = command(text).unwrap();
            assert_eq!((command.name, command.argument, command.limit), wanted, "{text}");
        }
    }

    #[test]
    fn faults_say_where() {
        let rows = [
            ("100%", 3, "write %% for a percent sign"),
            ("a%A(%", 1, "write %% for a percent sign"),
            ("a%A(b%", 1, "write %% for a percent sign"),
            ("%A%%B(c)d%", 3, "expected nothing"),
            ("%A:%", 0, "expected a length"),
            ("%A(b):-1%", 0, "expected a length"),
            ("%A(b):4294967296%", 0, "expected a length"),
        ];
        for (text, at, reason) in rows {
            let fault = read_format(text).unwrap_err();
            assert!(fault.at == at && fault.reason.contains(reason), "{text}: {fault:?}");
        }
    }

    #[test]
    fn selectors_are_in_lower_case() {
        let selector = |name: &str, otherwise: Option<&str>| {
            Ok(HeaderSelector { name: name.into(), otherwise: otherwise.map(Into::into) })
        };
        assert_eq!(HeaderSelector::read("X-Original-Path?:PATH"), selector("x-original-path", Some(":path")));
        assert_eq!(HeaderSelector::read("X"), selector("x", None));
        assert_eq!(HeaderSelector::read(""), Err("not a header name"));
        assert_eq!(HeaderSelector::read("a?"), Err("not a header name behind the ?"));
        assert_eq!(HeaderSelector::read("a b"), Err("not a header name"));
    }
}
