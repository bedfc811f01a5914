//! Reading texts.

use istio_api::{Faults, File, Options, Resources, read_files};
use std::sync::Arc;

/// Reads one text as `f.yaml`.
pub(crate) fn read(text: &str) -> Result<Resources, Faults> {
    read_files(&[file("f.yaml", text)], &Options::default())
}

/// A file.
pub(crate) fn file(name: &str, text: &str) -> Arc<File> {
    Arc::new(File { name: name.to_owned(), text: text.to_owned() })
}

/// The faults of a text, as they are shown.
pub(crate) fn faults(text: &str) -> Vec<String> {
    read(text).err().map(|faults| faults.faults.iter().map(ToString::to_string).collect()).unwrap_or_default()
}
