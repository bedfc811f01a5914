//! Flags of what runs a mesh: its resources, and whose proxy it is.

use clap::Args;
use istio_api::scalar::DnsLabel;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Istio's resources, and whom a proxy is for.
#[derive(Args, Clone)]
pub(crate) struct MeshArguments {
    /// Istio's resources: files, folders, - for standard input. Changes are served when they are saved.
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
    /// MeshConfig, instead of that of the ConfigMap `istio`.
    #[arg(long, value_name = "FILE", requires = "files")]
    pub(crate) mesh_config: Option<PathBuf>,
    /// The namespace of resources that name none, and of the workload.
    #[arg(short, long, value_name = "NAME", default_value = "default", value_parser = crate::check::parse_namespace)]
    pub(crate) namespace: DnsLabel,
    /// The workload whose sidecar this is: a WorkloadEntry, a Pod, a Deployment or a StatefulSet, or a name for what
    /// --labels describe.
    #[arg(long, value_name = "[NAMESPACE/]NAME", requires = "files")]
    pub(crate) workload: Option<String>,
    /// A proxy for every WorkloadEntry and running Pod, each on its own address: a gateway for those that a Gateway
    /// selects, a sidecar for the others.
    #[arg(long, requires = "files", conflicts_with_all = ["workload", "labels", "gateway", "outbound", "inbound", "admin"])]
    pub(crate) all: bool,
    /// A gateway, for which the Gateways are that select its labels.
    #[arg(long, requires_all = ["files", "labels"])]
    pub(crate) gateway: bool,
    /// Labels of the workload.
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label, requires = "files")]
    pub(crate) labels: Vec<(String, String)>,
    /// The workload's service account.
    #[arg(long, value_name = "NAME", requires = "files")]
    pub(crate) service_account: Option<String>,
    /// Where the application listens [default: 127.0.0.1].
    #[arg(long, value_name = "ADDRESS", requires = "files")]
    pub(crate) app: Option<IpAddr>,
    /// Where the workload's own requests are taken [default: 127.0.0.1:15001].
    #[arg(long, value_name = "ADDRESS:PORT", requires = "files")]
    pub(crate) outbound: Option<SocketAddr>,
    /// Where requests for the workload are taken [default: 0.0.0.0:15006].
    #[arg(long, value_name = "ADDRESS:PORT", requires = "files")]
    pub(crate) inbound: Option<SocketAddr>,
    /// Where the admin server listens [default: 127.0.0.1:15000].
    #[arg(long, value_name = "ADDRESS:PORT", requires = "files")]
    pub(crate) admin: Option<SocketAddr>,
    /// How many workers [default: as many as there are CPUs; with --all one for each proxy].
    #[arg(long, value_name = "NUMBER", requires = "files")]
    pub(crate) workers: Option<usize>,
    /// Where the workload's certificate is: cert-chain.pem, key.pem, root-cert.pem, read again when they change. With
    /// --all a folder NAMESPACE/SERVICE_ACCOUNT in it for each.
    #[arg(long, value_name = "FOLDER", requires = "files", conflicts_with = "ca")]
    pub(crate) certs: Option<PathBuf>,
    /// A CA of this process, from its folder: it issues the certificates [default with --all: a root of its own].
    #[arg(long, value_name = "FOLDER", requires = "files")]
    pub(crate) ca: Option<PathBuf>,
    /// The socket of a SPIFFE Workload API, as of SPIRE's agent, to have certificates from [default: where
    /// SPIFFE_ENDPOINT_SOCKET says, unless --all, --certs or --ca is given].
    #[arg(long, value_name = "PATH", requires = "files", conflicts_with_all = ["certs", "ca"])]
    pub(crate) spiffe_socket: Option<String>,
    /// Which of several identities: that with this hint, instead of the workload's own.
    #[arg(long, value_name = "HINT", requires = "files", conflicts_with_all = ["all", "certs", "ca"])]
    pub(crate) spiffe_hint: Option<String>,
    /// What SPIFFE's libraries look at.
    #[arg(long, hide = true, env = "SPIFFE_ENDPOINT_SOCKET")]
    spiffe_endpoint_socket: Option<String>,
    /// Where requests are logged, in Istio's format: /dev/stdout, or a file.
    #[arg(long, value_name = "FILE", requires = "files")]
    pub(crate) access_log: Option<PathBuf>,
}

impl MeshArguments {
    /// The socket of the SPIFFE Workload API that certificates come from.
    pub(crate) fn workload_api(&self) -> Option<&str> {
        let elsewhere = self.all || self.certs.is_some() || self.ca.is_some() || self.files.is_empty();
        let usual = self.spiffe_endpoint_socket.as_deref().filter(|socket| !elsewhere && !socket.is_empty());
        self.spiffe_socket.as_deref().or(usual)
    }

    /// A proxy for every workload that a folder's files have.
    pub(crate) fn whole_mesh(folder: PathBuf) -> Self {
        Self {
            files: vec![folder],
            mesh_config: None,
            namespace: DnsLabel::default(),
            workload: None,
            all: true,
            gateway: false,
            labels: Vec::new(),
            service_account: None,
            app: None,
            outbound: None,
            inbound: None,
            admin: None,
            workers: None,
            certs: None,
            ca: None,
            spiffe_socket: None,
            spiffe_hint: None,
            spiffe_endpoint_socket: None,
            access_log: None,
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
