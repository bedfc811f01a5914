//! The binary `outrigger`: its verbs, and what each returns to the shell.

mod cli;
mod demo;
mod run;

use clap::Parser;
use cli::{Arguments, Verb};
use std::process::ExitCode;

fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Demo(arguments) => demo::run(&arguments),
    }
}
