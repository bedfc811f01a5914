//! Flags of `outrigger ca`.

use clap::{Args, Subcommand};
use host::ca::SpiffeId;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args)]
pub(crate) struct CaArguments {
    #[command(subcommand)]
    pub(crate) verb: CaVerb,
}

/// What `outrigger ca` makes. The folder of a CA has ca-cert.pem, ca-key.pem, root-cert.pem and cert-chain.pem, as Istio's
/// Secret `cacerts`.
#[derive(Subcommand)]
pub(crate) enum CaVerb {
    /// A root, for ten years. Keep its key away from where workloads run.
    Root {
        /// Its organization.
        #[arg(long, value_name = "NAME", default_value = "outrigger")]
        organization: String,
        /// The folder that is made.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// An intermediate for a Kubernetes cluster or a machine: it issues certificates of workloads and no others.
    Intermediate {
        /// The root's folder.
        #[arg(long, value_name = "FOLDER")]
        ca: PathBuf,
        /// Its organization.
        #[arg(long, value_name = "NAME", default_value = "outrigger")]
        organization: String,
        /// The cluster's name.
        #[arg(long, value_name = "NAME")]
        cluster: String,
        /// The folder that is made.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// A workload's certificate with its key: cert-chain.pem, key.pem, root-cert.pem.
    Workload {
        /// The folder of the CA that issues it.
        #[arg(long, value_name = "FOLDER")]
        ca: PathBuf,
        /// spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT
        #[arg(long, value_name = "URI")]
        identity: SpiffeId,
        /// How long it is valid: 24h, at most 2160h.
        #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = lifetime)]
        lifetime: Duration,
        /// The folder that is made, or whose certificate is replaced.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<compiler::snapshot::Duration>().map_err(|error| error.to_string())?;
    parsed.limit().ok_or_else(|| "expected a time to come".to_owned())
}
