//! Questions that users ask, and the answers: `tests/explain/*.txt` has a question, the command that asks it, and what it
//! writes. Where the answer is missing it is written, to be looked at: the test fails all the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn every_question_has_its_answer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/explain");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "txt"));
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    let wrong: Vec<String> = files.iter().filter_map(|file| check(&folder, file).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(folder: &Path, file: &Path) -> Result<(), String> {
    let name = file.file_name().unwrap().to_string_lossy();
    let text = fs::read_to_string(file).unwrap();
    let (asked, wanted) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let command = asked.lines().last().and_then(|line| line.strip_prefix("$ outrigger ")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_outrigger")).args(words(command)).current_dir(folder).output();
    let output = output.unwrap();
    let mut answer = String::from_utf8(output.stdout).unwrap();
    if !output.status.success() {
        answer.push_str(&String::from_utf8(output.stderr).unwrap());
        answer.push_str(&format!("({})\n", output.status));
    }
    if wanted.is_empty() {
        fs::write(file, format!("{asked}\n\n{answer}")).unwrap();
        return Err(format!("{name}: the answer was missing and is written: look at it"));
    }
    let mut lines = answer.lines().zip(wanted.lines());
    match lines.find(|(answer, wanted)| answer != wanted) {
        None if answer.len() == wanted.len() => Ok(()),
        None => Err(format!("{name}: the answer has {} bytes, expected {}", answer.len(), wanted.len())),
        Some((answer, wanted)) => Err(format!("{name}:\n  answer:   {answer}\n  expected: {wanted}")),
    }
}

/// The words of a command line; those with blanks in single quotes.
fn words(line: &str) -> Vec<String> {
    let quoted = line.split('\'').enumerate();
    quoted
        .flat_map(|(i, part)| match i % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}
