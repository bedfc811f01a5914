//! `outrigger check`: reads Istio's resources and says everything that is wrong with them, each where it stands.

mod report;
mod suppression;
mod table;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use suppression::Suppression;

use crate::cli::{BAD_DATA, CheckArguments, CheckOutput};
use compiler::Level;
use istio_api::scalar::DnsLabel;
use istio_api::{Fault, File, Options};
use report::Report;
use std::io::{self, Write};
use std::process::ExitCode;

/// Exit status for findings, as istioctl's.
const FINDINGS: u8 = 79;

/// Reads, reports, and tells the shell.
pub(crate) fn run(arguments: &CheckArguments) -> ExitCode {
    let mut report = read(arguments);
    report.suppress(&arguments.suppress);
    let code = exit_code(&report, arguments.failure_threshold);
    report.keep(arguments.output_threshold);
    let written = match arguments.output {
        CheckOutput::Text => text::write(&report, arguments.color.is_wanted(), &mut io::stdout().lock()),
        CheckOutput::Table => table::write(&report, &mut io::stdout().lock()),
        CheckOutput::Json => structured(serde_json::to_string_pretty(&report).map_err(io::Error::other)),
        CheckOutput::Yaml => structured(serde_saphyr::to_string(&report).map_err(io::Error::other)),
    };
    match written {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            eprintln!("outrigger: {error}");
            ExitCode::FAILURE
        }
    }
}

/// 65 when something is refused, 79 when findings reach a level, otherwise 0.
fn exit_code(report: &Report, threshold: Level) -> u8 {
    match report.findings.iter().any(|found| found.refused) {
        true => BAD_DATA,
        false if report.findings.iter().any(|found| found.level() >= threshold) => FINDINGS,
        false => 0,
    }
}

fn read(arguments: &CheckArguments) -> Report {
    let mut unreadable = Vec::new();
    let mesh_config = arguments.mesh_config.as_ref().and_then(|path| {
        let refuse = |error: io::Error| unreadable.push(Fault::of_file(&path.display().to_string(), error));
        File::read(path).map_err(refuse).ok()
    });
    let options = Options { namespace: arguments.namespace.clone(), mesh_config };
    Report::new(istio_api::read(&arguments.files, &options), unreadable)
}

fn structured(text: io::Result<String>) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", text?.trim_end())
}

/// For clap: a namespace.
pub(crate) fn parse_namespace(text: &str) -> Result<DnsLabel, &'static str> {
    DnsLabel::new(text).ok_or("expected the name of a namespace: a DNS label")
}

/// For clap: a level.
pub(crate) fn parse_level(text: &str) -> Result<Level, &'static str> {
    let levels = [Level::Info, Level::Warning, Level::Error];
    let found = levels.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text));
    found.ok_or("expected Info, Warning or Error")
}
