//! Hostnames, with or without a wildcard.

use super::checked_text;
use std::net::IpAddr;

checked_text! {
    /// A hostname (`reviews`, `reviews.shop.svc.cluster.local`), one with a wildcard in its first label (`*.example.com`,
    /// `*`), or an IP address: as Istio's validation takes them.
    Host: is_host, "expected a hostname, one with a wildcard such as *.example.com, or an IP address";
}

impl Host {
    /// Whether it starts with a star.
    pub fn is_wildcard(&self) -> bool {
        self.as_str().starts_with('*')
    }

    /// Whether it is an IP address.
    pub fn is_ip(&self) -> bool {
        self.as_str().parse::<IpAddr>().is_ok()
    }

    /// Whether one covers the other: `*.example.com` and `a.example.com`, in any order and case.
    pub fn matches(&self, other: &Host) -> bool {
        self.is_subset_of(other) || other.is_subset_of(self)
    }

    /// Whether every name that this one covers is covered by the other, in any case.
    pub fn is_subset_of(&self, other: &Host) -> bool {
        let (one, other) = (self.as_str(), other.as_str());
        match other.strip_prefix('*') {
            Some(suffix) => ends_with_ignoring_case(one.strip_prefix('*').unwrap_or(one), suffix),
            None => one.eq_ignore_ascii_case(other),
        }
    }
}

fn ends_with_ignoring_case(text: &str, suffix: &str) -> bool {
    let start = text.len().checked_sub(suffix.len());
    start.and_then(|start| text.as_bytes().get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
}

/// Longest name that DNS has.
const LONGEST: usize = 255;

fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || is_domain(text)
}

/// Whether a text is a domain name as Istio takes it: a star only at the start of the first label (`*`, `*foo`,
/// `*-foo`), a last label that is not all digits, perhaps a dot behind it.
pub(crate) fn is_domain(text: &str) -> bool {
    if text.len() > LONGEST {
        return false;
    }
    let (first, rest) = text.split_once('.').map_or((text, None), |(first, rest)| (first, Some(rest)));
    let first_label = match first.strip_prefix('*') {
        Some(label) => label.is_empty() || is_label(label.strip_prefix('-').unwrap_or(label)),
        None => is_label(first),
    };
    let rest = rest.map(|rest| rest.strip_suffix('.').unwrap_or(rest));
    let last = rest.map_or(first, |rest| rest.rsplit('.').next().unwrap_or(rest));
    first_label
        && rest.is_none_or(|rest| rest.is_empty() || rest.split('.').all(is_label))
        && !last.bytes().all(|byte| byte.is_ascii_digit())
        || text == "*"
}

/// A label of a hostname: also with capitals, unlike Kubernetes' names.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_that_istio_takes() {
        for text in
            ["reviews", "a.b", "A.b", "*", "*.example.com", "*foo.com", "*-a.com", "10.0.0.1", "::1", "a.b.", "1.a"]
        {
            assert!(Host::new(text).is_some(), "{text}");
        }
        let long = "a.".repeat(130);
        for text in
            ["", ".", "a..b", "a.*", "a*", "-a", "a-.b", "a_b", "a b", "1.2", "http://a", "a:80", "*.", "a/b", &long]
        {
            assert!(Host::new(text).is_none(), "{text}");
        }
    }

    #[test]
    fn wildcards_cover() {
        let host = |text| Host::new(text).unwrap();
        for (one, other, subset, matches) in [
            ("a.example.com", "*.example.com", true, true),
            ("A.example.com", "a.EXAMPLE.com", true, true),
            ("a.b.example.com", "*.example.com", true, true),
            ("*.b.example.com", "*.example.com", true, true),
            ("*.example.com", "*.b.example.com", false, true),
            ("example.com", "*.example.com", false, false),
            ("*.example.com", "*", true, true),
            ("a.com", "b.com", false, false),
        ] {
            let (one, other) = (host(one), host(other));
            assert_eq!(one.is_subset_of(&other), subset, "{one} {other}");
            assert_eq!(one.matches(&other), matches, "{one} {other}");
        }
    }
}
