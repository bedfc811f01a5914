//! `outrigger ca`: roots, intermediates and certificates of workloads, as folders of files.

use crate::cli::{BAD_DATA, CaArguments, CaVerb};
use host::Faults;
use host::ca::Authority;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

/// Makes what is asked for, and says where it is.
pub(crate) fn run(arguments: &CaArguments) -> ExitCode {
    match make(&arguments.verb, SystemTime::now()) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            ExitCode::from(BAD_DATA)
        }
    }
}

fn make(verb: &CaVerb, now: SystemTime) -> Result<String, Faults> {
    let written = |folder: &Path, result: std::io::Result<()>| {
        result.map_err(|error| Faults::one(error.to_string()))?;
        Ok(folder.display().to_string())
    };
    match verb {
        CaVerb::Root { organization, out } => {
            let root = Authority::root(organization, now).map_err(Faults::one)?;
            Ok(format!("root: {}", written(out, root.write(out))?))
        }
        CaVerb::Intermediate { ca, organization, cluster, out } => {
            let root = Authority::read(ca, now)?;
            let intermediate = root.intermediate(organization, cluster, now).map_err(Faults::one)?;
            Ok(format!("intermediate of {cluster}: {}", written(out, intermediate.write(out))?))
        }
        CaVerb::Workload { ca, identity, lifetime, out } => {
            let issued = Authority::read(ca, now)?.issue(identity, *lifetime, now).map_err(Faults::one)?;
            Ok(format!("{identity}: {}", written(out, issued.write(out))?))
        }
    }
}
