//! Distinguished names as text: RFC 2253 as BoringSSL writes it, and so Envoy.

use data_encoding::HEXUPPER;
use std::fmt::Write;
use x509_parser::asn1_rs::{Any, Tag, ToDer};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Types of attributes that have a short name; any other is written in numbers, and its value in hexadecimal.
const SHORT_NAMES: [(&str, &str); 39] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.14", "searchGuide"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.16", "postalAddress"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.18", "postOfficeBox"),
    ("2.5.4.19", "physicalDeliveryOfficeName"),
    ("2.5.4.20", "telephoneNumber"),
    ("2.5.4.23", "facsimileTelephoneNumber"),
    ("2.5.4.24", "x121Address"),
    ("2.5.4.25", "internationaliSDNNumber"),
    ("2.5.4.26", "registeredAddress"),
    ("2.5.4.27", "destinationIndicator"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.45", "x500UniqueIdentifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.51", "houseIdentifier"),
    ("2.5.4.54", "dmdName"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.72", "role"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.3", "mail"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.2.840.113549.1.9.2", "unstructuredName"),
    ("1.2.840.113549.1.9.8", "unstructuredAddress"),
];

/// The text of a name: last part first.
pub(super) fn rfc2253(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    for (place, part) in name.iter_rdn().collect::<Vec<_>>().into_iter().rev().enumerate() {
        if place > 0 {
            out.push(',');
        }
        for (place, attribute) in part.iter().collect::<Vec<_>>().into_iter().rev().enumerate() {
            if place > 0 {
                out.push('+');
            }
            write_attribute(&mut out, attribute);
        }
    }
    out
}

fn write_attribute(out: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let id = attribute.attr_type().to_id_string();
    let short = SHORT_NAMES.iter().find(|(known, _)| *known == id).map(|(_, short)| *short);
    out.push_str(short.unwrap_or(&id));
    out.push('=');
    let value = attribute.attr_value();
    match short.and_then(|_| text(value)) {
        Some(text) => write_escaped(out, &text),
        // A value that was read can be written.
        None => out.extend(["#", &HEXUPPER.encode(&value.to_der_vec().unwrap_or_default())]),
    }
}

/// The characters of a string type.
fn text(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String => str::from_utf8(value.data).ok().map(str::to_owned),
        Tag::BmpString => {
            let units: Vec<u16> =
                value.data.chunks_exact(2).map(|unit| number(unit).try_into()).collect::<Result<_, _>>().ok()?;
            String::from_utf16(&units).ok()
        }
        Tag::UniversalString => value.data.chunks_exact(4).map(|unit| char::from_u32(number(unit))).collect(),
        Tag::NumericString | Tag::PrintableString | Tag::T61String | Tag::Ia5String | Tag::VisibleString => {
            Some(value.data.iter().map(|byte| char::from(*byte)).collect())
        }
        _ => None,
    }
}

/// Of up to four bytes, big-endian.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn write_escaped(out: &mut String, text: &str) {
    let last = text.len().saturating_sub(1);
    for (place, byte) in text.bytes().enumerate() {
        let at_edge = (place == 0 && matches!(byte, b'#' | b' ')) || (place == last && byte == b' ');
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend(['\\', char::from(byte)]),
            _ if at_edge => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(out, "\\{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tls::certificate::Leaf;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    fn read(pem: &str) -> Leaf {
        Leaf::read(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap()
    }

    /// What stock Envoy 1.40 logs of these certificates as `%DOWNSTREAM_PEER_SUBJECT%`.
    #[test]
    fn as_envoy_writes_it() {
        let pem = include_str!("testdata/many_attributes.pem");
        let many = read(pem);
        assert_eq!(many.properties.subject, MANY);
        assert_eq!(many.properties.sha256, "6f7293d28a2e8de800212217e9ab39188affa1a8bc490fe20d33bbf0123eef3c");
        assert_eq!(many.properties.pem, pem);
        let odd = read(include_str!("testdata/odd_attributes.pem"));
        assert_eq!(odd.properties.subject, ODD);
        assert_eq!((odd.properties.uri_sans.len(), odd.properties.dns_sans.len()), (0, 0));
    }

    const MANY: &str = concat!(
        r#"CN=the\; name\<\>\\back,description=D,businessCategory=BC,2.5.4.97=#0C024F49,postalCode=12"#,
        r#"3,pseudonym=P,dnQualifier=Q,initials=I,name=N,SN=S,GN=G,title=Dr,street=Main St,2.3.4=#0C0"#,
        r#"7756E6B6E6F776E,UID=u1,DC=example,emailAddress=a@b.c,serialNumber=42,OU=\ space,OU=\#hash,"#,
        r#"OU=one,O=Acme \+ S\C3\B6hne quoted,ST=Land\, with comma,C=DE"#,
    );

    const ODD: &str = concat!(
        r#"1.2.3.4=#0C81C8787878787878787878787878787878787878787878787878787878787878787878787878787"#,
        r#"878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787"#,
        r#"878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787"#,
        r#"878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787"#,
        r#"8787878787878787878787878787878787878787878787878787878,registeredAddress=x,searchGuide=x,"#,
        r#"facsimileTelephoneNumber=fax,dmdName=dmd,mail=mail@x,x500UniqueIdentifier=uid,houseIdentif"#,
        r#"ier=house,unstructuredAddress=ua,unstructuredName=un,telephoneNumber=tel,physicalDeliveryO"#,
        r#"fficeName=pdo,postOfficeBox=pob,postalAddress=pa,generationQualifier=gen,role=role,1.3.6.1"#,
        r#".4.1.311.60.2.1.3=#13025553,OU=uni,OU=\#\ ,OU=\ ,OU=ctl\01\7F\09tab=eq/slash\E2\82\AC\F0\9"#,
        r#"F\98\80,OU=valued+CN=multi+L=L,O=S\C3\B6hne,C=DE"#,
    );
}
