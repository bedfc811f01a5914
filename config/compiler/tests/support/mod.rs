//! Files of resources, and the proxies that are made of them.

use compiler::snapshot::{NetworkFilter, Snapshot};
use compiler::{Compiled, Mesh, Settings};
use istio_api::{File, Options, Resources, read_files};
use plugin_config::At;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folders in one of the repository's, in order.
pub(crate) fn folders(of: &str) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(root().join(of)).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

/// The resources of a text.
pub(crate) fn read(text: String) -> Result<Resources, String> {
    let file = Arc::new(File { name: "istio.yaml".to_owned(), text });
    read_files(&[file], &Options::default()).map_err(|faults| faults.to_string())
}

/// Every proxy that the WorkloadEntries describe, or why there is none.
pub(crate) fn proxies(resources: &Resources) -> BTreeMap<String, String> {
    let (mesh, settings) = (Mesh::new(resources), Settings::default());
    let made = mesh.workloads().into_iter().map(|workload| {
        let made = match mesh.is_gateway(&workload) {
            true => mesh.gateway(&workload, &settings),
            false => mesh.sidecar(&workload, &settings),
        };
        let text = match made {
            Ok(Compiled { snapshot, .. }) => match refused(&snapshot) {
                Some(faults) => format!("refused: {faults}"),
                None => serde_saphyr::to_string(&snapshot).unwrap(),
            },
            Err(error) => format!("refused: {error}"),
        };
        (format!("{}/{}", workload.namespace, workload.name), text)
    });
    made.collect()
}

/// What header-rules has to say of its configuration.
fn refused(snapshot: &Snapshot) -> Option<String> {
    let chains = snapshot.listeners.iter().flat_map(|listener| &listener.filter_chains);
    let plugins = chains.flat_map(|chain| match &chain.network_filter {
        NetworkFilter::HttpConnectionManager(manager) => manager.plugins.as_slice(),
        NetworkFilter::TcpProxy(_) => &[],
    });
    plugins.filter(|plugin| plugin.module == "header-rules").find_map(|plugin| {
        let mut at = At::root();
        let config = plugin_config::from_slice(plugin.configuration.to_string().as_bytes()).unwrap();
        header_rules::Compiled::compile(&config, &mut at);
        Some(at.into_faults()).filter(|faults| faults.iter().count() > 0).map(|faults| faults.to_string())
    })
}
