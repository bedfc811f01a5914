//! Files and folders → texts. The only part that does IO.

use crate::{Fault, File};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Endings of the files that are read in a folder.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Reads sources: a file, a folder (every `*.yaml`, `*.yml` and `*.json` in it and below, by name), or `-` for standard
/// input. What cannot be read is a fault.
pub fn files(sources: &[PathBuf]) -> (Vec<Arc<File>>, Vec<Fault>) {
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for source in sources {
        let mut paths = Vec::new();
        if source.is_dir() {
            folder(source, &mut paths, &mut faults);
            if paths.is_empty() && faults.is_empty() {
                faults.push(Fault::of_file(
                    &source.display().to_string(),
                    "no *.yaml, *.yml or *.json file in this folder",
                ));
            }
        } else {
            paths.push(source.clone());
        }
        for path in paths {
            match File::read(&path) {
                Ok(file) => files.push(file),
                Err(error) => faults.push(Fault::of_file(&path.display().to_string(), error)),
            }
        }
    }
    (files, faults)
}

impl File {
    /// Reads a file, or `-` for standard input.
    ///
    /// # Errors
    /// It cannot be read, or is not UTF-8.
    pub fn read(path: &Path) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { name: path.display().to_string(), text: text(path)? }))
    }
}

fn text(path: &Path) -> io::Result<String> {
    if path.as_os_str() != "-" {
        return fs::read_to_string(path);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// What a folder has, by name. Hidden ones are left out: a ConfigMap mount has every file twice, once behind `..data`.
fn folder(folder: &Path, paths: &mut Vec<PathBuf>, faults: &mut Vec<Fault>) {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut entries: Vec<PathBuf> = match entries {
        Ok(entries) => entries.iter().map(fs::DirEntry::path).collect(),
        Err(error) => return faults.push(Fault::of_file(&folder.display().to_string(), error)),
    };
    entries.sort();
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    for path in entries.into_iter().filter(|path| !hidden(path)) {
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_dir() {
            self::folder(&path, paths, faults);
        } else if ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            paths.push(path);
        }
    }
}
