//! Builds every guest in `programs/`: Rust for wasm32-wasip1 against `abi/lib.rs`, WebAssembly text as it stands. Their
//! list becomes a macro, so that tests can be asked for one of each.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip1";

/// Versions of the ABI, as `cfg` and in names. A guest whose first line says `//! ABI: every version` is built for each.
const VERSIONS: [&str; 3] = ["abi_0_1_0", "abi_0_2_0", "abi_0_2_1"];
const LATEST: &str = "abi_0_2_1";

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(variable("OUT_DIR"));
    for watched in ["abi", "programs"] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    for version in VERSIONS {
        let library = out.join(version);
        fs::create_dir_all(&library).unwrap_or_else(|error| fail(&format!("{}: {error}", library.display())));
        compile(&root.join("abi/lib.rs"), &library.join("libabi.rlib"), version, &["--crate-type", "rlib"]);
    }
    let mut guests = Vec::new();
    for program in programs(&root.join("programs")) {
        let name = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&program).unwrap_or_else(|error| fail(&format!("{name}: {error}")));
        if program.extension().is_some_and(|extension| extension == "wat") {
            let module = wat::parse_str(&text).unwrap_or_else(|error| fail(&format!("{name}.wat: {error}")));
            let file = out.join(format!("{name}.wasm"));
            fs::write(&file, module).unwrap_or_else(|error| fail(&format!("{}: {error}", file.display())));
            guests.push(name);
        } else if text.starts_with("//! ABI: every version") {
            guests.extend(VERSIONS.map(|version| format!("{name}_{version}")));
            VERSIONS.iter().for_each(|version| module(&program, &out, &format!("{name}_{version}"), version));
        } else {
            module(&program, &out, &name, LATEST);
            guests.push(name);
        }
    }
    let file = out.join("guests.rs");
    fs::write(&file, list(&guests)).unwrap_or_else(|error| fail(&format!("{}: {error}", file.display())));
}

fn programs(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| fail(&format!("{}: {error}", directory.display())));
    let mut programs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    programs.sort();
    programs
}

fn module(program: &Path, out: &Path, name: &str, version: &str) {
    let library = format!("abi={}", out.join(version).join("libabi.rlib").display());
    let module = out.join(format!("{name}.wasm"));
    compile(program, &module, version, &["--crate-type", "cdylib", "-C", "lto=fat", "--extern", &library]);
}

/// One call of the compiler for each: there is nothing here that Cargo would have to resolve.
fn compile(source: &Path, to: &Path, version: &str, arguments: &[&str]) {
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition", "2024", "--target", TARGET, "-D", "warnings", "--cfg", version]);
    rustc.args(VERSIONS.iter().flat_map(|version| ["--check-cfg".to_owned(), format!("cfg({version})")]));
    rustc.args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols"]);
    rustc.args(arguments).arg("-o").arg(to).arg(source);
    match rustc.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => fail(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => fail(&format!("rustc cannot be run: {error}")),
    }
}

fn list(guests: &[String]) -> String {
    let mut list = String::from("/// Every guest.\npub const ALL: &[Guest] = &[\n");
    for name in guests {
        let _ = writeln!(list, "    Guest {{ name: {name:?}, bytes: include_bytes!(\"{name}.wasm\") }},");
    }
    list.push_str("];\n\n/// Expands a macro for each guest: what it expands to must then be there for every one.\n");
    list.push_str("#[macro_export]\nmacro_rules! for_each_guest {\n    ($required:ident) => {\n");
    for name in guests {
        let _ = writeln!(list, "        $required!({name});");
    }
    list.push_str("    };\n}\n");
    list
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("Cargo sets {name} for build scripts, and it is not set")))
}

fn fail(message: &str) -> ! {
    for line in message.lines() {
        println!("cargo::error={line}");
    }
    std::process::exit(1)
}
