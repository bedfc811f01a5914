//! `outrigger check`: reads Istio's resources and says everything that is wrong with them, each where it stands.

mod report;
#[cfg(test)]
mod tests;
mod text;

use crate::cli::{BAD_DATA, CheckArguments, Output};
use istio_api::scalar::DnsLabel;
use istio_api::{Fault, File, Options};
use report::Report;
use std::io::{self, Write};
use std::process::ExitCode;

/// Exit status for warnings alone, as istioctl's.
const FINDINGS: u8 = 79;

/// Reads, reports, and tells the shell: 0 when there is nothing to say, 79 when there are warnings, 65 when something
/// is refused.
pub(crate) fn run(arguments: &CheckArguments) -> ExitCode {
    let report = read(arguments);
    let written = match arguments.output {
        Output::Text => text::write(&report, arguments.color.is_wanted(), &mut io::stdout().lock()),
        Output::Json => structured(serde_json::to_string_pretty(&report).map_err(io::Error::other)),
        Output::Yaml => structured(serde_saphyr::to_string(&report).map_err(io::Error::other)),
    };
    match written {
        Ok(()) if !report.errors.is_empty() => ExitCode::from(BAD_DATA),
        Ok(()) if !report.warnings.is_empty() => ExitCode::from(FINDINGS),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger: {error}");
            ExitCode::FAILURE
        }
    }
}

fn read(arguments: &CheckArguments) -> Report {
    let mut errors = Vec::new();
    let mesh_config = arguments.mesh_config.as_ref().and_then(|path| {
        let unreadable = |error: io::Error| errors.push(Fault::of_file(&path.display().to_string(), error));
        File::read(path).map_err(unreadable).ok()
    });
    let options = Options { namespace: arguments.namespace.clone(), mesh_config };
    let mut report = Report::from(istio_api::read(&arguments.files, &options));
    report.errors.splice(0..0, errors);
    report
}

fn structured(text: io::Result<String>) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", text?.trim_end())
}

/// For clap: a namespace.
pub(crate) fn parse_namespace(text: &str) -> Result<DnsLabel, &'static str> {
    DnsLabel::new(text).ok_or("expected the name of a namespace: a DNS label")
}
