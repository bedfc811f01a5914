//! Flags. Nothing else reads arguments or the environment.

mod ca;
mod explain;
mod mesh;

pub(crate) use ca::{CaArguments, CaVerb};
pub(crate) use explain::{ExplainArguments, Output};
pub(crate) use mesh::MeshArguments;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use compiler::Level;
use envoy_configs::ModulePrefix;
use host::telemetry::LogLevels;
use istio_api::scalar::DnsLabel;
use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

/// Istio's traffic and security API as Proxy-Wasm filters, and a sidecar that runs them.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Runs the proxy until SIGTERM; SIGHUP, or a change of the files, reloads it.
    Run(Box<RunArguments>),
    /// Reads Istio's resources and says everything that is wrong with them, each where it stands.
    ///
    /// Exits with 65 when something is refused, 79 when findings reach --failure-threshold, and otherwise with 0.
    Check(CheckArguments),
    /// Says what becomes of one request, and why: routes, faults, destinations, policies, each with its line.
    Explain(Box<ExplainArguments>),
    /// Writes the bootstrap of an Envoy that does the same, with the modules that it loads.
    Envoy(Box<EnvoyArguments>),
    /// Makes certificates: a root, an intermediate for each Kubernetes cluster, those of workloads.
    Ca(CaArguments),
    /// Writes the resources that have Istio's own proxies run the same plugins.
    Wasmplugin(Box<WasmpluginArguments>),
    /// Opens a bookshop on the loopback network: services, a sidecar for each, a gateway; says what to try.
    Demo(DemoArguments),
}

#[derive(Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct RunArguments {
    /// What to run, by itself: listeners, clusters, modules, plugins, as YAML or JSON.
    #[arg(
        long,
        value_name = "FILE",
        env = "OUTRIGGER_SNAPSHOT",
        required_unless_present = "files",
        conflicts_with = "files"
    )]
    pub(crate) snapshot: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) mesh: MeshArguments,
    /// What is logged on standard error: a level, and levels of single parts, as in info,wasm=debug.
    #[arg(long, value_name = "LEVELS", env = "OUTRIGGER_LOG", default_value = "info")]
    pub(crate) log_level: LogLevels,
    /// How: text or json.
    #[arg(long, value_name = "FORMAT", env = "OUTRIGGER_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Checks the snapshot, starts nothing, and ends.
    #[arg(long)]
    pub(crate) validate: bool,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
}

const RUN_EXAMPLES: &str = "\
Examples:
  outrigger run -f mesh/ --workload shop/reviews-v1            the sidecar of a WorkloadEntry
  outrigger run -f mesh/ -n shop --labels app=cart,version=v2  the sidecar of a workload that no file describes
  outrigger run -f mesh/ -n edge --gateway --labels istio=ingressgateway
  outrigger run -f mesh/ --all                                 a sidecar for every WorkloadEntry and Pod";

#[derive(Args)]
#[command(after_help = ENVOY_EXAMPLES)]
pub(crate) struct EnvoyArguments {
    /// A snapshot as it is, instead of Istio's resources.
    #[arg(long, value_name = "FILE", required_unless_present = "files")]
    pub(crate) snapshot: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) mesh: MeshArguments,
    /// Where the modules are put, and loaded from.
    #[arg(long, value_name = "FOLDER", default_value = "outrigger-modules")]
    pub(crate) modules: PathBuf,
    /// Where bootstraps are put, one to a proxy; on standard output without.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) directory: Option<PathBuf>,
    /// How they are written.
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    pub(crate) output: DataFormat,
}

const ENVOY_EXAMPLES: &str = "\
Examples:
  outrigger envoy -f mesh/ --workload shop/reviews-v1 > envoy.yaml && envoy -c envoy.yaml
  outrigger envoy -f mesh/ --all --directory envoys/           a bootstrap for every WorkloadEntry";

/// How data is written.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum DataFormat {
    /// YAML, a document for each resource.
    Yaml,
    /// JSON, of several resources a List.
    Json,
}

#[derive(Args)]
#[command(after_help = WASMPLUGIN_EXAMPLES, group(ArgGroup::new("input").required(true).args(["files"])))]
pub(crate) struct WasmpluginArguments {
    #[command(flatten)]
    pub(crate) mesh: MeshArguments,
    /// Which of Istio's two kinds is written.
    #[arg(long, value_name = "KIND", default_value = "wasmplugin")]
    pub(crate) api: ExtensionApi,
    /// Where Istio's proxies find the modules: oci://registry/path, https://host/path or file:///path.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) url: ModulePrefix,
    /// Writes the modules there as an OCI layout, one tag for each.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) oci: Option<PathBuf>,
    /// Writes the modules there as files, to be served under --url.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) modules: Option<PathBuf>,
    /// How resources are written.
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    pub(crate) output: DataFormat,
}

const WASMPLUGIN_EXAMPLES: &str = "\
Examples:
  outrigger wasmplugin -f mesh/ --workload shop/cart --url oci://registry.example/outrigger | kubectl apply -f -
  outrigger wasmplugin -f mesh/ --all --url oci://registry.example/outrigger --oci modules/
  outrigger wasmplugin -f mesh/ -n edge --gateway --labels istio=ingressgateway --url https://modules.example/outrigger

What users have as WasmPlugin is Istio's already and left out. VirtualServices and AuthorizationPolicies are in the
plugins; DestinationRules, Gateways, ServiceEntries and Sidecars stay with Istio, which makes the clusters.";

/// Istio's kinds of plugins.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ExtensionApi {
    /// WasmPlugin, which every Istio has.
    #[value(name = "wasmplugin")]
    WasmPlugin,
    /// TrafficExtension, its newer form.
    #[value(name = "trafficextension")]
    TrafficExtension,
}

#[derive(Args)]
pub(crate) struct CheckArguments {
    /// A file, a folder (every *.yaml, *.yml and *.json in it and below), or - for standard input; may be repeated.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required_unless_present = "mesh_config")]
    pub(crate) files: Vec<PathBuf>,
    /// The namespace of resources that name none.
    #[arg(short, long, value_name = "NAME", default_value = "default", value_parser = crate::check::parse_namespace)]
    pub(crate) namespace: DnsLabel,
    /// A MeshConfig, as stands under mesh in the ConfigMap istio.
    #[arg(long, value_name = "FILE")]
    pub(crate) mesh_config: Option<PathBuf>,
    /// How findings are written.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: CheckOutput,
    /// Findings of a code that are not wanted of some resources, as in "IST0118=Service *.shop"; may be repeated. What is
    /// refused is said all the same.
    #[arg(short = 'S', long, value_name = "CODE=KIND NAME.NAMESPACE", value_parser = crate::check::Suppression::parse)]
    pub(crate) suppress: Vec<crate::check::Suppression>,
    /// The level from which on findings are failures: Info, Warning or Error.
    #[arg(long, value_name = "LEVEL", default_value = "Error", value_parser = crate::check::parse_level)]
    pub(crate) failure_threshold: Level,
    /// The level from which on findings are said: Info, Warning or Error.
    #[arg(long, value_name = "LEVEL", default_value = "Info", value_parser = crate::check::parse_level)]
    pub(crate) output_threshold: Level,
    #[command(flatten)]
    pub(crate) color: ColorArguments,
}

/// How findings are written.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum CheckOutput {
    /// For people, with the lines they are about.
    Text,
    /// A line for each.
    Table,
    /// An object.
    Json,
    /// An object.
    Yaml,
}

#[derive(Args)]
pub(crate) struct ColorArguments {
    /// Whether text is coloured.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// https://no-color.org
    #[arg(long, env = "NO_COLOR", hide = true)]
    no_color: Option<String>,
}

/// Whether text is coloured.
#[derive(Clone, Copy, ValueEnum)]
enum Color {
    /// When a terminal shows it.
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

impl ColorArguments {
    /// Whether text is coloured.
    pub(crate) fn is_wanted(&self) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => self.no_color.as_deref().is_none_or(str::is_empty) && stdout().is_terminal(),
        }
    }
}

/// Exit status for arguments that are none, as istioctl's.
pub(crate) const USAGE: u8 = 64;

/// Exit status for bad data, as istioctl's.
pub(crate) const BAD_DATA: u8 = 65;

/// Says what is wrong with the arguments, or what was asked for: `--help`, `--version`.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    // Where it cannot be written nobody reads it.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

/// How the process's log is written.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line of words.
    Text,
    /// An object to a line.
    Json,
}

#[derive(Args)]
pub(crate) struct DemoArguments {
    /// Takes the tour by itself, checks every result, and ends.
    #[arg(long)]
    pub(crate) once: bool,
    /// Where the demo writes what it runs, for you to edit.
    #[arg(long, value_name = "FOLDER", default_value = "outrigger-demo")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
}

#[derive(Args)]
pub(crate) struct CacheArguments {
    /// Where compiled modules are kept between starts; "" for nowhere [default: $XDG_CACHE_HOME/outrigger].
    #[arg(long, value_name = "FOLDER", env = "OUTRIGGER_MODULE_CACHE", value_parser = perhaps_empty())]
    module_cache: Option<PathBuf>,
    #[arg(long, env = "XDG_CACHE_HOME", hide = true, value_parser = perhaps_empty())]
    cache_home: Option<PathBuf>,
    #[arg(long, env = "HOME", hide = true, value_parser = perhaps_empty())]
    home: Option<PathBuf>,
}

/// A path that may be empty, which clap's own paths may not be.
fn perhaps_empty() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

impl CacheArguments {
    /// Where compiled modules are kept, if anywhere.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        let named = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        if self.module_cache.is_some() {
            return named(&self.module_cache);
        }
        let caches = named(&self.cache_home).or_else(|| Some(named(&self.home)?.join(".cache")));
        caches.map(|folder| folder.join("outrigger"))
    }
}
