//! A report for people: each finding with the lines it is about.

use super::report::{Report, Skip};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use compiler::{Finding, Level as Severity};
use istio_api::{Fault, Kind, Place, Secret};
use std::io::{self, Write};
use std::ops::Range;

/// Writes a report.
pub(crate) fn write(report: &Report, color: bool, out: &mut impl Write) -> io::Result<()> {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    for found in &report.findings {
        let level = match found.level() {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Info => Level::INFO,
        };
        writeln!(out, "{}\n", renderer.render(&[finding(&level, &found.finding)]))?;
    }
    // Istio acts on these, and nothing here does: not to be passed over among Deployments and their kin.
    let (acted_on, others): (Vec<&Skip>, Vec<&Skip>) =
        report.skipped.iter().partition(|skip| skip.api_version.contains(".istio.io/"));
    for skip in acted_on {
        writeln!(out, "not used, though Istio would: {} {}", skip.kind, skip.places.join(" "))?;
    }
    if !others.is_empty() {
        let kinds: Vec<String> = others.iter().map(|skip| format!("{} {}", skip.places.len(), skip.kind)).collect();
        writeln!(out, "not looked at: {}", kinds.join(", "))?;
    }
    writeln!(out, "{}", summary(report))
}

fn finding<'f>(level: &Level<'f>, finding: &'f Finding) -> Group<'f> {
    let fault = &finding.fault;
    let title = Fault { place: None, ..fault.clone() }.to_string();
    let group = Group::with_title(level.clone().primary_title(title).id(finding.message.code));
    let Some(place) = &fault.place else { return group };
    let (text, bytes, line) = excerpt(place);
    if is_secret(fault, place) {
        return group.element(
            annotate_snippets::Origin::path(place.file.name.as_str()).line(place.line).char_column(place.column),
        );
    }
    let snippet = Snippet::source(text).path(place.file.name.as_str()).line_start(line);
    group.element(snippet.annotation(AnnotationKind::Primary.span(bytes)))
}

/// Whether what stands there may be a Secret's, and so nobody's to see.
fn is_secret(fault: &Fault, place: &Place) -> bool {
    match &fault.resource {
        Some(resource) => resource.kind == Secret::KIND,
        // Where a file is no YAML it is not known what is whose.
        None => place.file.text.contains(Secret::KIND),
    }
}

/// The line of a place and the one before it, where in them the place is, and the number of the first.
fn excerpt(place: &Place) -> (&str, Range<usize>, usize) {
    let text = place.file.text.as_str();
    let line_start = |end: usize| text.get(..end).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let own = line_start(place.bytes.start);
    let first = line_start(own.saturating_sub(1));
    let end = text.get(own..).and_then(|rest| rest.find('\n')).map_or(text.len(), |length| own + length);
    let within =
        place.bytes.start - first..place.bytes.end.clamp(place.bytes.start, end.max(place.bytes.start)) - first;
    let line = if first < own { place.line.saturating_sub(1) } else { place.line };
    (text.get(first..end).unwrap_or_default(), within, line)
}

fn summary(report: &Report) -> String {
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
    let mut parts = match report.findings.is_empty() {
        true if report.read.is_empty() => vec!["nothing to check".to_owned()],
        true => {
            let read: Vec<String> = report.read.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            vec![format!("no fault in {}", read.join(", "))]
        }
        false => vec![count(errors, "error"), count(warnings, "warning")],
    };
    let notes = report.count(Severity::Info);
    parts.extend((notes > 0).then(|| count(notes, "note")));
    parts.extend((report.suppressed > 0).then(|| format!("{} suppressed", report.suppressed)));
    parts.join(", ")
}
