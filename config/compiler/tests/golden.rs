//! Golden pairs: each folder of `tests/golden` has `istio.yaml` and the `snapshot.yaml` that is made of it, for the sidecar
//! of the WorkloadEntry `client` or for the gateway `gateway`: what is refused, too. Where `snapshot.yaml` is missing it is written, to be
//! looked at: the test fails all the same.

use compiler::{Compiled, Credentials, Mesh, Settings};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_folder() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let mut folders: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 10, "{folders:?}");
    let wrong: Vec<String> = folders.iter().filter_map(|folder| check(folder).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(folder: &Path) -> Result<(), String> {
    let name = folder.file_name().unwrap().to_string_lossy();
    let file = folder.join("snapshot.yaml");
    let made = snapshot(&folder.join("istio.yaml"))?;
    let Ok(wanted) = fs::read_to_string(&file) else {
        fs::write(&file, made).unwrap();
        return Err(format!("{name}: snapshot.yaml was missing and is written: look at it"));
    };
    let lines = made.lines().zip(wanted.lines()).enumerate();
    match lines.filter(|(_, (made, wanted))| made != wanted).map(|(line, pair)| (line + 1, pair)).next() {
        None if made.len() == wanted.len() => Ok(()),
        None => Err(format!("{name}: what is made has {} bytes, snapshot.yaml {}", made.len(), wanted.len())),
        Some((line, (made, wanted))) => {
            Err(format!("{name}/snapshot.yaml:{line}:\n  made:   {made}\n  wanted: {wanted}"))
        }
    }
}

fn snapshot(file: &Path) -> Result<String, String> {
    let resources = istio_api::read(&[file.to_owned()], &istio_api::Options::default());
    let resources = resources.map_err(|faults| faults.to_string())?;
    let mesh = Mesh::new(&resources);
    let workloads = mesh.workloads();
    let named = |name: &str| workloads.iter().find(|workload| workload.name == name);
    let settings = Settings { certificates: certificates(file), ..Settings::default() };
    let compiled = match (named("client"), named("gateway")) {
        (Some(client), _) => mesh.sidecar(client, &settings),
        (None, Some(gateway)) => mesh.gateway(gateway, &settings),
        (None, None) => return Err(format!("{}: neither client nor gateway", file.display())),
    };
    let Compiled { snapshot, notices, origins } = match compiled {
        Ok(compiled) => compiled,
        Err(error) => return Ok(said("refused", error.faults.iter().map(|found| &found.fault))),
    };
    let mut text = String::new();
    for notice in &notices {
        text.push_str(&said(&format!("notice {}", notice.message.code), std::iter::once(&notice.fault)));
    }
    for (id, origin) in origins.iter() {
        text.push_str(&format!("# route {id}: {} {}, line {}\n", origin.resource, origin.path, origin.place().line));
    }
    text.push_str(&serde_saphyr::to_string(&snapshot).map_err(|error| error.to_string())?);
    Ok(text)
}

/// Where the workload's certificate is, as a comment at the top says.
fn certificates(file: &Path) -> Option<Credentials> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().find_map(|line| line.strip_prefix("# certificates: ")).map(Credentials::from)
}

/// A comment for each. The file's place differs from machine to machine.
fn said<'f>(what: &str, faults: impl Iterator<Item = &'f istio_api::Fault>) -> String {
    let line = |fault: &istio_api::Fault| {
        let fault = fault.to_string();
        format!("# {what}: {}\n", fault.split(" (/").next().unwrap_or(&fault))
    };
    faults.map(line).collect()
}
