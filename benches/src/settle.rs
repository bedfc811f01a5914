//! A bench out of the way of what it measures, and of what else the machine does.

use crate::process::LOAD_CPU;
use crate::sdk;
use outrigger_tests::{optimised, tools};
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::Command;

const SETTLED: &str = "--settled";

/// Runs this program anew on a CPU that the proxies do not have, and at real-time priority where that is allowed: proxies
/// inherit it, and what else runs on the machine then disturbs less. Modules and Envoy are fetched and built before: at
/// real-time priority, on one CPU, npm waits for itself.
///
/// # Errors
/// When a module does not build, something cannot be fetched, or the program cannot be run.
pub fn settle_down() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == SETTLED) {
        return Ok(());
    }
    modules::ALL.iter().try_for_each(|module| optimised::path(module.name).map(|_| ()))?;
    ["sdk-baseline", "sdk-hostcalls"].into_iter().try_for_each(|name| sdk::build(name).map(|_| ()))?;
    tools::envoy()?;
    let real_time = Command::new("chrt").args(["-f", "1", "true"]).status().is_ok_and(|status| status.success());
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_CPU]);
    if real_time {
        command.args(["chrt", "-f", "1"]);
    }
    println!("Real-time priority: {}.", if real_time { "yes" } else { "no, expect noise" });
    Err(command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).arg(SETTLED).exec().into())
}
