//! Plugins as the SDKs of other languages build them: made of `tests/sdks` into `<target>/sdks`, once for each state of
//! their sources. They do the same, so that one file of cases is for all. AssemblyScript's SDK is the published one; those of
//! Go and C++ are in no package registry: their plugins declare what these SDKs import and export, and have the same
//! compiler, runtime and allocator below. TinyGo is in none either, and left out.

use crate::case_file::{self, Located};
use crate::{root, tools};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// A language with a toolchain of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sdk {
    /// Go's own compiler.
    Go,
    /// Clang with libc++, as the C++ SDK's modules are but for emscripten's name on them.
    Cpp,
    /// AssemblyScript, with the SDK itself.
    AssemblyScript,
}

impl Sdk {
    const ALL: [Self; 3] = [Self::Go, Self::Cpp, Self::AssemblyScript];

    fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Cpp => "cpp",
            Self::AssemblyScript => "assemblyscript",
        }
    }

    /// That of a module's name: `sdk-go`.
    pub(crate) fn find(module: &str) -> Option<Self> {
        let name = module.strip_prefix("sdk-")?;
        Self::ALL.into_iter().find(|sdk| sdk.name() == name)
    }

    /// The module's file, built if there is none of these sources.
    ///
    /// # Errors
    /// When the toolchain is not to be had, or refuses the sources.
    pub(crate) fn module(self) -> Result<PathBuf, String> {
        static BUSY: Mutex<()> = Mutex::new(());
        let _guard = BUSY.lock().map_err(|_| "another build panicked".to_owned())?;
        let sources = root().join("tests/sdks").join(self.name());
        let folder = tools::target_directory().join("sdks");
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let compiler = match self {
            Self::Go => tools::go()?,
            Self::Cpp => tools::clang()?,
            Self::AssemblyScript => tools::assemblyscript()?,
        };
        let file = folder.join(format!("{}-{}.wasm", self.name(), state(&sources, &compiler)?));
        if file.exists() {
            return Ok(file);
        }
        // Another process may build the same: what it has is whole, or not there.
        let half = file.with_extension(std::process::id().to_string());
        match self {
            Self::Go => go(&compiler, &sources, &folder, &half),
            Self::Cpp => tools::finish(
                Command::new("node").arg(sources.join("build.mjs")).arg(compiler).arg(&sources).arg(&half),
            ),
            Self::AssemblyScript => assemblyscript(&compiler, &sources, &half),
        }?;
        fs::rename(&half, &file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(file)
    }
}

/// The cases of all SDKs.
///
/// # Errors
/// When their file cannot be read.
pub fn cases() -> Result<Vec<Located>, String> {
    let mut all = Vec::new();
    for sdk in Sdk::ALL {
        let (prefix, module) = (format!("sdks::{}", sdk.name()), format!("sdk-{}", sdk.name()));
        let mut cases = case_file::read(&root().join("tests/sdks/cases.yaml"), &prefix, &module)?;
        // Under this name AssemblyScript's SDK knows the plugin.
        cases.iter_mut().flat_map(|located| &mut located.plugins).for_each(|plugin| {
            plugin.root_id = Some("plugin".to_owned());
        });
        all.extend(cases);
    }
    Ok(all)
}

/// What the sources and the compiler's version come to.
fn state(sources: &Path, compiler: &Path) -> Result<String, String> {
    let at = |error: std::io::Error| format!("{}: {error}", sources.display());
    let entries: Result<Vec<_>, _> = fs::read_dir(sources).map_err(at)?.collect();
    let mut files: Vec<PathBuf> = entries.map_err(at)?.into_iter().map(|entry| entry.path()).collect();
    files.sort();
    let mut hash = Sha256::new();
    hash.update(compiler.as_os_str().as_encoded_bytes());
    for file in files {
        hash.update(fs::read(&file).map_err(at)?);
    }
    Ok(tools::hex(&hash.finalize()).chars().take(16).collect())
}

/// As the Go SDK's documentation says. Nothing of the user's own Go is looked at, and nothing is fetched.
fn go(compiler: &Path, sources: &Path, folder: &Path, module: &Path) -> Result<(), String> {
    let mut go = Command::new(compiler.join("bin/go"));
    go.current_dir(sources).args(["build", "-buildmode=c-shared", "-trimpath", "-o"]).arg(module).arg(".");
    go.envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOENV", "off"), ("GOPROXY", "off"), ("GOTOOLCHAIN", "local")]);
    go.envs([("GOFLAGS", "-buildvcs=false"), ("GOWORK", "off")]);
    go.env("GOROOT", compiler).env("GOCACHE", folder.join("go-cache")).env("GOPATH", folder.join("go-path"));
    tools::finish(&mut go)
}

/// As the SDK's documentation says. The compiler looks for packages beside its entry.
fn assemblyscript(packages: &Path, sources: &Path, module: &Path) -> Result<(), String> {
    let entry = packages.with_file_name("plugin.ts");
    fs::copy(sources.join("plugin.ts"), &entry).map_err(|error| format!("{}: {error}", entry.display()))?;
    let mut node = Command::new("node");
    node.current_dir(packages.with_file_name("")).arg("node_modules/assemblyscript/bin/asc").arg("plugin.ts");
    node.args(["--use", "abort=abort_proc_exit", "--optimize", "-b"]).arg(module);
    tools::finish(&mut node)
}
