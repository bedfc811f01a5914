//! Envoy itself has nothing against what is written for it: every golden pair's bootstrap, with certificates and modules
//! that are there.

use compiler::snapshot::{DataSource, Module, Snapshot, TlsCertificate};
use libtest_mimic::Failed;
use outrigger_tests::{certs, optimised, root, tools};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A plugin of a user's: it does nothing.
const NOTHING: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#;

pub(super) fn every_golden_pair() -> Result<(), Failed> {
    let envoy = tools::envoy()?;
    let folder = tools::target_directory().join("envoy").join(format!("validated-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let nothing = folder.join("nothing.wasm");
    fs::write(&nothing, wat::parse_str(NOTHING)?)?;
    let (mut validated, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(root().join("tests/golden"))? {
        let entry = entry?;
        let text = fs::read_to_string(entry.path().join("snapshot.yaml"))?;
        if text.starts_with("# refused") {
            continue;
        }
        let mut snapshot: Snapshot = serde_saphyr::from_str(&text)?;
        for module in snapshot.modules.values_mut().filter(|module| matches!(module, Module::File(_))) {
            *module = Module::File(nothing.clone());
        }
        with_certificates(&mut snapshot)?;
        let made = envoy_configs::bootstrap(&snapshot, &tools::target_directory().join("wasm"));
        made.modules.iter().try_for_each(|module| optimised::path(module).map(drop))?;
        let file: PathBuf = folder.join(entry.file_name()).with_extension("json");
        fs::write(&file, made.value.to_string())?;
        let output = Command::new(&envoy).args(["--mode", "validate", "-l", "warning", "-c"]).arg(&file).output()?;
        validated += 1;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: Vec<&str> = said.lines().filter(|line| !line.contains("[info]")).take(5).collect();
            wrong.push(format!("{}: {}", file.display(), said.join("\n")));
        }
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n").into());
    }
    fs::remove_dir_all(&folder)?;
    if validated > 10 { Ok(()) } else { Err(format!("only {validated} were validated").into()) }
}

/// Certificates that are there, in place of the files of a machine.
fn with_certificates(snapshot: &mut Snapshot) -> Result<(), String> {
    let issued = certs::issue(&["spiffe://cluster.local/ns/shop/sa/client".to_owned()], Some("client.test"))?;
    let own = || TlsCertificate {
        certificate_chain: DataSource::Inline(issued.certificate.clone()),
        private_key: DataSource::Inline(issued.key.clone()),
    };
    let authority = DataSource::Inline(certs::authority()?);
    for chain in snapshot.listeners.iter_mut().flat_map(|listener| &mut listener.filter_chains) {
        if let Some(socket) = &mut chain.transport_socket {
            socket.certificates.iter_mut().for_each(|certificate| *certificate = own());
            socket.trusted_ca = socket.trusted_ca.as_ref().map(|_| authority.clone());
        }
    }
    for socket in snapshot.clusters.iter_mut().filter_map(|cluster| cluster.transport_socket.as_mut()) {
        socket.certificate = socket.certificate.as_ref().map(|_| own());
        socket.trusted_ca = socket.trusted_ca.as_ref().map(|_| authority.clone());
    }
    Ok(())
}
