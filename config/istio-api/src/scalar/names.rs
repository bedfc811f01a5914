//! Names: of resources, namespaces, subsets, headers.

use super::checked_text;

checked_text! {
    /// A DNS-1123 label: of namespaces, subsets, extension providers.
    DnsLabel: is_dns_label, "expected a DNS label: at most 63 of a-z, 0-9 and -, the first and the last no -";
    /// A DNS-1123 subdomain: of resources.
    DnsName: is_dns_name, "expected a DNS name: labels of a-z, 0-9 and -, joined by dots";
    /// A header's name, in any case; a pseudo-header's with its colon.
    HeaderName: is_header_name, "expected a header name";
}

/// Whether a text is a DNS-1123 label.
pub(crate) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_label(text)
}

/// Kubernetes limits the length of the whole name, not of its labels.
fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_header_name(text: &str) -> bool {
    http_match::header_name(text).is_some()
}

/// Whether a text is base64 (RFC 4648), of either alphabet, with padding or without.
pub(crate) fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
    digits.bytes().all(valid)
        && digits.len() % 4 != 1
        && (padding == 0 || (padding <= 2 && text.len().is_multiple_of(4)))
}
