//! Distinguished names as text: RFC 2253 as BoringSSL writes it, and so Envoy.

use data_encoding::HEXUPPER;
use std::fmt::Write;
use x509_parser::asn1_rs::{Any, Tag, ToDer};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Types of attributes that have a short name; any other is written in numbers, and its value in hexadecimal.
const SHORT_NAMES: [(&str, &str); 29] = [
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
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.16", "postalAddress"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.18", "postOfficeBox"),
    ("2.5.4.19", "physicalDeliveryOfficeName"),
    ("2.5.4.20", "telephoneNumber"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.72", "role"),
    ("0.9.2342.19200300.100.1.1", "UID"),
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
            let units =
                value.data.chunks_exact(2).map(|pair| pair.iter().fold(0, |unit, byte| unit << 8 | u16::from(*byte)));
            String::from_utf16(&units.collect::<Vec<_>>()).ok()
        }
        Tag::NumericString | Tag::PrintableString | Tag::T61String | Tag::Ia5String | Tag::VisibleString => {
            Some(value.data.iter().map(|byte| char::from(*byte)).collect())
        }
        _ => None,
    }
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
