//! `outrigger envoy`: what our proxy runs, written for others to run.

use crate::cli::{BAD_DATA, DataFormat, EnvoyArguments, USAGE};
use crate::run::{Source, say};
use istio_api::DocumentCache;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

/// Writes the bootstrap of an Envoy for each proxy, and the modules that they load.
pub(crate) fn envoy(arguments: &EnvoyArguments) -> ExitCode {
    let mesh = &arguments.mesh;
    if mesh.ca.is_some() {
        eprintln!(
            "outrigger: Envoy issues no certificates: make them with outrigger ca workload, and name them with --certs"
        );
        return ExitCode::from(USAGE);
    }
    let source = Source::of(arguments.snapshot.as_deref(), mesh);
    // Envoy may be started elsewhere, and does not end with this process.
    let mut identities = source.kept_identities();
    let loaded = match source.load(&mut DocumentCache::default(), &mut identities, SystemTime::now()) {
        Ok(loaded) => loaded,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            return ExitCode::from(BAD_DATA);
        }
    };
    say(&loaded.remarks);
    if mesh.all && arguments.directory.is_none() {
        eprintln!("outrigger: --all makes several bootstraps: say with --directory where they are put");
        return ExitCode::from(USAGE);
    }
    let written = std::path::absolute(&arguments.modules).and_then(|folder| {
        let mut modules = BTreeSet::new();
        for (name, snapshot) in &loaded.proxies {
            let made = envoy_configs::bootstrap(snapshot, &folder);
            made.notices.iter().for_each(|notice| eprintln!("notice: {notice}"));
            put(name, &text(&made, arguments.output)?, arguments)?;
            modules.extend(made.modules);
        }
        write_modules(&folder, &modules)
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger: {error}");
            ExitCode::FAILURE
        }
    }
}

fn text(value: &impl Serialize, format: DataFormat) -> io::Result<String> {
    match format {
        DataFormat::Json => serde_json::to_string_pretty(value).map(|json| json + "\n").map_err(io::Error::other),
        DataFormat::Yaml => serde_saphyr::to_string(value).map_err(io::Error::other),
    }
}

/// To the file of a proxy, or to standard output.
fn put(name: &str, text: &str, arguments: &EnvoyArguments) -> io::Result<()> {
    let Some(folder) = &arguments.directory else { return io::stdout().lock().write_all(text.as_bytes()) };
    let name = if name.is_empty() { "envoy".to_owned() } else { name.replace('/', ".") };
    let extension = match arguments.output {
        DataFormat::Yaml => "yaml",
        DataFormat::Json => "json",
    };
    write(&folder.join(format!("{name}.{extension}")), text.as_bytes())
}

/// Our own filters, where the bootstraps look for them.
fn write_modules(folder: &Path, names: &BTreeSet<String>) -> io::Result<()> {
    for name in names {
        let module = modules::find(name).ok_or_else(|| io::Error::other(format!("{name} is no filter of ours")))?;
        write(&folder.join(format!("{name}.wasm")), module.bytes)?;
    }
    Ok(())
}

/// A file, and says so.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    write_file(file, bytes)?;
    eprintln!("written: {}", file.display());
    Ok(())
}

/// A file, with the folder that it is in.
///
/// # Errors
/// Why it cannot be written, with its name.
pub(crate) fn write_file(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(file, bytes));
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}
