//! Builds the filters for wasm32-wasip1, in a target directory of their own: a build script must not wait for the lock
//! of the build it belongs to.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a module is built: a profile of the workspace.
const SMALL: &str = "module";
const FAST: &str = "fast-module";
/// Packages; each exports its callbacks when its feature `module` is on.
const MODULES: [(&str, &str); 8] = [
    ("authz", SMALL),
    ("cors", SMALL),
    ("fault-injection", SMALL),
    ("header-rules", SMALL),
    ("jwt-authn", SMALL),
    ("mirroring", SMALL),
    ("weighted-shifting", SMALL),
    ("traffic", FAST),
];
const TARGET: &str = "wasm32-wasip1";

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("..");
    let root = root.canonicalize().unwrap_or(root);
    for watched in ["config", "sdk-shims", "filters", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    // <target>/<profile>/build/<package>/out
    let target = out.ancestors().nth(4).unwrap_or(&out).join("modules");
    install_target();
    let mut list = String::from("/// Every module.\npub const ALL: &[Module] = &[\n");
    for (name, profile) in MODULES {
        build(&root, &target, profile, name);
        let built = target.join(TARGET).join(profile).join(format!("{}.wasm", name.replace('-', "_")));
        // Its own copy: other builds of the same target directory may write the first one anew.
        let embedded = out.join(format!("{name}.wasm"));
        if let Err(error) = fs::copy(&built, &embedded) {
            fail(&format!("{}: {error}", built.display()));
        }
        let _ = writeln!(list, "    Module {{ name: {name:?}, bytes: include_bytes!({embedded:?}) }},");
    }
    list.push_str("];\n");
    if let Err(error) = fs::write(out.join("modules.rs"), list) {
        fail(&format!("the list of modules cannot be written: {error}"));
    }
}

/// A toolchain file alone does not install targets everywhere (`RUSTUP_AUTO_INSTALL=0`).
fn install_target() {
    let sysroot = Command::new(variable("RUSTC")).args(["--print", "sysroot"]).output();
    let sysroot = sysroot.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if Path::new(&sysroot).join("lib/rustlib").join(TARGET).exists() {
        return;
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).status();
    if !added.is_ok_and(|status| status.success()) {
        fail(&format!("the target {TARGET} is missing: run `rustup target add {TARGET}`"));
    }
}

fn build(root: &Path, target: &Path, profile: &str, package: &str) {
    let home = variable("CARGO_HOME_OR_DEFAULT");
    // Paths of the machine that builds have no place in a module, and cost bytes.
    let remap = format!("--remap-path-prefix={home}/registry/src/= --remap-path-prefix={}=.", root.display());
    let mut cargo = Command::new(variable("CARGO"));
    // The kind of crate is said here: a manifest that names a library beside it turns off, without a word, optimisation
    // across crates (a fifth of a module's size). And one package at a time: Cargo unites features within one build, and
    // a filter that is linked into another must not export its callbacks.
    cargo.current_dir(root).args(["rustc", "--lib", "--crate-type", "cdylib", "--locked"]);
    cargo.args(["--profile", profile, "--target", TARGET, "--target-dir"]).arg(target);
    cargo.args(["-p", package, "--features", &format!("{package}/module")]);
    // What the outer build was told (flags, clippy as the compiler, jobs) is not for the guest.
    for (name, _) in env::vars() {
        let outer =
            ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "CLIPPY_ARGS", "CARGO_BUILD_TARGET"];
        if outer.contains(&name.as_str()) || name.starts_with("CARGO_FEATURE_") || name.starts_with("CARGO_CFG_") {
            cargo.env_remove(name);
        }
    }
    cargo.env("CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS", remap);
    match cargo.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => fail(&format!("the filters do not build:\n{}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => fail(&format!("cargo cannot be run: {error}")),
    }
}

fn variable(name: &str) -> String {
    if name == "CARGO_HOME_OR_DEFAULT" {
        let home = env::var("CARGO_HOME");
        return home.unwrap_or_else(|_| format!("{}/.cargo", env::var("HOME").unwrap_or_default()));
    }
    env::var(name).unwrap_or_else(|_| fail(&format!("Cargo sets {name} for build scripts, and it is not set")))
}

fn fail(message: &str) -> ! {
    for line in message.lines() {
        println!("cargo::error={line}");
    }
    std::process::exit(1)
}
