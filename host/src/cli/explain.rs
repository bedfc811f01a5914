//! Flags of `outrigger explain`.

use clap::{ArgGroup, Args, ValueEnum};
use istio_api::scalar::DnsLabel;
use std::net::IpAddr;
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = EXPLAIN_EXAMPLES, group(ArgGroup::new("whose").required(true).args(["from", "gateway"])))]
pub(crate) struct ExplainArguments {
    /// GET, POST …
    pub(crate) method: String,
    /// As it is asked for: http://reviews:9080/path, https://shop.example/, or tcp://db:5432 for a connection.
    pub(crate) url: String,
    /// A file, a folder (every *.yaml, *.yml and *.json in it and below), or - for standard input; may be repeated.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// MeshConfig, instead of that of the ConfigMap `istio`.
    #[arg(long, value_name = "FILE")]
    pub(crate) mesh_config: Option<PathBuf>,
    /// Who asks: a WorkloadEntry, a Pod, a Deployment or a StatefulSet; or a gateway, which is asked from outside.
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pub(crate) from: Option<String>,
    /// Who is asked from outside: the proxy that a Gateway of this name selects.
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pub(crate) gateway: Option<String>,
    /// A header; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
    /// The address that the server sees; that of the asking workload otherwise.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) source_ip: Option<IpAddr>,
    /// The server name that TLS asks for, where it is not the URL's.
    #[arg(long, value_name = "NAME")]
    pub(crate) sni: Option<String>,
    /// Claims of a good token, where tokens are verified; without, those that the headers have are: '{"iss": "https://issuer.example", "sub": "jason"}'
    #[arg(long, value_name = "JSON", value_parser = claims)]
    pub(crate) jwt_claims: Option<serde_json::Value>,
    /// The namespace of resources that name none, and of --from and --gateway.
    #[arg(short, long, value_name = "NAME", default_value = "default", value_parser = crate::check::parse_namespace)]
    pub(crate) namespace: DnsLabel,
    /// How it is written.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  outrigger explain GET http://reviews:9080/api -f mesh/ --from shop/cart -H 'end-user: jason'
  outrigger explain GET https://shop.example/ -f mesh/ --gateway edge/public --source-ip 203.0.113.9";

fn claims(text: &str) -> Result<serde_json::Value, String> {
    let claims: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if claims.is_object() { Ok(claims) } else { Err("expected a JSON object".to_owned()) }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE")?;
    let name = http_match::header_name(name.trim()).ok_or("not the name of a header")?;
    Ok((name.into(), value.trim().to_owned()))
}

/// How it is written.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// An object.
    Json,
    /// An object.
    Yaml,
}
