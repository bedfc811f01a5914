//! `/certs`: the certificates in use, and how long they last.

use crate::admin::CertificateReport;
use crate::admin::answer::{Answer, Asked};
use serde_json::{Value as Json, json};
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(super) fn certs(asked: &Asked<'_>) -> Answer {
    let certificates = asked.status.certificates();
    let now = SystemTime::now();
    let certificates: Vec<Json> = certificates.iter().map(|certificate| certificate_json(certificate, now)).collect();
    Answer::json(&json!({ "certificates": certificates }))
}

/// In Envoy's form: a certificate with its authorities beside it, of which none is known here.
fn certificate_json(certificate: &CertificateReport, now: SystemTime) -> Json {
    let uris = certificate.uri_sans.iter().map(|name| json!({ "uri": name }));
    let names: Vec<Json> = uris.chain(certificate.dns_sans.iter().map(|name| json!({ "dns": name }))).collect();
    let days = certificate.expires.duration_since(now).map_or(0, |left| left.as_secs() / 86_400);
    json!({
        "ca_cert": [],
        "cert_chain": [{
            "path": certificate.path,
            "serial_number": certificate.serial_number,
            "subject_alt_names": names,
            "days_until_expiration": days.to_string(),
            "valid_from": date(certificate.valid_from),
            "expiration_time": date(certificate.expires),
        }],
    })
}

fn date(time: SystemTime) -> Option<String> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn how_long_it_lasts() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let certificate = CertificateReport {
            path: "/etc/certs/tls.crt".into(),
            serial_number: "0a1b".into(),
            uri_sans: vec!["spiffe://td/ns/a/sa/b".into()],
            dns_sans: vec!["a.test".into()],
            valid_from: at(0),
            expires: at(1_795_336_440),
        };
        let json = certificate_json(&certificate, at(1_795_336_440 - 2 * 86_400 - 5));
        let chain = &json["cert_chain"][0];
        assert_eq!(
            (&chain["days_until_expiration"], &chain["expiration_time"]),
            (&json!("2"), &json!("2026-11-22T08:34:00Z"))
        );
        assert_eq!(chain["subject_alt_names"], json!([{ "uri": "spiffe://td/ns/a/sa/b" }, { "dns": "a.test" }]));
        let expired = certificate_json(&certificate, at(1_795_336_441));
        assert_eq!(expired["cert_chain"][0]["days_until_expiration"], "0");
    }
}
