//! Where workloads' certificates come from: a folder that somebody else keeps, or a CA of this process.

use host::Faults;
use host::ca::{Authority, CERT_CHAIN, DEFAULT_LIFETIME, KEY, ROOT_CERT, SpiffeId};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Who signs where nobody is said to.
const ORGANIZATION: &str = "outrigger";

/// How often files are looked at: twice until they have settled, so that new ones are in use within 10 s.
pub(crate) const LOOKED_AT: Duration = Duration::from_secs(2);

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

/// A folder of this user alone; gone with this.
struct PrivateFolder(PathBuf);

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
        let folder = PrivateFolder::new()
            .map_err(|error| Faults::one(format!("no folder for certificates can be made: {error}")))?;
        Ok(Self::of(Origin::Authority(Box::new(Embedded { authority, folder, issued: BTreeMap::new() }))))
    }

    fn of(origin: Origin) -> Self {
        Self { origin, seen: BTreeMap::new() }
    }

    /// Whether there is anything that changes with time.
    pub(crate) fn are_kept(&self) -> bool {
        !matches!(self.origin, Origin::None)
    }

    /// The folder with the certificate of an identity, which is issued if it is this process that does so.
    ///
    /// # Errors
    /// Why it cannot be issued.
    pub(crate) fn folder(&mut self, identity: &SpiffeId, now: SystemTime) -> Result<Option<PathBuf>, Faults> {
        let folder = match &mut self.origin {
            Origin::None => return Ok(None),
            Origin::Folder { folder, each: false } => folder.clone(),
            Origin::Folder { folder, each: true } => place(folder, identity),
            Origin::Authority(embedded) => {
                if !embedded.issued.contains_key(identity) {
                    embedded.issue(identity, now)?;
                }
                place(&embedded.folder.0, identity)
            }
        };
        // What is there now is what will be used.
        self.seen.entry(folder.clone()).or_insert_with(|| {
            let now = digest(&folder);
            Seen { now, used: now }
        });
        Ok(Some(folder))
    }

    /// Renews what is due, and looks at the files. Whether certificates are to be read again: there are others, and
    /// they have not changed since they were last looked at.
    ///
    /// # Errors
    /// What could not be renewed; it is tried again the next time.
    pub(crate) fn refresh(&mut self, now: SystemTime) -> Result<bool, Faults> {
        let mut faults = Faults::default();
        let mut changed = false;
        if let Origin::Authority(embedded) = &mut self.origin {
            for identity in embedded.due(now) {
                match embedded.issue(&identity, now) {
                    Ok(()) => changed = true,
                    Err(found) => faults.append(found),
                }
            }
        } else {
            for (folder, seen) in &mut self.seen {
                let before = std::mem::replace(&mut seen.now, digest(folder));
                if seen.now == before && seen.now != seen.used {
                    seen.used = seen.now;
                    changed = true;
                }
            }
        }
        faults.or(changed)
    }
}

impl Embedded {
    fn issue(&mut self, identity: &SpiffeId, now: SystemTime) -> Result<(), Faults> {
        let fault = |reason: String| Faults::one(format!("certificate of {identity}: {reason}"));
        let issued = self.authority.issue(identity, DEFAULT_LIFETIME, now).map_err(fault)?;
        issued.write(&place(&self.folder.0, identity)).map_err(|error| fault(error.to_string()))?;
        self.issued.insert(identity.clone(), issued.renew_at);
        Ok(())
    }

    fn due(&self, now: SystemTime) -> Vec<SpiffeId> {
        self.issued.iter().filter(|(_, renew_at)| **renew_at <= now).map(|(identity, _)| identity.clone()).collect()
    }
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

impl PrivateFolder {
    fn new() -> std::io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
        let name = format!("outrigger-{}", data_encoding::HEXLOWER.encode(&bytes));
        let folder = std::env::temp_dir().join(name);
        // It must not be there already: somebody else would own it.
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        // Where that fails, certificates of a day are left to their owner.
        let _ = fs::remove_dir_all(&self.0);
    }
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
        let folder = identities.folder(&reviews(), start()).unwrap().unwrap();
        assert!(folder.ends_with("shop/reviews"));
        let first = fs::read_to_string(folder.join(CERT_CHAIN)).unwrap();
        let later = start() + 12 * HOUR - Duration::from_secs(1);
        assert_eq!(identities.folder(&reviews(), later).unwrap().as_ref(), Some(&folder));
        assert!(!identities.refresh(later).unwrap());
        assert_eq!(fs::read_to_string(folder.join(CERT_CHAIN)).unwrap(), first);
        assert!(identities.refresh(start() + 12 * HOUR).unwrap());
        assert_ne!(fs::read_to_string(folder.join(CERT_CHAIN)).unwrap(), first);
        assert!(!identities.refresh(start() + 12 * HOUR).unwrap());
        assert!(identities.refresh(start() + 24 * HOUR).unwrap());
        drop(identities);
        assert!(!folder.exists());
    }

    #[test]
    fn what_cannot_be_renewed_is_tried_again() {
        let mut identities = Identities::embedded(None, start()).unwrap();
        let folder = identities.folder(&reviews(), start()).unwrap().unwrap();
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "in the way").unwrap();
        let faults = identities.refresh(start() + 12 * HOUR).unwrap_err().to_string();
        assert!(faults.starts_with("certificate of spiffe://cluster.local/ns/shop/sa/reviews: "), "{faults}");
        fs::remove_file(&folder).unwrap();
        assert!(identities.refresh(start() + 12 * HOUR).unwrap());
    }

    #[test]
    fn files_are_read_again_when_they_have_changed_and_settled() {
        let folder = std::env::temp_dir().join(format!("outrigger-identities-{}", std::process::id()));
        let authority = Authority::root("Example", start()).unwrap();
        let write = || authority.issue(&reviews(), HOUR, start()).unwrap().write(&folder).unwrap();
        write();
        let mut identities = Identities::of_folder(folder.clone(), false);
        assert_eq!(identities.folder(&reviews(), start()).unwrap().as_ref(), Some(&folder));
        let mut changed = || identities.refresh(start()).unwrap();
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
