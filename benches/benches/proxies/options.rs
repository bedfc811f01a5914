//! What the command line says.

use outrigger_benches::proxies::binary;
use std::path::PathBuf;

/// Which sections run, and how long.
pub(crate) struct Options {
    sections: Vec<String>,
    /// Rounds of each measurement.
    pub(crate) rounds: usize,
    /// Requests of a round at saturation.
    pub(crate) requests: usize,
    /// The build of our proxy that is measured.
    pub(crate) ours: PathBuf,
    /// Another build of it.
    pub(crate) before: Option<PathBuf>,
}

impl Options {
    /// Reads the command line. `known`: names of sections.
    ///
    /// # Errors
    /// A word that is neither a section nor an option, a number that is none, or no build of our proxy.
    pub(crate) fn read(known: &[&str]) -> Result<Self, String> {
        let mut options = Self { sections: Vec::new(), rounds: 5, requests: 20_000, ours: binary(), before: None };
        // Cargo adds `--bench`.
        for argument in std::env::args().skip(1).filter(|argument| !argument.starts_with('-')) {
            match argument.split_once('=') {
                Some(("rounds", text)) => options.rounds = number("rounds", text)?,
                Some(("requests", text)) => options.requests = number("requests", text)?,
                Some(("ours", text)) => options.ours = text.into(),
                Some(("before", text)) => options.before = Some(text.into()),
                None if known.contains(&argument.as_str()) => options.sections.push(argument),
                _ => {
                    return Err(format!(
                        "{argument}: expected rounds=, requests=, ours=, before= or one of {}",
                        known.join(" ")
                    ));
                }
            }
        }
        if !options.ours.is_file() {
            return Err(format!("{} is missing: `just bench` builds it", options.ours.display()));
        }
        Ok(options)
    }

    /// Whether a section was asked for, by name or with all.
    pub(crate) fn has(&self, section: &str) -> bool {
        match self.sections.as_slice() {
            // Of all sections the one that takes more than what is built here.
            [] => section != "before" || self.before.is_some(),
            chosen => chosen.iter().any(|chosen| chosen == section),
        }
    }
}

fn number(option: &str, text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{option}={text}: expected a number above 0"))
}
