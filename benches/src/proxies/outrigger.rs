//! Our proxy's snapshot.

use crate::proxies::{Filters, Plugin, Setup, StartError, Surroundings, write};
use outrigger_tests::tools;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where `cargo build --release -p outrigger` puts the binary.
pub fn binary() -> PathBuf {
    tools::target_directory().join("release/outrigger")
}

/// Where compiled modules are kept from run to run.
pub fn module_cache() -> PathBuf {
    tools::target_directory().join("bench-modules-compiled")
}

pub(super) fn command(
    setup: &Setup,
    binary: &Path,
    port: u16,
    surroundings: &Surroundings<'_>,
) -> Result<Command, StartError> {
    let snapshot = snapshot(setup, port, surroundings);
    let file = write(surroundings, &format!("outrigger-{port}.json"), &snapshot.to_string())?;
    let mut command = Command::new(binary);
    command.args(["run", "--snapshot"]).arg(file).arg("--module-cache").arg(&surroundings.module_cache);
    Ok(command)
}

fn snapshot(setup: &Setup, port: u16, surroundings: &Surroundings<'_>) -> Value {
    let plugins: &[Plugin] = match &setup.filters {
        Filters::Wasm(plugins) => plugins,
        Filters::None | Filters::Native { .. } => &[],
    };
    let name = |module: &Path| module.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let modules = plugins.iter().map(|plugin| {
        let module = plugin.ours.map_or_else(|| json!({"file": plugin.module}), |name| json!({"embedded": name}));
        (name(&plugin.module), module)
    });
    let mut chain = json!({"networkFilter": {"httpConnectionManager": {
        "destination": {"clusterHeader": {"name": "x-outrigger-cluster", "default": "upstream"}},
        "plugins": plugins.iter().enumerate().map(|(i, plugin)| json!({
            "name": format!("plugin{i}"),
            "module": name(&plugin.module),
            // Those from files have a VM each, as separate plugins have.
            "vmId": plugin.ours.map_or_else(|| format!("vm{i}"), |_| String::new()),
            "configuration": plugin.configuration,
        })).collect::<Vec<_>>(),
    }}});
    if setup.listener.tls {
        let certificates = surroundings.certificates;
        chain["transportSocket"] = json!({
            "certificates": [{
                "certificateChain": {"file": certificates.certificate},
                "privateKey": {"file": certificates.key},
            }],
            "trustedCa": {"file": certificates.authority},
            "requireClientCertificate": true,
        });
    }
    let cluster =
        |name| json!({"name": name, "endpoints": [{"address": format!("127.0.0.1:{}", surroundings.upstream)}]});
    json!({
        "workers": 1,
        "listeners": [{"name": "bench", "address": format!("127.0.0.1:{port}"), "filterChains": [chain]}],
        "clusters": [cluster("upstream"), cluster("upstream2")],
        "modules": modules.collect::<Map<_, _>>(),
    })
}
