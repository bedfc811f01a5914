//! `outrigger explain`: what becomes of one request, and why.

use crate::cli::{BAD_DATA, ExplainArguments, Output};
use crate::run::workload;
use compiler::{DescribedRequest, Explanation, Mesh, Workload};
use std::process::ExitCode;

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
    let from = workload(&mesh, &arguments.from, &arguments.namespace);
    let from = from.map_err(|reason| format!("--from {}: {reason}", arguments.from))?;
    let request = request(arguments, &from)?;
    mesh.explain(&from, &request).map_err(|error| error.to_string())
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
