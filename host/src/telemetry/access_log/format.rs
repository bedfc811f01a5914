//! Formats of lines, compiled once: texts in Envoy's notation, or JSON whose strings are such texts.

use crate::telemetry::access_log::escape;
use crate::telemetry::access_log::operator::Operator;
use crate::telemetry::access_log::value::{Logged, Said};
use compiler::snapshot::AccessLog;
use http_match::{FormatPiece, read_format};
use serde_json::Value;
use std::fmt;

/// A compiled format.
pub struct LogFormat(Vec<Part>);

enum Part {
    /// Written as it is.
    Literal(Vec<u8>),
    /// In a text.
    Text(Operator, usize),
    /// In a JSON string with other text.
    InString(Operator, usize),
    /// A JSON value by itself: a number, a string or null.
    Json(Operator, usize),
}

/// Everything that is wrong with a format.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FormatFaults(Vec<String>);

impl fmt::Display for FormatFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for FormatFaults {}

impl LogFormat {
    /// Compiles the format of a log. Every line ends with a newline, whether the format does or not.
    ///
    /// # Errors
    /// Every operator that is unknown or ill-formed, with its place.
    pub fn compile(log: &AccessLog, hostname: &str) -> Result<Self, FormatFaults> {
        let mut compiler = Compiler { hostname, parts: Vec::new(), faults: Vec::new() };
        match (&log.format, &log.json_format) {
            (Some(_), Some(_)) => compiler.faults.push("accessLog: both format and jsonFormat are given".into()),
            (_, Some(json @ Value::Object(_))) => compiler.json(json, "accessLog.jsonFormat"),
            (_, Some(_)) => compiler.faults.push("accessLog.jsonFormat: expected an object".into()),
            (format, None) => compiler.text(format.as_deref().unwrap_or(AccessLog::ISTIO_FORMAT)),
        }
        let Compiler { mut parts, faults, .. } = compiler;
        if !faults.is_empty() {
            return Err(FormatFaults(faults));
        }
        match parts.last_mut() {
            Some(Part::Literal(last)) if last.ends_with(b"\n") => {}
            Some(Part::Literal(last)) => last.push(b'\n'),
            _ => parts.push(Part::Literal(b"\n".to_vec())),
        }
        Ok(Self(parts))
    }

    /// Writes the line of a stream; `value` is room for one value.
    pub(super) fn write(&self, logged: &Logged<'_>, value: &mut Vec<u8>, out: &mut Vec<u8>) {
        for part in &self.0 {
            let (operator, limit) = match part {
                Part::Literal(text) => {
                    out.extend_from_slice(text);
                    continue;
                }
                Part::Text(operator, limit) | Part::InString(operator, limit) | Part::Json(operator, limit) => {
                    (operator, *limit)
                }
            };
            value.clear();
            let said = operator.write(logged, value);
            value.truncate(limit);
            part.add(said, value, out);
        }
    }
}

impl Part {
    fn add(&self, said: Said, value: &[u8], out: &mut Vec<u8>) {
        match (self, said) {
            (Self::Json(..), Said::Number) if !value.is_empty() => out.extend_from_slice(value),
            (Self::Json(..), Said::Nothing | Said::Number) => out.extend_from_slice(b"null"),
            (Self::Json(..), Said::Text) => {
                out.push(b'"');
                escape::json(value, out);
                out.push(b'"');
            }
            (_, Said::Nothing) => out.push(b'-'),
            (Self::InString(..), _) => escape::json(value, out),
            (Self::Text(..) | Self::Literal(_), _) => escape::text(value, out),
        }
    }
}

struct Compiler<'c> {
    hostname: &'c str,
    parts: Vec<Part>,
    faults: Vec<String>,
}

impl Compiler<'_> {
    fn text(&mut self, text: &str) {
        for piece in self.pieces(text, "accessLog.format") {
            match piece {
                Piece::Text(text) => self.literal(text.as_bytes()),
                Piece::Operator(operator, limit) => self.parts.push(Part::Text(operator, limit)),
            }
        }
    }

    fn json(&mut self, value: &Value, path: &str) {
        match value {
            Value::String(text) => self.json_string(text, path),
            Value::Array(values) => {
                self.literal(b"[");
                for (index, value) in values.iter().enumerate() {
                    self.literal(if index == 0 { b"" } else { b"," });
                    self.json(value, &format!("{path}[{index}]"));
                }
                self.literal(b"]");
            }
            Value::Object(fields) => {
                self.literal(b"{");
                for (index, (name, value)) in fields.iter().enumerate() {
                    self.literal(if index == 0 { b"\"" } else { b",\"" });
                    self.json_literal(name);
                    self.literal(b"\":");
                    self.json(value, &format!("{path}.{name}"));
                }
                self.literal(b"}");
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => self.literal(value.to_string().as_bytes()),
        }
    }

    /// An operator alone keeps its type; among text it is text.
    fn json_string(&mut self, text: &str, path: &str) {
        let mut pieces = self.pieces(text, path);
        if let [Piece::Operator(..)] = pieces.as_slice()
            && let Some(Piece::Operator(operator, limit)) = pieces.pop()
        {
            return self.parts.push(Part::Json(operator, limit));
        }
        self.literal(b"\"");
        for piece in pieces {
            match piece {
                Piece::Text(text) => self.json_literal(&text),
                Piece::Operator(operator, limit) => self.parts.push(Part::InString(operator, limit)),
            }
        }
        self.literal(b"\"");
    }

    /// The pieces of a text; what is wrong with it is noted, all of it.
    fn pieces(&mut self, text: &str, path: &str) -> Vec<Piece> {
        let written = match read_format(text) {
            Ok(written) => written,
            Err(fault) => {
                let command = fault.command.map(|command| format!("%{command}% ")).unwrap_or_default();
                self.faults.push(format!("{path}: {command}at byte {}: {}", fault.at, fault.reason));
                return Vec::new();
            }
        };
        let mut pieces = Vec::with_capacity(written.len());
        for piece in written {
            match piece {
                FormatPiece::Text(text) => pieces.push(Piece::Text(text.into_owned())),
                FormatPiece::Command(command) => match Operator::read(&command, self.hostname) {
                    Ok(operator) => pieces.push(Piece::Operator(operator, command.limit.unwrap_or(usize::MAX))),
                    Err(reason) => {
                        self.faults.push(format!("{path}: %{}% at byte {}: {reason}", command.text, command.at));
                    }
                },
            }
        }
        pieces
    }

    fn json_literal(&mut self, text: &str) {
        let mut escaped = Vec::new();
        escape::json(text.as_bytes(), &mut escaped);
        self.literal(&escaped);
    }

    fn literal(&mut self, text: &[u8]) {
        match self.parts.last_mut() {
            Some(Part::Literal(last)) => last.extend_from_slice(text),
            _ => self.parts.push(Part::Literal(text.to_vec())),
        }
    }
}

enum Piece {
    Text(String),
    Operator(Operator, usize),
}
