//! Where RE2 reads an expression differently from the engine here: such an expression is refused, because taken in the
//! engine's sense it would match requests that it does not match in Istio.

/// Largest repetition count: RE2's.
const REPETITIONS: u32 = 1000;

/// Why an expression cannot be used; `None` when both read it alike, or the engine itself refuses it.
pub(crate) fn refusal(pattern: &str) -> Option<&'static str> {
    let mut scan = Scan { rest: pattern.as_bytes(), in_class: false, repeated: false, ignores_case: false };
    while let Some((&byte, rest)) = scan.rest.split_first() {
        scan.rest = rest;
        if let Some(reason) = scan.step(byte) {
            return Some(reason);
        }
    }
    (scan.ignores_case && !pattern.is_ascii()).then_some("(?i) is available for ASCII only")
}

struct Scan<'p> {
    /// What is still to be read.
    rest: &'p [u8],
    /// Whether it stands within `[…]`.
    in_class: bool,
    /// Whether what was just read is a repetition.
    repeated: bool,
    ignores_case: bool,
}

impl Scan<'_> {
    fn step(&mut self, byte: u8) -> Option<&'static str> {
        let repeated = std::mem::take(&mut self.repeated);
        match byte {
            b'\\' => return self.escape(),
            b'[' if !self.in_class => self.open_class(),
            b'[' if self.rest.first() == Some(&b':') => self.posix_class(),
            b']' => self.in_class = false,
            b'(' if !self.in_class => return self.group(),
            b'?' | b'*' | b'+' if !self.in_class => return self.repetition(repeated),
            b'{' if !self.in_class => return self.counts().or_else(|| self.repetition(repeated)),
            _ => {}
        }
        None
    }

    fn escape(&mut self) -> Option<&'static str> {
        let (&escaped, rest) = self.rest.split_first()?;
        self.rest = rest;
        match escaped {
            b'p' | b'P' => Some(r"Unicode classes (\p, \P) are not available: list the ranges"),
            b'C' => Some(r"\C is not available"),
            b'Q' => Some(r"\Q…\E is not available: escape each character"),
            b'<' | b'>' => Some("write < and > without a backslash"),
            b'u' | b'U' => Some(r"RE2 has no \u and \U: write \x{…}"),
            b'b' if rest.first() == Some(&b'{') => Some(r"\b cannot be followed by a brace"),
            _ => None,
        }
    }

    fn open_class(&mut self) {
        self.in_class = true;
        // `[]…]` and `[^]…]`: a bracket that comes first is a member.
        self.rest = self.rest.strip_prefix(b"^").unwrap_or(self.rest);
        self.rest = self.rest.strip_prefix(b"]").unwrap_or(self.rest);
    }

    fn posix_class(&mut self) {
        let end = self.rest.windows(2).position(|pair| pair == b":]").map_or(0, |end| end + 2);
        self.rest = self.rest.get(end..).unwrap_or_default();
    }

    fn group(&mut self) -> Option<&'static str> {
        let rest = self.rest.strip_prefix(b"?")?;
        if [&b"="[..], b"!", b"<=", b"<!"].iter().any(|look| rest.starts_with(look)) {
            return Some("RE2 has no look-around");
        }
        let named = rest.starts_with(b"P<") || rest.starts_with(b"<");
        let ends: &[u8] = if named { b">" } else { b":)" };
        let end = rest.iter().position(|byte| ends.contains(byte)).unwrap_or(rest.len());
        let (flags, rest) = rest.split_at_checked(end)?;
        self.rest = rest;
        if named {
            return None;
        }
        self.ignores_case |= flags.split(|&byte| byte == b'-').next().is_some_and(|on| on.contains(&b'i'));
        let known = flags.iter().all(|flag| b"imsU-".contains(flag));
        (!known).then_some("only (?:…), (?P<name>…) and the flags i, m, s, U are RE2's")
    }

    /// Behind an opening brace: `n}`, `n,}` or `n,m}`, without blanks.
    fn counts(&mut self) -> Option<&'static str> {
        const NONE: &str = r"a brace that starts no repetition must be written \{";
        let Some(end) = self.rest.iter().position(|&byte| byte == b'}') else { return Some(NONE) };
        let (counts, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or_default();
        let mut counts = counts.splitn(2, |&byte| byte == b',');
        let least = counts.next().and_then(number);
        let most = counts.next().map_or(least, |most| if most.is_empty() { least } else { number(most) });
        match (least, most) {
            (Some(least), Some(most)) if least.max(most) > REPETITIONS => Some("repetition counts go up to 1000"),
            (Some(_), Some(_)) => None,
            _ => Some(NONE),
        }
    }

    fn repetition(&mut self, repeated: bool) -> Option<&'static str> {
        self.rest = self.rest.strip_prefix(b"?").unwrap_or(self.rest);
        self.repeated = true;
        repeated.then_some("a repetition cannot be repeated: put brackets around it")
    }
}

/// A number of digits only; one that is too large for any expression reads as the largest.
fn number(digits: &[u8]) -> Option<u32> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let value = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse().ok();
    all_digits.then(|| value(digits).unwrap_or(u32::MAX))
}
