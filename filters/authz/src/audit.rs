//! Audit lines: one JSON object per line of the proxy's log.

use filter_api::Stream;
use std::fmt::Write;

/// Writes what was decided, and why, to the proxy's log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Audit {
    /// Whether refusals are written, not only audits and dry runs.
    pub(crate) log_denials: bool,
}

impl Audit {
    /// An AUDIT rule matched, or a dry-run policy would have refused.
    pub(crate) fn matched(self, stream: &mut Stream<'_>, event: &str, action: &str, policy: &str) {
        let mut line = Line::new(event);
        line.text("action", action.as_bytes()).text("policy", policy.as_bytes());
        line.request(stream).write();
    }

    /// A request was refused by a DENY rule, or (`none`) for want of an ALLOW rule.
    pub(crate) fn denied(self, stream: &mut Stream<'_>, policy: &str) {
        if !self.log_denials {
            return;
        }
        let action = if policy == "none" { "ALLOW" } else { "DENY" };
        let mut line = Line::new("denied");
        line.text("action", action.as_bytes()).text("policy", policy.as_bytes()).number("status", 403);
        line.request(stream).write();
    }

    /// A connection was closed by a rule, or (`none`) for want of an ALLOW rule.
    pub(crate) fn closed(self, connection: &mut Stream<'_>, policy: &str) {
        if self.log_denials {
            let action = if policy == "none" { "ALLOW" } else { "DENY" };
            let mut line = Line::new("closed");
            line.text("action", action.as_bytes()).text("policy", policy.as_bytes());
            line.request(connection).write();
        }
    }

    /// A provider refused or failed, or could not be asked.
    pub(crate) fn provider(
        self,
        stream: &mut Stream<'_>,
        event: &str,
        provider: &str,
        policy: &str,
        status: u16,
        reason: &str,
    ) {
        if !self.log_denials {
            return;
        }
        let mut line = Line::new(event);
        line.text("action", b"CUSTOM").text("policy", policy.as_bytes()).text("provider", provider.as_bytes());
        line.number("status", status.into());
        if !reason.is_empty() {
            line.text("reason", reason.as_bytes());
        }
        line.request(stream).write();
    }
}

/// A JSON object in the making.
#[derive(Debug)]
pub(crate) struct Line(String);

/// Longest value that a line quotes, in bytes of the original: a client must not be able to flood the log with one
/// request.
const LONGEST: usize = 256;

impl Line {
    /// A line about an event.
    pub(crate) fn new(event: &str) -> Self {
        let mut line = Self(String::with_capacity(256));
        line.0.push('{');
        line.text("event", event.as_bytes());
        line
    }

    /// Adds a text. Bytes that are not UTF-8 show as U+FFFD, what is too long is cut and ends with `…`.
    pub(crate) fn text(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.name(name);
        let (head, cut) = match value.get(..LONGEST) {
            Some(head) if value.len() > LONGEST => (head, true),
            _ => (value, false),
        };
        self.0.push('"');
        for chunk in head.utf8_chunks() {
            self.escape(chunk.valid());
            if !chunk.invalid().is_empty() {
                self.0.push('\u{FFFD}');
            }
        }
        self.0.push_str(if cut { "…\"" } else { "\"" });
        self
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.name(name);
        let _ = write!(self.0, "{value}");
        self
    }

    /// Adds what was requested, or where a connection comes from. The query stays out: it may carry secrets.
    fn request(mut self, stream: &mut Stream<'_>) -> Self {
        if let Ok(headers) = stream.request_headers()
            && !headers.is_empty()
        {
            for (name, header) in [("method", ":method"), ("authority", ":authority"), ("request_id", "x-request-id")] {
                if let Some(value) = headers.get(header) {
                    self.text(name, value);
                }
            }
            self.text("path", http_match::split_target(headers.get(":path").unwrap_or_default()).0);
        } else if let Ok(Some(address)) = stream.property(&["source", "address"]) {
            self.text("source", &address);
        }
        self
    }

    fn write(self) {
        log::info!("{}", self.finish());
    }

    /// The finished line.
    pub(crate) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.extend(["\"", name, "\":"]);
    }

    fn escape(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                // Line and paragraph separators end lines in some readers of logs.
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                    let _ = write!(self.0, "\\u{:04x}", u32::from(c));
                }
                c => self.0.push(c),
            }
        }
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;

    #[test]
    fn every_value_stays_one_json_line() {
        let mut line = Line::new("denied");
        line.text("path", b"/a\"b\\c\nd\x00\xff\xe2\x80\xa8").number("status", 403).text("long", &[b'x'; 300]);
        let line = line.finish();
        assert!(!line.contains(['\n', '\u{2028}']));
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["event"], "denied");
        assert_eq!(json["path"], "/a\"b\\c\nd\0\u{FFFD}\u{2028}");
        assert_eq!(json["status"], 403);
        assert_eq!(json["long"].as_str().unwrap().chars().count(), LONGEST + 1);
    }
}
