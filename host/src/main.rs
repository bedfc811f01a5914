//! The binary `outrigger`. It has one verb yet: `demo` runs the filters in stock Envoy, all six as one module.

mod demo;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Istio's traffic and security API as Proxy-Wasm filters.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Starts stock Envoy with the filters and says what to try.
    Demo {
        /// Takes the tour by itself, checks every result, and ends.
        #[arg(long)]
        once: bool,
    },
}

fn main() -> ExitCode {
    let Verb::Demo { once } = Arguments::parse().verb;
    match demo::run(once) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger: {error}");
            ExitCode::FAILURE
        }
    }
}
