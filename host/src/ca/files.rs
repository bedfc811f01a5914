//! The folders of authorities and of workloads: Istio's names, and nobody else may read them.

use crate::Faults;
use crate::ca::Authority;
use crate::ca::authority::{AuthorityPem, WorkloadCertificate};
use crate::tls::Leaf;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

/// Of a workload: its certificate and the intermediates; of an authority: itself up to the root.
pub const CERT_CHAIN: &str = "cert-chain.pem";
/// Of a workload: its key.
pub const KEY: &str = "key.pem";
/// Whom workloads trust.
pub const ROOT_CERT: &str = "root-cert.pem";
const CA_CERT: &str = "ca-cert.pem";
const CA_KEY: &str = "ca-key.pem";

impl Authority {
    /// Reads an authority from its folder: `ca-cert.pem`, `ca-key.pem`, `root-cert.pem`, `cert-chain.pem`, as in Istio's
    /// Secret `cacerts`.
    ///
    /// # Errors
    /// Every file that cannot be used, and whatever keeps certificates from being trusted.
    pub fn read(folder: &Path, now: SystemTime) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let mut read = |name: &str| match fs::read_to_string(folder.join(name)) {
            Ok(text) => text,
            Err(error) => {
                faults.push(format!("{}: {error}", folder.join(name).display()));
                String::new()
            }
        };
        let pem = AuthorityPem {
            certificate: read(CA_CERT),
            key: read(CA_KEY),
            chain: read(CERT_CHAIN),
            roots: read(ROOT_CERT),
        };
        let pem = faults.or(pem)?;
        Self::of_pem(pem, now).map_err(|found| {
            let mut faults = Faults::default();
            faults.extend(&folder.display().to_string(), found.iter());
            faults
        })
    }

    /// Writes it to a folder, which is made where it is missing.
    ///
    /// # Errors
    /// When a file cannot be written, or the folder has an authority already.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        if folder.join(CA_KEY).exists() {
            let reason = format!("{}: has an authority already", folder.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
        }
        let AuthorityPem { certificate, key, chain, roots } = self.pem();
        write(folder, &[(CA_KEY, &key), (CA_CERT, &certificate), (CERT_CHAIN, &chain), (ROOT_CERT, &roots)])
    }
}

impl WorkloadCertificate {
    /// Writes it to a folder, which is made where it is missing, in place of what was there.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        write(folder, &[(KEY, &self.key), (CERT_CHAIN, &self.chain), (ROOT_CERT, &self.roots)])
    }
}

/// The identities that a workload's certificate in a folder has; none where it cannot be read.
pub fn identities(folder: &Path) -> Vec<String> {
    let read = fs::read(folder.join(CERT_CHAIN)).ok();
    let leaf = read.and_then(|chain| CertificateDer::from_pem_slice(&chain).ok());
    leaf.and_then(|leaf| Leaf::read(&leaf).ok()).map(|leaf| leaf.properties.uri_sans).unwrap_or_default()
}

/// Whoever reads sees each file as it was or as it is.
pub(super) fn write(folder: &Path, files: &[(&str, &str)]) -> io::Result<()> {
    let at = |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| at(folder, error))?;
    for (name, text) in files {
        let path = folder.join(name);
        let made = folder.join(format!(".{name}.new"));
        let written = write_private(&made, text).and_then(|()| fs::rename(&made, &path));
        written.map_err(|error| at(&path, error))?;
    }
    Ok(())
}

/// A file that was there, with whatever mode, is not written to.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
