//! A report as a table: a line for each finding.

use super::report::Report;
use super::suppression::name;
use std::io::{self, Write};

const HEAD: [&str; 6] = ["LEVEL", "CODE", "RESOURCE", "FIELD", "PLACE", "REASON"];

/// Writes a report.
pub(crate) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    for found in &report.findings {
        let (message, fault) = (found.finding.message, &found.finding.fault);
        let level = if found.refused { "Refused" } else { message.level.as_str() };
        let reason = match fault.value.is_empty() {
            true => fault.reason.clone(),
            false => format!("{}: {}", fault.value, fault.reason),
        };
        rows.push([
            level.to_owned(),
            message.code.to_owned(),
            fault.resource.as_ref().map(name).unwrap_or_default(),
            fault.path.strip_prefix('$').unwrap_or(&fault.path).to_owned(),
            fault.place.as_ref().map(ToString::to_string).unwrap_or_default(),
            reason,
        ]);
    }
    // A terminal must not obey what files say.
    let shown = rows.into_iter().map(|row| row.map(|text| text.replace(char::is_control, "\u{fffd}")));
    let rows: Vec<_> = shown.collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; HEAD.len()] = std::array::from_fn(width);
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(text, width)| format!("{text:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
