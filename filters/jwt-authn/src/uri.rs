//! Where keys are: `http://` and `https://` URIs (RFC 9110, 4.2).

use std::fmt;

/// A URI, in the parts that a request for it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uri {
    pub(crate) scheme: &'static str,
    /// In lower case, without the scheme's own port.
    pub(crate) authority: String,
    /// With query, without fragment; at least `/`.
    pub(crate) path: String,
}

impl Uri {
    /// Reads a URI; `None` for what is none, or has user information, spaces, control characters or more than ASCII.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (scheme, port) = match scheme.to_ascii_lowercase().as_str() {
            "https" => ("https", ":443"),
            "http" => ("http", ":80"),
            _ => return None,
        };
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len()))?;
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
        if authority.is_empty() || authority.starts_with(':') || !authority.bytes().all(valid) {
            return None;
        }
        let authority = authority.to_ascii_lowercase();
        let authority = authority.strip_suffix(port).unwrap_or(&authority).to_owned();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some(Self { scheme, authority, path })
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let read = |text: &str| Uri::read(text).map(|uri| uri.to_string());
        for (text, expected) in [
            ("https://A.test/x?y#z", Some("https://a.test/x?y")),
            ("HTTPS://a.test:443", Some("https://a.test/")),
            ("http://a.test:80?x", Some("http://a.test/?x")),
            ("http://a.test:443/", Some("http://a.test:443/")),
            ("https://[::1]:8443/k", Some("https://[::1]:8443/k")),
            ("https://user@a.test/", None),
            ("https:///k", None),
            ("https://a.test/\r\nx", None),
            ("ftp://a.test/", None),
            ("a.test", None),
            ("https://é.test/", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }
}
