//! Who issues certificates, and what is in them: as Istio's CA has them.

use crate::Faults;
use crate::ca::SpiffeId;
use crate::tls::{Leaf, verify_chain};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(86_400);
/// How long a workload's certificate is valid: 24 h, as Istio's `DEFAULT_WORKLOAD_CERT_TTL`.
pub const DEFAULT_LIFETIME: Duration = DAY;
/// The longest that may be asked for: 90 days, as Istio's `MAX_WORKLOAD_CERT_TTL`.
pub const MAX_LIFETIME: Duration = Duration::from_secs(90 * 86_400);
/// How long a root and its intermediates are valid: ten years, as Istio's self-signed CA.
const CA_LIFETIME: Duration = Duration::from_secs(3650 * 86_400);
/// Clocks differ: certificates are valid from a little before they are made; as Istio's.
const CLOCK_SKEW: Duration = Duration::from_secs(120);

/// A certificate authority with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// PEM of its own certificate.
    certificate: String,
    /// PEM of its own certificate and those above it, the root included.
    chain: String,
    /// PEM of the roots that workloads trust.
    roots: String,
    not_after: SystemTime,
}

/// A workload's certificate with its key, as PEM.
pub struct WorkloadCertificate {
    /// The certificate, and the intermediates above it.
    pub chain: String,
    /// Its key.
    pub key: String,
    /// The roots that the workload trusts.
    pub roots: String,
    /// When it ceases to be valid.
    pub not_after: SystemTime,
    /// When it should be replaced: at half its life, as Istio's `SECRET_GRACE_PERIOD_RATIO`.
    pub renew_at: SystemTime,
}

impl Authority {
    /// A root.
    ///
    /// # Errors
    /// When no key can be made, or the name cannot stand in a certificate.
    pub fn root(organization: &str, now: SystemTime) -> Result<Self, String> {
        let mut params = authority_params(organization, "Root CA", BasicConstraints::Unconstrained);
        let not_after = set_validity(&mut params, now, now + CA_LIFETIME)?;
        let key = KeyPair::generate().map_err(text)?;
        let certificate = params.self_signed(&key).map_err(text)?.pem();
        let (chain, roots) = (certificate.clone(), certificate.clone());
        Ok(Self { issuer: Issuer::new(params, key), certificate, chain, roots, not_after })
    }

    /// An intermediate, which may issue certificates of workloads and no others. The name of its Kubernetes cluster
    /// stands in its subject.
    ///
    /// # Errors
    /// When no key can be made, or this authority is no longer valid.
    pub fn intermediate(&self, organization: &str, cluster: &str, now: SystemTime) -> Result<Self, String> {
        let mut params = authority_params(organization, "Intermediate CA", BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::LocalityName, cluster);
        params.use_authority_key_identifier_extension = true;
        let not_after = set_validity(&mut params, now, self.clamp(now, CA_LIFETIME)?)?;
        let key = KeyPair::generate().map_err(text)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(text)?.pem();
        let chain = format!("{certificate}{}", self.chain);
        Ok(Self { issuer: Issuer::new(params, key), certificate, chain, roots: self.roots.clone(), not_after })
    }

    /// A certificate of a workload, with a key of its own.
    ///
    /// # Errors
    /// When it is asked for longer than [`MAX_LIFETIME`], no key can be made, or this authority is no longer valid.
    pub fn issue(
        &self,
        identity: &SpiffeId,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<WorkloadCertificate, String> {
        if lifetime > MAX_LIFETIME {
            let days = MAX_LIFETIME.as_secs() / DAY.as_secs();
            return Err(format!("a certificate of a workload is valid for {days} days at most"));
        }
        let not_after = self.clamp(now, lifetime)?;
        let uri = Ia5String::try_from(identity.to_string()).map_err(text)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let not_after = set_validity(&mut params, now, not_after)?;
        let key = KeyPair::generate().map_err(text)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(text)?.pem();
        // Whoever trusts the root has it.
        let above = self.chain.strip_suffix(&self.roots).unwrap_or(&self.chain);
        let left = not_after.duration_since(now).unwrap_or_default();
        Ok(WorkloadCertificate {
            chain: format!("{certificate}{above}"),
            key: key.serialize_pem(),
            roots: self.roots.clone(),
            not_after,
            renew_at: now + left / 2,
        })
    }

    /// An authority of what its folder has. A certificate that it issues is verified, by what its chain and its roots
    /// are, so that nobody finds out later.
    pub(super) fn of_pem(pem: AuthorityPem, now: SystemTime) -> Result<Self, Faults> {
        let AuthorityPem { certificate, key, chain, roots } = pem;
        let own = CertificateDer::from_pem_slice(certificate.as_bytes());
        let own = own.map_err(|_| Faults::one("ca-cert.pem: there is no PEM certificate in it"))?;
        let leaf = Leaf::read(&own).map_err(|error| Faults::one(format!("ca-cert.pem: {error}")))?;
        if !leaf.is_ca {
            return Err(Faults::one("ca-cert.pem: is no CA: its certificate may not issue others"));
        }
        let key = KeyPair::from_pem(&key).map_err(|_| Faults::one("ca-key.pem: there is no usable PEM key in it"))?;
        let issuer =
            Issuer::from_ca_cert_der(&own, key).map_err(|error| Faults::one(format!("ca-cert.pem: {error}")))?;
        let made = Self { issuer, certificate, chain, roots, not_after: leaf.not_after() };
        made.verify(now).map_err(|reason| Faults::one(format!("what it issues is not trusted: {reason}")))?;
        Ok(made)
    }

    fn verify(&self, now: SystemTime) -> Result<(), String> {
        let identity = SpiffeId::new("example", "none", "none")?;
        let issued = self.issue(&identity, DEFAULT_LIFETIME, now)?;
        let since = now.duration_since(SystemTime::UNIX_EPOCH).map_err(text)?;
        verify_chain(&issued.chain, &issued.roots, UnixTime::since_unix_epoch(since)).map_err(text)
    }

    pub(super) fn pem(&self) -> AuthorityPem {
        let (certificate, chain, roots) = (self.certificate.clone(), self.chain.clone(), self.roots.clone());
        AuthorityPem { certificate, key: self.issuer.key().serialize_pem(), chain, roots }
    }

    /// Nothing outlives whoever has signed it.
    fn clamp(&self, now: SystemTime, lifetime: Duration) -> Result<SystemTime, String> {
        if self.not_after <= now {
            return Err("the CA's own certificate has expired".to_owned());
        }
        Ok(self.not_after.min(now + lifetime))
    }
}

/// What an authority's folder has.
pub(super) struct AuthorityPem {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) chain: String,
    pub(super) roots: String,
}

fn authority_params(organization: &str, name: &str, constraints: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Sets from when until when a certificate is valid, in whole seconds; the end is returned as it stands in it.
fn set_validity(params: &mut CertificateParams, now: SystemTime, not_after: SystemTime) -> Result<SystemTime, String> {
    let seconds = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).map_err(text)?;
        i64::try_from(since.as_secs()).map_err(text)
    };
    let date = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(text);
    let end = seconds(not_after)?;
    params.not_before = date(seconds(now - CLOCK_SKEW)?)?;
    params.not_after = date(end)?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(end.unsigned_abs()))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
