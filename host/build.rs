//! With the feature `precompiled`, compiles the filters that every proxy may run, for any processor of the target.
//! Where the engine cannot (another architecture than this machine's), they are compiled when they are first run, as
//! they are without the feature.

#[cfg(feature = "precompiled")]
#[path = "src/wasm/config.rs"]
mod config;

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/wasm/config.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let compiled = compile(&out).unwrap_or_else(|error| {
        println!("cargo::warning=the filters are not compiled: {error}");
        String::new()
    });
    let list = format!("/// By the filter's name.\nconst ALL: &[(&str, &[u8])] = &[\n{compiled}];\n");
    Ok(fs::write(out.join("precompiled.rs"), list)?)
}

/// Entries of the list: a name, and the file with the code.
#[cfg(feature = "precompiled")]
fn compile(out: &std::path::Path) -> Result<String, Box<dyn Error>> {
    use std::fmt::Write;
    let mut config = config::config();
    // Named, it is no more than what every processor of its kind can do.
    config.target(&env::var("TARGET")?)?;
    let engine = wasmtime::Engine::new(&config)?;
    let mut list = String::new();
    // What the linking module holds is seldom run by itself.
    let linked = |name: &str| modules::LINKED.iter().any(|(linked, _)| *linked == name);
    for module in modules::ALL.iter().filter(|module| !linked(module.name)) {
        let file = out.join(format!("{}.cwasm", module.name));
        fs::write(&file, engine.precompile_module(module.bytes)?)?;
        writeln!(list, "    ({:?}, include_bytes!({file:?})),", module.name)?;
    }
    Ok(list)
}

#[cfg(not(feature = "precompiled"))]
fn compile(_: &std::path::Path) -> Result<String, Box<dyn Error>> {
    Ok(String::new())
}
