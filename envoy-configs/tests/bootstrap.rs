//! Golden pairs: each folder of `tests/golden` has, beside the `snapshot.yaml` of a proxy, the `envoy.yaml` that is made
//! of it. Where that is missing it is written, to be looked at: the test fails all the same.

use compiler::snapshot::Snapshot;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_folder() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut folders: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let (mut compared, mut wrong) = (0, Vec::new());
    for folder in folders {
        let snapshot = fs::read_to_string(folder.join("snapshot.yaml")).unwrap();
        if snapshot.starts_with("# refused") {
            continue;
        }
        compared += 1;
        let snapshot: Snapshot = serde_saphyr::from_str(&snapshot).unwrap();
        let made = envoy_configs::bootstrap(&snapshot, Path::new("/modules"));
        let notices: String = made.notices.iter().map(|notice| format!("# notice: {notice}\n")).collect();
        wrong.extend(check(&folder.join("envoy.yaml"), &(notices + &serde_saphyr::to_string(&made).unwrap())));
    }
    assert!(compared > 10, "only {compared} folders were compared");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(file: &Path, made: &str) -> Option<String> {
    let name = file.display();
    let Ok(wanted) = fs::read_to_string(file) else {
        fs::write(file, made).unwrap();
        return Some(format!("{name}: was missing and is written: look at it"));
    };
    let mut lines = made.lines().zip(wanted.lines()).enumerate();
    match lines.find(|(_, (made, wanted))| made != wanted) {
        Some((line, (made, wanted))) => Some(format!("{name}:{}:\n  made:   {made}\n  wanted: {wanted}", line + 1)),
        None if made.len() == wanted.len() => None,
        None => Some(format!("{name}: what is made has {} bytes, the file {}", made.len(), wanted.len())),
    }
}
