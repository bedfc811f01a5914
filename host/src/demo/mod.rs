//! `outrigger demo`: a bookshop on the loopback network, in one process: its services, a sidecar for each, a gateway.

mod edges;
mod services;
mod tour;

use crate::cli::{DemoArguments, MeshArguments};
use crate::run::{self, Source};
use host::telemetry::{LogLevels, LogStyle};
use std::fs;
use std::io::{IsTerminal, stdout};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Where the gateway listens; as the demo's Gateway has it.
const FRONT_DOOR: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 10000);

/// The file of routes.
const ROUTES: &str = "routes.yaml";
const FILES: [(&str, &str); 3] = [
    ("services.yaml", include_str!("mesh/services.yaml")),
    (ROUTES, include_str!("mesh/routes.yaml")),
    ("policies.yaml", include_str!("mesh/policies.yaml")),
];

/// How often a page is asked for, and the table is shown.
const VISITS: Duration = Duration::from_millis(100);
const TABLES: Duration = Duration::from_secs(2);

/// Runs the demo until it is told to end, or, with `--once`, takes the tour.
pub(crate) fn run(arguments: &DemoArguments) -> ExitCode {
    match start(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("outrigger: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &DemoArguments) -> Result<ExitCode, String> {
    let folder = write_mesh(&arguments.directory, arguments.once)?;
    let services = services::start()?;
    let options = run::options(arguments.cache.folder(), LogStyle::Text, LogLevels::default());
    let source = Source::Mesh(Box::new(MeshArguments::whole_mesh(folder.clone())));
    // The tour ends with the process, wherever it is.
    let signals = (!arguments.once).then(run::Signals::listen).transpose().map_err(|error| error.to_string())?;
    let started = options.and_then(|options| run::start(source, options));
    let mut fleet = started.map_err(|faults| faults.to_string())?;
    let Some(signals) = signals else {
        tour::take(&services, &mut fleet, &folder)?;
        return Ok(ExitCode::SUCCESS);
    };
    println!("{}", tries(&folder));
    services.runtime.spawn(visits());
    services.runtime.spawn(tables(services.edges.clone(), fleet.snapshots()));
    Ok(run::serve(fleet, signals))
}

/// Writes the mesh, unless the user has one already that is to be gone on with.
fn write_mesh(directory: &Path, anew: bool) -> Result<PathBuf, String> {
    let folder = if anew { directory.join("tour") } else { directory.to_owned() };
    let at = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(at)?;
    for (name, text) in FILES {
        let file = folder.join(name);
        if anew || !file.exists() {
            fs::write(&file, text).map_err(at)?;
        }
    }
    Ok(folder)
}

/// What to try.
fn tries(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "\nThe bookshop is open. In another terminal:

  curl localhost:10000/                          # a page, made by three services behind their sidecars
  curl localhost:10000/ -H 'end-user: jason'     # a delay: his reviews come after two seconds
  curl localhost:10000/ -H 'end-user: mallory'   # an abort: where there are stars, hers answer 503
  curl -i localhost:10000/admin                  # a refusal: 403, \"RBAC: access denied\"
  curl 127.31.0.2:15001/ -H 'host: ratings:9080' # a refusal by identity: ratings are for the reviews alone
  curl 127.31.0.7:9080/                          # closed: workloads call each other with certificates
  curl 127.31.0.2:15000/wasm                     # how the plugins of the storefront's sidecar do
  $EDITOR {folder}/{ROUTES}           # change a weight, a delay, a mirror: it is served when you save

Ctrl-C ends the demo.
"
    )
}

/// Asks for a page again and again.
async fn visits() {
    let mut interval = tokio::time::interval(VISITS);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // One that fails shows in the table.
        let _ = tour::visit("/", &[]).await;
    }
}

/// Shows the table: in its place on a terminal, else one after the other.
async fn tables(edges: std::sync::Arc<edges::Edges>, snapshots: run::Snapshots) {
    let mut interval = tokio::time::interval(TABLES);
    interval.tick().await;
    let mut lines = 0;
    loop {
        interval.tick().await;
        let table = snapshots.with(|snapshots| edges.table(snapshots));
        if stdout().is_terminal() && lines > 0 {
            print!("\x1b[{lines}A\x1b[J");
        }
        lines = table.lines().count() + 1;
        println!("{table}");
    }
}
