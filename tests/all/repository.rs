//! What concerns the whole repository: module sizes, documents, imports, lengths of files, tests on wasm32.

use libtest_mimic::{Failed, Trial};
use outrigger_tests::{optimised, root, tools};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tests.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("repository::module_sizes", module_sizes),
        Trial::test("repository::document_paths", document_paths),
        Trial::test("repository::imports", imports),
        Trial::test("repository::file_lengths", file_lengths),
    ];
    for tested in ["config/http-match", "filters"] {
        for suite in files(&root().join(tested), "rs").into_iter().filter(|file| file.ends_with("tests/wasm.rs")) {
            let package = suite.ancestors().nth(2).and_then(Path::file_name).unwrap_or_default();
            let package = package.to_string_lossy().into_owned();
            trials.push(Trial::test(format!("wasm_bindgen::{package}"), move || on_wasm(&package)));
        }
    }
    trials
}

/// All files below a directory with this ending, in order.
pub(crate) fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|found| found == ending) {
            found.push(path);
        }
    }
    found
}

pub(crate) fn read(path: &Path) -> Result<String, Failed> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// What a module may have in bytes, optimised: a VM per worker holds each, so they may shrink but not grow.
const BUDGETS: [(&str, u64); 8] = [
    ("authz", 160_000),
    ("cors", 148_000),
    ("fault-injection", 151_000),
    ("header-rules", 198_000),
    // Signatures: RSA, four curves, and the hash functions.
    ("jwt-authn", 414_000),
    ("mirroring", 149_000),
    ("weighted-shifting", 171_000),
    ("traffic", 525_000),
];

fn module_sizes() -> Result<(), Failed> {
    let mut over = Vec::new();
    for (name, budget) in BUDGETS {
        let path = optimised::path(name)?;
        let size = fs::metadata(&path)?.len();
        println!("{name}: {size} bytes");
        if size > budget {
            over.push(format!("{name} has {size} bytes, more than {budget}"));
        }
    }
    let (known, all) = (BUDGETS.map(|(name, _)| name), modules::ALL.iter().map(|module| module.name));
    over.extend(all.filter(|name| !known.contains(name)).map(|name| format!("{name} has no budget")));
    if over.is_empty() { Ok(()) } else { Err(over.join("\n").into()) }
}

/// Every path in backticks in a document exists.
fn document_paths() -> Result<(), Failed> {
    let root = root();
    let mut documents: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].iter().map(|name| root.join(name)).collect();
    documents.extend(files(&root.join("filters"), "md"));
    let mut missing = Vec::new();
    let mut checked = 0;
    for document in documents {
        let text = read(&document)?;
        // Every other piece between backticks is code.
        for code in text.split('`').skip(1).step_by(2) {
            let tops =
                ["config/", "sdk-shims/", "filters/", "modules/", "tests/", "benches/", "envoy-configs/", "host/"];
            let path = tops.iter().any(|top| code.starts_with(top)) && !code.contains([' ', '<', '*', '\n']);
            if path {
                checked += 1;
                if !root.join(code).exists() {
                    missing.push(format!("{}: {code}", document.display()));
                }
            }
        }
    }
    if checked < 10 {
        return Err(format!("only {checked} paths were found: the check has gone blind").into());
    }
    if missing.is_empty() { Ok(()) } else { Err(missing.join("\n").into()) }
}

/// No file has more lines, as `CONTRIBUTING.md` says.
const LONGEST_FILE: usize = 500;

fn file_lengths() -> Result<(), Failed> {
    let tops = ["benches", "config", "envoy-configs", "filters", "fuzz", "host", "modules", "sdk-shims", "tests"];
    // What is built in between is nobody's to read.
    let sources = tops.iter().flat_map(|top| files(&root().join(top), "rs"));
    let sources: Vec<PathBuf> = sources.filter(|file| !file.iter().any(|part| part == "target")).collect();
    if sources.len() < 100 {
        return Err(format!("only {} files were found: the check has gone blind", sources.len()).into());
    }
    let mut long = Vec::new();
    for source in sources {
        let lines = read(&source)?.lines().count();
        if lines > LONGEST_FILE {
            long.push(format!("{} has {lines} lines, more than {LONGEST_FILE}", source.display()));
        }
    }
    if long.is_empty() { Ok(()) } else { Err(long.join("\n").into()) }
}

/// What each crate may depend on, of this repository: the table in ARCHITECTURE.md.
const IMPORTS: [(&str, &[&str]); 10] = [
    ("config/plugin-config", &[]),
    ("config/http-match", &["plugin-config"]),
    ("sdk-shims/filter-api", &["http-match", "plugin-config"]),
    ("sdk-shims/proxy-wasm-shim", &["filter-api", "http-match"]),
    ("sdk-shims/native-shim", &["filter-api", "http-match", "plugin-config"]),
    ("filters", &["filter-api", "http-match", "plugin-config", "proxy-wasm-shim"]),
    ("config/istio-api", &["http-match", "plugin-config"]),
    (
        "config/compiler",
        &[
            "authz",
            "cors",
            "fault-injection",
            "filter-api",
            "header-rules",
            "http-match",
            "istio-api",
            "jwt-authn",
            "mirroring",
            "native-shim",
            "plugin-config",
            "weighted-shifting",
        ],
    ),
    ("envoy-configs", &["compiler"]),
    ("host", &["compiler", "envoy-configs", "http-match", "istio-api"]),
];

/// Folders of the host that its Proxy-Wasm part must not know: the data path imports it, not the other way round.
const DATA_PATH: [&str; 5] = ["downstream", "filter_chain", "router", "upstream", "worker"];

fn imports() -> Result<(), Failed> {
    let root = root();
    let manifests = ["config", "envoy-configs", "sdk-shims", "filters", "host"]
        .iter()
        .flat_map(|top| files(&root.join(top), "toml"));
    let manifests: Vec<PathBuf> = manifests.filter(|file| file.ends_with("Cargo.toml")).collect();
    let own: BTreeSet<String> =
        manifests.iter().filter_map(|file| Some(file.parent()?.file_name()?.to_string_lossy().into_owned())).collect();
    let mut wrong = Vec::new();
    for manifest in &manifests {
        let place = manifest.strip_prefix(&root).unwrap_or(manifest).display().to_string();
        if place.starts_with("filters/traffic") {
            continue;
        }
        let allowed = IMPORTS.iter().find(|(start, _)| place.starts_with(start)).map(|(_, allowed)| *allowed);
        let allowed = allowed.ok_or_else(|| format!("{place} is not in the table of imports"))?;
        let text = read(manifest)?;
        let code = text.split("dev-dependencies").next().unwrap_or_default();
        let used =
            code.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|name| own.contains(*name));
        wrong.extend(used.filter(|name| !allowed.contains(name)).map(|name| format!("{place} depends on {name}")));
    }
    for source in ["config", "sdk-shims", "filters"].iter().flat_map(|top| files(&root.join(top), "rs")) {
        let bound = read(&source)?.contains("wasm_import_module");
        if bound && !source.ends_with("sdk-shims/proxy-wasm-shim/src/hostcalls.rs") {
            wrong.push(format!("{} binds hostcalls: only proxy-wasm-shim does", source.display()));
        }
    }
    for source in files(&root.join("host/src/wasm"), "rs") {
        let text = read(&source)?;
        // Its tests drive it through the data path.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let imported = DATA_PATH.iter().filter(|folder| text.contains(&format!("crate::{folder}")));
        wrong.extend(imported.map(|folder| format!("{} imports {folder}", source.display())));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Runs a crate's suite on wasm32-unknown-unknown under Node.
fn on_wasm(package: &str) -> Result<(), Failed> {
    let runner = tools::wasm_bindgen_runner()?.join("bin/wasm-bindgen-test-runner");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args([
        "test",
        "--locked",
        "--target",
        "wasm32-unknown-unknown",
        "-p",
        package,
        "--test",
        "wasm",
    ]);
    cargo.env("CARGO_TARGET_DIR", tools::target_directory().join("wasm-bindgen"));
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner);
    let output = cargo.output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let passed = said
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. "))
        .filter_map(|rest| rest.split(' ').next().and_then(|count| count.parse::<u32>().ok()));
    match passed.sum::<u32>() {
        count if output.status.success() && count > 0 => Ok(()),
        _ => Err(said.into()),
    }
}
