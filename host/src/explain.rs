//! `outrigger explain`: what becomes of one request, and why.

use crate::cli::{BAD_DATA, ExplainArguments, Output};
use crate::run::{read_file, split, workload};
use compiler::{DescribedRequest, Explanation, Mesh, Workload};
use std::net::IpAddr;
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
    let mesh_config =
        arguments.mesh_config.as_deref().map(read_file).transpose().map_err(|faults| faults.to_string())?;
    let options = istio_api::Options { namespace: arguments.namespace.clone(), mesh_config };
    let resources = istio_api::read(&arguments.files, &options).map_err(|faults| faults.to_string())?;
    let mesh = Mesh::new(&resources);
    let from = from(&mesh, arguments)?;
    // Whoever asks a gateway is not the gateway.
    let own = from.address.filter(|_| !mesh.is_gateway(&from));
    let request = request(arguments, own)?;
    mesh.explain(&from, &request).map_err(|error| error.to_string())
}

/// Whose proxy gets the request first.
fn from(mesh: &Mesh<'_>, arguments: &ExplainArguments) -> Result<Workload, String> {
    let namespace = &arguments.namespace;
    match (&arguments.from, &arguments.gateway) {
        (Some(wanted), _) => workload(mesh, wanted, namespace).map_err(|reason| format!("--from {wanted}: {reason}")),
        (None, wanted) => {
            let wanted = wanted.as_deref().unwrap_or_default();
            let (namespace, name) = split(wanted, namespace);
            let found = mesh.gateway_workload(namespace, name);
            found.ok_or_else(|| {
                let known: Vec<String> = mesh.selecting_gateways().collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                format!("--gateway {wanted}: there is no Gateway of this name with a selector (there are: {known})")
            })
        }
    }
}

/// `own`: the address of who asks.
fn request(arguments: &ExplainArguments, own: Option<IpAddr>) -> Result<DescribedRequest, String> {
    let expected = || format!("{}: expected http://host[:port]/path, https://… or tcp://host:port", arguments.url);
    let url: http::Uri = arguments.url.parse().map_err(|error| format!("{}: {error}", arguments.url))?;
    let authority = url.authority().ok_or_else(expected)?;
    let scheme = url.scheme_str().filter(|scheme| ["http", "https", "tcp"].contains(scheme)).ok_or_else(expected)?;
    Ok(DescribedRequest {
        method: arguments.method.clone(),
        scheme: scheme.to_owned(),
        authority: authority.to_string(),
        target: url.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        headers: arguments.headers.clone(),
        source: arguments.source_ip.or(own),
        server_name: arguments.sni.clone(),
        claims: arguments.jwt_claims.clone(),
        time: std::time::UNIX_EPOCH.elapsed().map_err(|error| format!("the clock is before 1970: {error}"))?,
        ..DescribedRequest::default()
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
