//! Where workloads' certificates come from: a folder that somebody else keeps, a CA of this process, or a SPIFFE
//! Workload API.

use crate::run::private_folder::PrivateFolder;
use compiler::Credentials;
use compiler::snapshot::{DataSource, TrustBundle};
use host::Faults;
use host::ca::{Authority, CERT_CHAIN, DEFAULT_LIFETIME, KEY, ROOT_CERT, SpiffeId, Svid, Svids, WorkloadApi};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Who signs where nobody is said to.
const ORGANIZATION: &str = "outrigger";

/// How often files are looked at: twice until they have settled, so that new ones are in use within 10 s.
pub(crate) const LOOKED_AT: Duration = Duration::from_secs(2);

/// How long a SPIFFE Workload API may take to say who this is.
const WORKLOAD_API: Duration = Duration::from_secs(10);

/// Where workloads' certificates come from.
pub(crate) struct Identities {
    origin: Origin,
    /// What the files of each folder had when they were last looked at.
    seen: BTreeMap<PathBuf, Seen>,
}

enum Origin {
    /// From nowhere: nothing is secured.
    None,
    /// From a folder: of the one workload, or with a folder `NAMESPACE/SERVICE_ACCOUNT` for each identity.
    Folder { folder: PathBuf, each: bool },
    /// From a CA of this process.
    Authority(Box<Embedded>),
    /// From a SPIFFE Workload API.
    WorkloadApi(Box<Attested>),
}

/// Which of several identities of a process is meant.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    /// That of the workload, and no other.
    Workload,
    /// That with a hint.
    Hint(String),
    /// That of the workload, else the first.
    First,
}

/// What was read of certificates.
#[derive(Default)]
pub(crate) struct Refreshed {
    /// There are others in their files.
    pub(crate) certificates: bool,
    /// Other trust domains are federated: what is made of the resources is another.
    pub(crate) trust: bool,
    /// What could not be renewed. It is tried again.
    pub(crate) faults: Faults,
}

/// What a SPIFFE Workload API says that this process is, in files.
struct Attested {
    socket: String,
    api: WorkloadApi,
    choice: Choice,
    folder: PrivateFolder,
    /// What is in the files.
    written: Option<Arc<Svids>>,
    /// By identity.
    credentials: BTreeMap<SpiffeId, Credentials>,
}

/// A CA of this process, and what it has issued.
struct Embedded {
    authority: Authority,
    folder: PrivateFolder,
    issued: BTreeMap<SpiffeId, SystemTime>,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
struct Seen {
    now: Digested,
    /// What was last put to use, or refused.
    used: Digested,
}

type Digested = [u8; 32];

impl Identities {
    /// None: connections between workloads stay as they are.
    pub(crate) fn none() -> Self {
        Self::of(Origin::None)
    }

    /// From a folder. `each`: it has one for each identity.
    pub(crate) fn of_folder(folder: PathBuf, each: bool) -> Self {
        Self::of(Origin::Folder { folder, each })
    }

    /// From a CA of this process: that of a folder, or a root of its own.
    ///
    /// # Errors
    /// What is wrong with the CA's files, or keeps certificates from being written.
    pub(crate) fn embedded(ca: Option<&Path>, now: SystemTime) -> Result<Self, Faults> {
        let authority = match ca {
            Some(folder) => Authority::read(folder, now)?,
            None => Authority::root(ORGANIZATION, now).map_err(Faults::one)?,
        };
        let folder = PrivateFolder::new(&std::env::temp_dir()).map_err(no_folder)?;
        Ok(Self::of(Origin::Authority(Box::new(Embedded { authority, folder, issued: BTreeMap::new() }))))
    }

    /// From a SPIFFE Workload API at a socket.
    ///
    /// # Errors
    /// When there can be none.
    pub(crate) fn of_workload_api(socket: &str, choice: Choice) -> Result<Self, Faults> {
        let fault = |reason: String| Faults::one(format!("SPIFFE Workload API {socket}: {reason}"));
        let api = WorkloadApi::follow(socket).map_err(fault)?;
        let folder = PrivateFolder::new(&std::env::temp_dir()).map_err(no_folder)?;
        let (socket, credentials) = (socket.to_owned(), BTreeMap::new());
        Ok(Self::of(Origin::WorkloadApi(Box::new(Attested {
            socket,
            api,
            choice,
            folder,
            written: None,
            credentials,
        }))))
    }

    fn of(origin: Origin) -> Self {
        Self { origin, seen: BTreeMap::new() }
    }

    /// Whether there is anything that changes with time.
    pub(crate) fn are_kept(&self) -> bool {
        !matches!(self.origin, Origin::None)
    }

    /// The certificate of an identity, which is issued if it is this process that does so.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn credentials(&mut self, identity: &SpiffeId, now: SystemTime) -> Result<Option<Credentials>, Faults> {
        let folder = match &mut self.origin {
            Origin::None => return Ok(None),
            Origin::Folder { folder, each: false } => folder.clone(),
            Origin::Folder { folder, each: true } => place(folder, identity),
            Origin::Authority(embedded) => {
                if !embedded.issued.contains_key(identity) {
                    embedded.issue(identity, now)?;
                }
                place(embedded.folder.path(), identity)
            }
            Origin::WorkloadApi(attested) => return attested.credentials(identity).map(Some),
        };
        // What is there now is what will be used.
        self.seen.entry(folder.clone()).or_insert_with(|| {
            let now = digest(&folder);
            Seen { now, used: now }
        });
        Ok(Some(folder.into()))
    }

    /// Renews what is due, and looks at the files: those that have changed are read when they have not since they were
    /// last looked at.
    pub(crate) fn refresh(&mut self, now: SystemTime) -> Refreshed {
        let mut refreshed = Refreshed::default();
        match &mut self.origin {
            Origin::None => {}
            Origin::Authority(embedded) => {
                for identity in embedded.due(now) {
                    match embedded.issue(&identity, now) {
                        Ok(()) => refreshed.certificates = true,
                        Err(found) => refreshed.faults.append(found),
                    }
                }
            }
            Origin::Folder { .. } => {
                for (folder, seen) in &mut self.seen {
                    let before = std::mem::replace(&mut seen.now, digest(folder));
                    if seen.now == before && seen.now != seen.used {
                        seen.used = seen.now;
                        refreshed.certificates = true;
                    }
                }
            }
            Origin::WorkloadApi(attested) => attested.refresh(&mut refreshed),
        }
        refreshed
    }
}

impl Attested {
    fn fault(&self, reason: impl std::fmt::Display) -> Faults {
        Faults::one(format!("SPIFFE Workload API {}: {reason}", self.socket))
    }

    fn credentials(&mut self, identity: &SpiffeId) -> Result<Credentials, Faults> {
        let svids = self.api.svids(WORKLOAD_API).map_err(|reason| self.fault(reason))?;
        if let Some(written) = self.credentials.get(identity) {
            return Ok(written.clone());
        }
        let credentials = self.write(&svids, identity)?;
        self.credentials.insert(identity.clone(), credentials.clone());
        self.written.get_or_insert(svids);
        Ok(credentials)
    }

    /// Takes over what the API has sent since. What it no longer has an identity for keeps the certificate it has.
    fn refresh(&mut self, refreshed: &mut Refreshed) {
        if let Some(reason) = self.api.fault() {
            refreshed.faults.append(self.fault(format!("{reason}; the certificates that it sent go on")));
        }
        let Ok(svids) = self.api.svids(Duration::ZERO) else { return };
        if self.written.as_ref().is_some_and(|written| Arc::ptr_eq(written, &svids)) {
            return;
        }
        let mut whole = true;
        for identity in self.credentials.keys().cloned().collect::<Vec<_>>() {
            match self.write(&svids, &identity) {
                Ok(credentials) => {
                    refreshed.certificates = true;
                    let before = self.credentials.insert(identity, credentials.clone());
                    refreshed.trust |= before != Some(credentials);
                }
                Err(found) => {
                    refreshed.faults.append(found);
                    whole = false;
                }
            }
        }
        if whole {
            self.written = Some(svids);
        }
    }

    fn write(&self, svids: &Svids, identity: &SpiffeId) -> Result<Credentials, Faults> {
        let svid = self.choose(svids, identity).ok_or_else(|| {
            let hinted = |svid: &Svid| svid.hint.as_ref().map(|hint| format!(" (hint {hint})")).unwrap_or_default();
            let known: Vec<_> = svids.all.iter().map(|svid| format!("{}{}", svid.id, hinted(svid))).collect();
            let wanted = match &self.choice {
                Choice::Hint(hint) => format!("no identity with the hint {hint}"),
                Choice::Workload | Choice::First => format!("no identity {identity}"),
            };
            self.fault(format!("it has {wanted} for this process, which is {}", known.join(", ")))
        })?;
        let folder = place(self.folder.path(), identity);
        let files = svids.write(svid, &folder).map_err(|error| self.fault(error))?;
        let federated = files
            .into_iter()
            .map(|(domain, file)| TrustBundle { trust_domains: vec![domain], trusted_ca: DataSource::File(file) });
        Ok(Credentials { federated: federated.collect(), folder })
    }

    fn choose<'s>(&self, svids: &'s Svids, identity: &SpiffeId) -> Option<&'s Svid> {
        let id = identity.to_string();
        let of_workload = svids.all.iter().find(|svid| svid.id == id);
        match &self.choice {
            Choice::Workload => of_workload,
            Choice::Hint(hint) => svids.all.iter().find(|svid| svid.hint.as_ref() == Some(hint)),
            Choice::First => of_workload.or_else(|| svids.all.first()),
        }
    }
}

impl Embedded {
    fn issue(&mut self, identity: &SpiffeId, now: SystemTime) -> Result<(), Faults> {
        let fault = |reason: String| Faults::one(format!("certificate of {identity}: {reason}"));
        let issued = self.authority.issue(identity, DEFAULT_LIFETIME, now).map_err(fault)?;
        issued.write(&place(self.folder.path(), identity)).map_err(|error| fault(error.to_string()))?;
        self.issued.insert(identity.clone(), issued.renew_at);
        Ok(())
    }

    fn due(&self, now: SystemTime) -> Vec<SpiffeId> {
        self.issued.iter().filter(|(_, renew_at)| **renew_at <= now).map(|(identity, _)| identity.clone()).collect()
    }
}

fn no_folder(error: std::io::Error) -> Faults {
    Faults::one(format!("no folder for certificates can be made: {error}"))
}

fn place(folder: &Path, identity: &SpiffeId) -> PathBuf {
    folder.join(identity.namespace()).join(identity.service_account())
}

/// Of a file that cannot be read, only that.
fn digest(folder: &Path) -> Digested {
    let mut digest = Sha256::new();
    for name in [CERT_CHAIN, KEY, ROOT_CERT] {
        match fs::read(folder.join(name)) {
            Ok(bytes) => digest.update(Sha256::digest(bytes)),
            Err(_) => digest.update([0]),
        }
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn reviews() -> SpiffeId {
        SpiffeId::new("cluster.local", "shop", "reviews").unwrap()
    }

    #[test]
    fn an_embedded_ca_renews_at_half_life() {
        let mut identities = Identities::embedded(None, start()).unwrap();
        let folder = identities.credentials(&reviews(), start()).unwrap().unwrap().folder;
        assert!(folder.ends_with("shop/reviews"));
        let first = fs::read_to_string(folder.join(CERT_CHAIN)).unwrap();
        let later = start() + 12 * HOUR - Duration::from_secs(1);
        assert_eq!(identities.credentials(&reviews(), later).unwrap().unwrap().folder, folder);
        assert!(!identities.refresh(later).certificates);
        assert_eq!(fs::read_to_string(folder.join(CERT_CHAIN)).unwrap(), first);
        assert!(identities.refresh(start() + 12 * HOUR).certificates);
        assert_ne!(fs::read_to_string(folder.join(CERT_CHAIN)).unwrap(), first);
        assert!(!identities.refresh(start() + 12 * HOUR).certificates);
        assert!(identities.refresh(start() + 24 * HOUR).certificates);
        drop(identities);
        assert!(!folder.exists());
    }

    #[test]
    fn what_cannot_be_renewed_is_tried_again() {
        let mut identities = Identities::embedded(None, start()).unwrap();
        let folder = identities.credentials(&reviews(), start()).unwrap().unwrap().folder;
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "in the way").unwrap();
        let faults = identities.refresh(start() + 12 * HOUR).faults.to_string();
        assert!(faults.starts_with("certificate of spiffe://cluster.local/ns/shop/sa/reviews: "), "{faults}");
        fs::remove_file(&folder).unwrap();
        assert!(identities.refresh(start() + 12 * HOUR).certificates);
    }

    #[test]
    fn files_are_read_again_when_they_have_changed_and_settled() {
        let folder = std::env::temp_dir().join(format!("outrigger-identities-{}", std::process::id()));
        let authority = Authority::root("Example", start()).unwrap();
        let write = || authority.issue(&reviews(), HOUR, start()).unwrap().write(&folder).unwrap();
        write();
        let mut identities = Identities::of_folder(folder.clone(), false);
        assert_eq!(identities.credentials(&reviews(), start()).unwrap().unwrap().folder, folder);
        let mut changed = || identities.refresh(start()).certificates;
        assert!(!changed());
        write();
        assert!(!changed(), "perhaps they are being written");
        assert!(changed());
        assert!(!changed());
        fs::write(folder.join(KEY), "broken").unwrap();
        assert_eq!([changed(), changed(), changed()], [false, true, false]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
