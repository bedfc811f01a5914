//! The modules as they ship: through `wasm-opt -Oz`, in `<target>/wasm`.

use crate::tools;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

/// One at a time: two tests may want the same module.
static BUSY: Mutex<()> = Mutex::new(());

/// What rustc uses of WebAssembly, and nothing newer: given more, the optimiser uses it, and Envoy's V8 refuses the module.
const FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// `-Oz`, and what it leaves out: functions that differ in a constant become one; what is called most has the shortest
/// number; and addresses of the first kilobyte, the end of the stack, are taken for unused.
const PASSES: [&str; 4] = ["--merge-similar-functions", "--low-memory-unused", "-Oz", "--reorder-functions"];

/// The optimised module of a filter, made when the embedded one has changed.
///
/// # Errors
/// When there is no such module, or `wasm-opt` is not to be had or fails.
pub fn path(name: &str) -> Result<PathBuf, String> {
    let _guard = BUSY.lock().map_err(|_| "another optimisation panicked".to_owned())?;
    let module = modules::find(name).ok_or_else(|| format!("there is no module {name}"))?;
    let directory = tools::target_directory().join("wasm");
    let (optimised, mark) = (directory.join(format!("{name}.wasm")), directory.join(format!("{name}.source")));
    let source = tools::hex(&Sha256::digest([module.bytes, PASSES.concat().as_bytes()].concat()));
    if optimised.exists() && fs::read_to_string(&mark).is_ok_and(|known| known == source) {
        return Ok(optimised);
    }
    let at = |error: std::io::Error| format!("{}: {error}", optimised.display());
    fs::create_dir_all(&directory).map_err(at)?;
    let raw = directory.join(format!("{name}.raw"));
    fs::write(&raw, module.bytes).map_err(at)?;
    let mut node = Command::new("node");
    node.arg(tools::wasm_opt()?).args(FEATURES).args(PASSES).arg("-o").arg(&optimised).arg(&raw);
    let output = node.output().map_err(|error| format!("node cannot be run: {error}"))?;
    let _ = fs::remove_file(&raw);
    if !output.status.success() {
        return Err(format!("wasm-opt on {name}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let hash = tools::hex(&Sha256::digest(fs::read(&optimised).map_err(at)?));
    fs::write(directory.join(format!("{name}.wasm.sha256")), format!("{hash}  {name}.wasm\n")).map_err(at)?;
    fs::write(&mark, source).map_err(at)?;
    Ok(optimised)
}
