//! The binary `outrigger`: its verbs, and what each returns to the shell.

mod check;
mod cli;
mod demo;
mod emit;
mod explain;
mod issue;
mod run;
mod wasmplugin;

use clap::Parser;
use cli::{Arguments, Verb};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return cli::refuse(&error),
    };
    match arguments.verb {
        Verb::Check(arguments) => check::run(&arguments),
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Explain(arguments) => explain::run(&arguments),
        Verb::Envoy(arguments) => emit::envoy(&arguments),
        Verb::Ca(arguments) => issue::run(&arguments),
        Verb::Wasmplugin(arguments) => wasmplugin::run(&arguments),
        Verb::Demo(arguments) => demo::run(&arguments),
    }
}
