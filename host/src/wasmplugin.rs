//! `outrigger wasmplugin`: the resources that have Istio's own proxies run the same plugins.

use crate::cli::{BAD_DATA, DataFormat, ExtensionApi, MeshArguments, WasmpluginArguments};
use crate::emit::write_file;
use crate::run::{Identities, compile, one, read_mesh, remarks};
use compiler::{Mesh, Settings, Workload};
use envoy_configs::{Api, Image, Manifest, SidecarProxy, WasmPlugins, WasmPluginsOptions, layout, wasm_plugins};
use host::Faults;
use istio_api::DocumentCache;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// Where a sidecar of Istio's has its certificate. Securing connections is its own matter: it is not read.
const ISTIO_CERTIFICATES: &str = "/var/run/secrets/istio";

/// Writes them to standard output, and the modules where the flags say.
pub(crate) fn run(arguments: &WasmpluginArguments) -> ExitCode {
    let written = make(arguments).and_then(|made| {
        let text = text(&made.resources, arguments.output).map_err(|error| Faults::one(error.to_string()))?;
        Ok((text, made.remarks))
    });
    let (text, remarks) = match written {
        Ok(written) => written,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            return ExitCode::from(BAD_DATA);
        }
    };
    remarks.iter().for_each(|remark| eprintln!("{remark}"));
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(arguments: &WasmpluginArguments) -> Result<WasmPlugins, Faults> {
    let unwritable = |error: serde_json::Error| Faults::one(error.to_string());
    let images: Vec<Image<'_>> = modules::ALL
        .iter()
        .map(|module| Image::new(module.name, module.bytes))
        .collect::<Result<_, _>>()
        .map_err(unwritable)?;
    let resources = read_mesh(&arguments.mesh, &mut DocumentCache::default())?;
    let mesh = Mesh::new(&resources);
    let compiled = compile(
        &mesh,
        &arguments.mesh,
        chosen(&mesh, &arguments.mesh)?,
        &mut Identities::of_folder(PathBuf::from(ISTIO_CERTIFICATES), true),
        SystemTime::now(),
    )?;
    let proxies: Vec<_> =
        compiled.proxies.iter().map(|(workload, snapshot)| SidecarProxy { workload, snapshot }).collect();
    let options = WasmPluginsOptions {
        api: match arguments.api {
            ExtensionApi::WasmPlugin => Api::WasmPlugin,
            ExtensionApi::TrafficExtension => Api::TrafficExtension,
        },
        root_namespace: mesh.root_namespace(),
        prefix: &arguments.url,
        images: &images,
    };
    let mut made = wasm_plugins(&proxies, &mesh.workloads(), &options).map_err(|errors| {
        let mut faults = Faults::default();
        errors.iter().for_each(|error| faults.push(error.to_string()));
        faults
    })?;
    let mut all = remarks(&resources);
    all.extend(compiled.remarks);
    all.append(&mut made.remarks);
    if let Some(folder) = &arguments.oci {
        let files = layout(&images).map_err(unwritable)?;
        write(folder, files.iter().map(|(path, bytes)| (path.clone(), bytes.as_ref())).collect())?;
    }
    if let Some(folder) = &arguments.modules {
        write(folder, images.iter().map(|image| (format!("{}.wasm", image.name()), image.module())).collect())?;
    }
    Ok(WasmPlugins { remarks: all, ..made })
}

/// The workloads that are meant. Of all, those that Pods are made from come first: Pods have the same labels.
fn chosen(mesh: &Mesh<'_>, arguments: &MeshArguments) -> Result<Vec<(Workload, Settings)>, Faults> {
    let workloads = match arguments.all {
        true => mesh.pod_templates().into_iter().chain(mesh.workloads()).collect(),
        false => vec![one(mesh, arguments)?],
    };
    match workloads.is_empty() {
        true => Err(Faults::one("--all: the files have no workload: no WorkloadEntry, Pod, Deployment or StatefulSet")),
        false => Ok(workloads.into_iter().map(|workload| (workload, Settings::default())).collect()),
    }
}

/// Writes files under a folder.
fn write(folder: &Path, files: BTreeMap<String, &[u8]>) -> Result<(), Faults> {
    for (path, bytes) in files {
        write_file(&folder.join(path), bytes).map_err(|error| Faults::one(error.to_string()))?;
    }
    Ok(())
}

fn text(resources: &[Manifest], output: DataFormat) -> io::Result<String> {
    match output {
        DataFormat::Yaml => {
            let documents = resources.iter().map(serde_saphyr::to_string).collect::<Result<Vec<_>, _>>();
            Ok(documents.map_err(io::Error::other)?.join("---\n"))
        }
        DataFormat::Json => {
            let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": resources});
            Ok(serde_json::to_string_pretty(&list)? + "\n")
        }
    }
}
