//! `outrigger demo`: a proxy with all six filters and three small services behind it, on the loopback address.

mod services;
mod tour;

use crate::cli::DemoArguments;
use crate::run;
use host::telemetry::{LogLevels, LogStyle};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const SNAPSHOT: &str = include_str!("snapshot.yaml");

/// Runs the demo until it is told to end, or, with `--once`, takes the tour.
pub(crate) fn run(arguments: &DemoArguments) -> ExitCode {
    match start(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("outrigger: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &DemoArguments) -> Result<ExitCode, String> {
    let file = write_snapshot(&arguments.directory, arguments.once)?;
    let services = services::start(!arguments.once)?;
    let options = run::options(arguments.cache.folder(), LogStyle::Text, LogLevels::default());
    let started = options.and_then(|options| run::start(run::Source::Snapshot(file.clone()), options));
    let fleet = started.map_err(|faults| faults.to_string())?;
    if arguments.once {
        tour::take(&services)?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("A proxy runs with all six filters. In another terminal:\n{}", tries());
    println!("Edit {} and see what changes. Ctrl-C ends the demo.\n", file.display());
    Ok(run::serve(fleet))
}

/// Writes the snapshot, unless the user has one already that is to be gone on with.
fn write_snapshot(directory: &Path, anew: bool) -> Result<PathBuf, String> {
    let at = |error: std::io::Error| format!("{}: {error}", directory.display());
    fs::create_dir_all(directory).map_err(at)?;
    let file = directory.join(if anew { "tour.yaml" } else { "snapshot.yaml" });
    if anew || !file.exists() {
        fs::write(&file, SNAPSHOT).map_err(at)?;
    }
    Ok(file)
}

/// What the snapshot's own head says to try.
fn tries() -> String {
    let lines = SNAPSHOT.lines().filter_map(|line| line.strip_prefix("#   "));
    lines.map(|line| format!("  {line}\n")).collect()
}
