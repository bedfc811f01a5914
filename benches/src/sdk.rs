//! Filters made with the Rust SDK, which ours are measured against. They are no members of the workspace.

use outrigger_tests::tools;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds one: `sdk-baseline` or `sdk-hostcalls`.
///
/// # Errors
/// When it does not build.
pub fn build(name: &str) -> Result<PathBuf, String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(name).join("Cargo.toml");
    let target = tools::directory().join(name);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--profile", "module", "--target", "wasm32-wasip1", "--manifest-path"]);
    let status = cargo.arg(manifest).arg("--target-dir").arg(&target).status();
    match status {
        Ok(status) if status.success() => {
            Ok(target.join("wasm32-wasip1/module").join(format!("{}.wasm", name.replace('-', "_"))))
        }
        Ok(_) => Err(format!("{name} does not build")),
        Err(error) => Err(format!("cargo cannot be run: {error}")),
    }
}
