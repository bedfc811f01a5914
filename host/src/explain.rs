//! `outrigger explain`: what becomes of one request, and why.

use crate::cli::{ExplainArguments, Output};
use compiler::{DescribedRequest, Explanation, Mesh, Workload};
use std::process::ExitCode;

/// Exit status for bad data, as istioctl's.
const BAD_DATA: u8 = 65;

/// Explains.
pub(crate) fn run(arguments: &ExplainArguments) -> ExitCode {
    match explain(arguments).and_then(|explanation| written(&explanation, arguments.output)) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(faults) => {
            eprintln!("{faults}");
            ExitCode::from(BAD_DATA)
        }
    }
}

fn explain(arguments: &ExplainArguments) -> Result<Explanation, String> {
    let options = istio_api::Options { namespace: arguments.namespace.clone(), mesh_config: None };
    let resources = istio_api::read(&arguments.files, &options).map_err(|faults| faults.to_string())?;
    let mesh = Mesh::new(&resources);
    let workloads = mesh.workloads();
    let from = client(&workloads, arguments)?;
    let request = request(arguments, from)?;
    mesh.explain(from, &request).map_err(|error| error.to_string())
}

fn client<'w>(workloads: &'w [Workload], arguments: &ExplainArguments) -> Result<&'w Workload, String> {
    let wanted = &arguments.from;
    let (namespace, name) = wanted.split_once('/').unwrap_or((arguments.namespace.as_str(), wanted));
    let found = workloads.iter().find(|workload| workload.namespace == namespace && workload.name == name);
    found.ok_or_else(|| {
        let known: Vec<_> = workloads.iter().map(|one| format!("{}/{}", one.namespace, one.name)).collect();
        format!("--from {wanted}: no WorkloadEntry of this name (there are: {})", known.join(", "))
    })
}

fn request(arguments: &ExplainArguments, from: &Workload) -> Result<DescribedRequest, String> {
    let url: http::Uri = arguments.url.parse().map_err(|error| format!("{}: {error}", arguments.url))?;
    let authority = url.authority().ok_or_else(|| format!("{}: expected http://host[:port]/path", arguments.url))?;
    Ok(DescribedRequest {
        method: arguments.method.clone(),
        scheme: url.scheme_str().unwrap_or("http").to_owned(),
        authority: authority.to_string(),
        target: url.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        headers: arguments.headers.clone(),
        source: arguments.source_ip.or(from.address),
    })
}

fn written(explanation: &Explanation, output: Output) -> Result<String, String> {
    match output {
        Output::Text => Ok(explanation.to_string()),
        Output::Json => {
            serde_json::to_string_pretty(explanation).map(|text| text + "\n").map_err(|error| error.to_string())
        }
        Output::Yaml => serde_saphyr::to_string(explanation).map_err(|error| error.to_string()),
    }
}
