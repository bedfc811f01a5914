//! Where what runs is read from: a snapshot, or Istio's resources and the workloads that are meant.

use crate::cli::MeshArguments;
use crate::run::identity::{Choice, Identities};
use compiler::snapshot::{AccessLog, Snapshot};
use compiler::{Compiled, Mesh, Settings, Workload};
use host::Faults;
use host::ca::SpiffeId;
use istio_api::scalar::{DnsLabel, Labels};
use istio_api::{DocumentCache, File, Resources};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Istio's ports.
const OUTBOUND: u16 = 15001;
const INBOUND: u16 = 15006;
const ADMIN: u16 = 15000;

/// Where what runs is read from.
#[derive(Clone)]
pub(crate) enum Source {
    /// A file that has a snapshot.
    Snapshot(PathBuf),
    /// Istio's resources.
    Mesh(Box<MeshArguments>),
}

/// What was read.
pub(crate) struct Loaded {
    /// A snapshot for each proxy. The name is empty where there is but one.
    pub(crate) proxies: Vec<(String, Snapshot)>,
    /// What is to be known about it: what was read, what was left out and why.
    pub(crate) remarks: Vec<String>,
}

impl Source {
    pub(crate) fn of(snapshot: Option<&Path>, mesh: &MeshArguments) -> Self {
        match snapshot {
            Some(file) => Self::Snapshot(file.to_owned()),
            None => Self::Mesh(Box::new(mesh.clone())),
        }
    }

    /// Reads everything; of resources what is not in `known`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn load(
        &self,
        known: &mut DocumentCache,
        identities: &mut Identities,
        now: SystemTime,
    ) -> Result<Loaded, Faults> {
        match self {
            Self::Snapshot(file) => {
                Ok(Loaded { proxies: vec![(String::new(), read_snapshot(file)?)], remarks: Vec::new() })
            }
            Self::Mesh(arguments) => load_mesh(arguments, known, identities, now),
        }
    }

    /// Where the certificates of its workloads come from.
    ///
    /// # Errors
    /// What is wrong with a CA that is named.
    pub(crate) fn identities(&self, now: SystemTime) -> Result<Identities, Faults> {
        match self {
            Self::Mesh(arguments) => match arguments.workload_api() {
                Some(socket) => {
                    let choice = match &arguments.spiffe_hint {
                        Some(hint) => Choice::Hint(hint.clone()),
                        None if arguments.all => Choice::Workload,
                        None => Choice::First,
                    };
                    Identities::of_workload_api(socket, choice)
                }
                None if arguments.certs.is_none() && (arguments.all || arguments.ca.is_some()) => {
                    Identities::embedded(arguments.ca.as_deref(), now)
                }
                None => Ok(self.kept_identities()),
            },
            Self::Snapshot(_) => Ok(self.kept_identities()),
        }
    }

    /// The same, but for those that a CA of this process would issue: they end with it.
    pub(crate) fn kept_identities(&self) -> Identities {
        match self {
            Self::Mesh(arguments) => match &arguments.certs {
                Some(folder) => {
                    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
                    Identities::of_folder(folder, arguments.all)
                }
                None => Identities::none(),
            },
            Self::Snapshot(_) => Identities::none(),
        }
    }

    /// What is to be watched.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        match self {
            Self::Snapshot(file) => vec![file.clone()],
            Self::Mesh(arguments) => {
                let files = arguments.files.iter().filter(|file| **file != Path::new("-"));
                files.chain(&arguments.mesh_config).cloned().collect()
            }
        }
    }

    /// For messages.
    pub(crate) fn name(&self) -> String {
        let names: Vec<String> = match self {
            Self::Snapshot(file) => vec![file.display().to_string()],
            Self::Mesh(arguments) => arguments.files.iter().map(|file| file.display().to_string()).collect(),
        };
        names.join(", ")
    }
}

fn read_snapshot(file: &Path) -> Result<Snapshot, Faults> {
    let name = file.display();
    let text = fs::read_to_string(file).map_err(|error| Faults::one(format!("{name}: {error}")))?;
    serde_saphyr::from_str(&text).map_err(|error| Faults::one(format!("{name}: {error}")))
}

pub(crate) fn read_file(path: &Path) -> Result<Arc<File>, Faults> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| Faults::one(format!("{name}: {error}")))?;
    Ok(Arc::new(File { name, text }))
}

fn load_mesh(
    arguments: &MeshArguments,
    known: &mut DocumentCache,
    identities: &mut Identities,
    now: SystemTime,
) -> Result<Loaded, Faults> {
    let resources = read_mesh(arguments, known)?;
    let mesh = Mesh::new(&resources);
    let compiled = compile(&mesh, arguments, chosen(&mesh, arguments)?, identities, now)?;
    let name = |workload: &Workload| match arguments.all {
        true => format!("{}/{}", workload.namespace, workload.name),
        false => String::new(),
    };
    let proxies = compiled.proxies.into_iter().map(|(workload, snapshot)| (name(&workload), snapshot)).collect();
    let mut all = self::remarks(&resources);
    note(&mut all, mesh.not_acted_on().iter().map(|notice| format!("notice: {notice}")));
    note(&mut all, compiled.remarks.into_iter());
    Ok(Loaded { proxies, remarks: all })
}

/// Istio's resources, as the flags say.
pub(crate) fn read_mesh(arguments: &MeshArguments, known: &mut DocumentCache) -> Result<Resources, Faults> {
    let mesh_config = arguments.mesh_config.as_deref().map(read_file).transpose()?;
    let options = istio_api::Options { namespace: arguments.namespace.clone(), mesh_config };
    known.read(&arguments.files, &options).map_err(|found| {
        let mut faults = Faults::default();
        found.faults.iter().for_each(|fault| faults.push(fault.to_string()));
        faults
    })
}

/// What proxies run.
pub(crate) struct CompiledMesh {
    /// Each with its workload.
    pub(crate) proxies: Vec<(Workload, Snapshot)>,
    /// What is to be known about it.
    pub(crate) remarks: Vec<String>,
}

/// What the proxies of workloads run, each with the certificate of its workload, and what is to be known about it.
pub(crate) fn compile(
    mesh: &Mesh<'_>,
    arguments: &MeshArguments,
    chosen: Vec<(Workload, Settings)>,
    identities: &mut Identities,
    now: SystemTime,
) -> Result<CompiledMesh, Faults> {
    let (mut proxies, mut remarks, mut faults) = (Vec::new(), Vec::new(), Faults::default());
    for (workload, mut settings) in chosen {
        let identity = SpiffeId::new(mesh.trust_domain(), &workload.namespace, &workload.service_account);
        match identity.map_err(Faults::one).and_then(|identity| identities.credentials(&identity, now)) {
            Ok(credentials) => {
                let another = credentials.as_ref().and_then(|found| another_identity(&found.folder, mesh, &workload));
                note(&mut remarks, another.into_iter());
                settings.certificates = credentials;
            }
            Err(found) => {
                faults.append(found);
                continue;
            }
        }
        let made = match arguments.gateway || (arguments.all && mesh.is_gateway(&workload)) {
            true => mesh.gateway(&workload, &settings),
            false => mesh.sidecar(&workload, &settings),
        };
        match made {
            Ok(Compiled { snapshot, notices, .. }) => {
                note(&mut remarks, notices.iter().map(|notice| format!("notice: {notice}")));
                proxies.push((workload, snapshot));
            }
            Err(error) => error.faults.iter().for_each(|fault| faults.push(fault.to_string())),
        }
    }
    faults.or(CompiledMesh { proxies, remarks })
}

/// Says so when a workload's certificate is not the workload's: its clients will not have it.
fn another_identity(folder: &Path, mesh: &Mesh<'_>, workload: &Workload) -> Option<String> {
    let own = SpiffeId::new(mesh.trust_domain(), &workload.namespace, &workload.service_account).ok()?.to_string();
    let found = host::ca::identities(folder);
    (!found.is_empty() && !found.contains(&own))
        .then(|| format!("warning: {}: the certificate is of {}, not of {own}", folder.display(), found.join(", ")))
}

/// What was read, and what was not looked at.
pub(crate) fn remarks(resources: &Resources) -> Vec<String> {
    let counts = resources.counts();
    let counts: Vec<_> =
        counts.iter().filter(|(_, count)| *count > 0).map(|(kind, count)| format!("{count} {kind}")).collect();
    let mut remarks =
        vec![format!("read: {}", if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") })];
    note(&mut remarks, resources.warnings.iter().map(|warning| format!("warning: {warning}")));
    remarks.extend(resources.skipped.iter().map(|skipped| {
        let places: Vec<_> = skipped.places.iter().map(ToString::to_string).collect();
        format!("not used: {} of {} ({})", skipped.kind, skipped.api_version, places.join(", "))
    }));
    remarks
}

/// Each once: workloads have much in common.
fn note(remarks: &mut Vec<String>, new: impl Iterator<Item = String>) {
    for remark in new {
        if !remarks.contains(&remark) {
            remarks.push(remark);
        }
    }
}

/// The workloads that proxies are to be for, each with how its proxy is set up.
fn chosen(mesh: &Mesh<'_>, arguments: &MeshArguments) -> Result<Vec<(Workload, Settings)>, Faults> {
    if !arguments.all {
        let workload = one(mesh, arguments)?;
        return Ok(vec![(workload, settings(arguments, None))]);
    }
    let workloads = mesh.workloads();
    if workloads.is_empty() {
        return Err(Faults::one("--all: the files have no WorkloadEntry and no running Pod"));
    }
    let mut faults = Faults::default();
    let mut chosen = Vec::with_capacity(workloads.len());
    for workload in workloads {
        match workload.address {
            Some(address) => chosen.push((workload, settings(arguments, Some(address)))),
            None => faults.push(format!(
                "WorkloadEntry {}/{} spec.address: with --all each sidecar listens on its workload's IP address",
                workload.namespace, workload.name
            )),
        }
    }
    faults.or(chosen)
}

/// The workload that `[namespace/]name` names, or why there is none.
pub(crate) fn workload(mesh: &Mesh<'_>, wanted: &str, namespace: &DnsLabel) -> Result<Workload, String> {
    let (namespace, name) = split(wanted, namespace);
    mesh.workload(namespace, name).ok_or_else(|| {
        let all = mesh.workloads();
        let known: Vec<_> = all.iter().map(|workload| format!("{}/{}", workload.namespace, workload.name)).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        format!("no WorkloadEntry, Pod, Deployment or StatefulSet of this name (there are: {known})")
    })
}

/// Namespace and name of `[namespace/]name`.
pub(crate) fn split<'w>(wanted: &'w str, namespace: &'w DnsLabel) -> (&'w str, &'w str) {
    wanted.split_once('/').unwrap_or((namespace.as_str(), wanted))
}

/// The workload that the flags name or describe.
pub(crate) fn one(mesh: &Mesh<'_>, arguments: &MeshArguments) -> Result<Workload, Faults> {
    let mut workload = match &arguments.workload {
        Some(wanted) => match workload(mesh, wanted, &arguments.namespace) {
            Ok(workload) => workload,
            Err(_) if !arguments.labels.is_empty() => {
                let (namespace, name) = split(wanted, &arguments.namespace);
                described(namespace, name)
            }
            Err(reason) => {
                let reason = format!("--workload {wanted}: {reason}; describe the workload with --labels");
                return Err(Faults::one(reason));
            }
        },
        None => described(arguments.namespace.as_str(), if arguments.gateway { "gateway" } else { "workload" }),
    };
    if !arguments.labels.is_empty() {
        workload.labels = arguments.labels.iter().cloned().collect::<Labels>();
    }
    if let Some(account) = &arguments.service_account {
        workload.service_account.clone_from(account);
    }
    Ok(workload)
}

fn described(namespace: &str, name: &str) -> Workload {
    Workload {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        service_account: "default".to_owned(),
        ..Workload::default()
    }
}

/// `own`: the address that the proxy has for itself.
fn settings(arguments: &MeshArguments, own: Option<IpAddr>) -> Settings {
    let local = own.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let any = own.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let place = |given: Option<SocketAddr>, address, port| given.or(Some(SocketAddr::new(address, port)));
    Settings {
        outbound: place(arguments.outbound, local, OUTBOUND),
        inbound: place(arguments.inbound, any, INBOUND),
        app: arguments.app.unwrap_or(Ipv4Addr::LOCALHOST.into()),
        admin: place(arguments.admin, local, ADMIN),
        workers: arguments.workers.or(arguments.all.then_some(1)),
        certificates: None,
        access_log: arguments.access_log.clone().map(|path| AccessLog { path, format: None, json_format: None }),
    }
}
