//! What a peer's certificate says, read once per connection.

use crate::admin::CertificateReport;
use crate::tls::error::TlsError;
use crate::tls::subject;
use crate::wasm::CertificateProperties;
use compiler::snapshot::DataSource;
use data_encoding::{BASE64, HEXLOWER};
use rustls::pki_types::UnixTime;
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// A certificate that has been read.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) properties: CertificateProperties,
    pub(crate) is_ca: bool,
    /// Seconds since 1970.
    not_before: i64,
    not_after: i64,
    /// Hexadecimal.
    serial_number: String,
}

impl Leaf {
    /// Reads a certificate.
    ///
    /// # Errors
    /// What is wrong with it: also names with bytes that others might read differently.
    pub(crate) fn read(der: &[u8]) -> Result<Self, TlsError> {
        let unreadable = |reason: &dyn ToString| TlsError::Unreadable(reason.to_string());
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| unreadable(&error))?;
        if !rest.is_empty() {
            return Err(unreadable(&"there are bytes behind it"));
        }
        let (mut uri_sans, mut dns_sans) = (Vec::new(), Vec::new());
        let names = certificate.subject_alternative_name().map_err(|error| unreadable(&error))?;
        for name in names.map(|names| &names.value.general_names).into_iter().flatten() {
            match name {
                GeneralName::URI(uri) => uri_sans.push(printable(uri)?),
                GeneralName::DNSName(name) => dns_sans.push(printable(name)?),
                GeneralName::RFC822Name(address) => drop(printable(address)?),
                GeneralName::Invalid(_, bytes) => return Err(unprintable(bytes)),
                _ => {}
            }
        }
        let constraints = certificate.basic_constraints().map_err(|error| unreadable(&error))?;
        let validity = certificate.validity();
        Ok(Self {
            is_ca: constraints.is_some_and(|constraints| constraints.value.ca),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            serial_number: HEXLOWER.encode(certificate.raw_serial()),
            properties: CertificateProperties {
                uri_sans,
                dns_sans,
                subject: subject::rfc2253(certificate.subject()),
                sha256: HEXLOWER.encode(&Sha256::digest(der)),
                pem: pem("CERTIFICATE", der),
            },
        })
    }

    /// When it ceases to be valid.
    pub(crate) fn not_after(&self) -> SystemTime {
        time(self.not_after)
    }

    /// For who looks after the proxy. `source`: where it is from.
    pub(crate) fn report(&self, source: &DataSource) -> CertificateReport {
        let path = match source {
            DataSource::File(path) => path.display().to_string(),
            DataSource::Inline(_) => "<inline>".to_owned(),
        };
        CertificateReport {
            path,
            serial_number: self.serial_number.clone(),
            uri_sans: self.properties.uri_sans.clone(),
            dns_sans: self.properties.dns_sans.clone(),
            valid_from: time(self.not_before),
            expires: time(self.not_after),
        }
    }

    /// Whether it is valid at a time.
    ///
    /// # Errors
    /// What it is instead.
    pub(crate) fn is_valid_at(&self, now: UnixTime) -> Result<(), TlsError> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match now {
            now if now < self.not_before => Err(TlsError::NotValidYet),
            now if now > self.not_after => Err(TlsError::Expired),
            _ => Ok(()),
        }
    }
}

/// What is before 1970 is 1970.
fn time(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs())
}

/// A name, if every reader reads it alike: one that stops at NUL, or takes Latin-1 for UTF-8, would see another.
fn printable(name: &str) -> Result<String, TlsError> {
    match name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        true => Ok(name.to_owned()),
        false => Err(unprintable(name.as_bytes())),
    }
}

fn unprintable(name: &[u8]) -> TlsError {
    TlsError::UnprintableName(String::from_utf8_lossy(name).into_owned())
}

/// As OpenSSL writes it: 64 characters a line, a line's end at the end.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut pem = String::with_capacity(text.len() + text.len() / 64 + 64);
    let mark = |pem: &mut String, what: &str| pem.extend(["-----", what, " ", label, "-----\n"]);
    mark(&mut pem, "BEGIN");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    mark(&mut pem, "END");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    fn der() -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(include_bytes!("testdata/many_attributes.pem")).unwrap()
    }

    #[test]
    fn validity() {
        let leaf = Leaf::read(&der()).unwrap();
        // openssl: notBefore=Nov 25 21:48:47 2026 GMT, notAfter=Dec 25 21:48:47 2026 GMT
        let (from, to) = (1_795_643_327, 1_798_235_327);
        let at = |seconds| leaf.is_valid_at(UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
        assert_eq!([at(from), at(to)], [Ok(()), Ok(())]);
        assert_eq!([at(from - 1), at(to + 1)], [Err(TlsError::NotValidYet), Err(TlsError::Expired)]);
    }

    #[test]
    fn damaged() {
        let der = der();
        for end in 0..der.len() {
            assert!(Leaf::read(&der[..end]).is_err(), "cut at {end}");
        }
        assert!(Leaf::read(&[&der, &b"\0"[..]].concat()).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let der = der();
        proptest!(|(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4))| {
            let mut der = der.to_vec();
            for (index, byte) in changes {
                let index = index.index(der.len());
                der[index] = byte;
            }
            let _ = Leaf::read(&der);
        });
    }
}
