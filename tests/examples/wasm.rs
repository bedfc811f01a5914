//! Writes the optimised modules to `<target>/wasm` and prints their sizes.

use outrigger_tests::optimised;

fn main() -> Result<(), String> {
    println!("{:<20} {:>10} {:>10}", "module", "built", "shipped");
    for module in modules::ALL {
        let path = optimised::path(module.name)?;
        let size = std::fs::metadata(&path).map_err(|error| error.to_string())?.len();
        println!("{:<20} {:>10} {:>10}  {}", module.name, module.bytes.len(), size, path.display());
    }
    Ok(())
}
