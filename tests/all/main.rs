//! Every test that needs more than one crate, in one binary: the cases in each engine, guests that misbehave,
//! the data path over raw sockets, the examples, and what concerns the whole repository.

mod cases;
mod data_path;
mod examples;
mod guests;
mod istio_proxy;
mod mesh;
mod parity;
mod repository;
mod robust;
mod wasm_driver;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = Vec::new();
    let engines = cases::Engines::default();
    match cases::trials(&engines) {
        Ok(cases) => trials.extend(cases),
        Err(error) => trials.push(Trial::test("cases::readable", move || Err(error.into()))),
    }
    trials.extend(repository::trials());
    trials.extend(examples::trials());
    trials.extend(robust::trials());
    trials.extend(guests::trials());
    trials.extend(data_path::trials());
    trials.extend(parity::trials());
    trials.extend(mesh::trials());
    trials.push(Trial::test("istio_proxy::gateway", istio_proxy::gateway));
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Ends the proxies: leaving the process would not.
    engines.stop();
    conclusion.exit();
}
