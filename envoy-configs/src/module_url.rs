//! Where proxies fetch modules: the prefix of their URLs, and what pins a module there.

use crate::Image;
use std::str::FromStr;

/// Where all modules are: `oci://registry/path`, `https://host/path`, `http://host/path`, or `file:///path`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ModulePrefix {
    scheme: Scheme,
    /// Without a slash at its end.
    text: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scheme {
    Oci,
    Http,
    File,
}

/// Why a text is no prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected oci://registry/path, https://host/path, http://host/path or file:///path, without query and tag")]
pub struct ModulePrefixError;

impl FromStr for ModulePrefix {
    type Err = ModulePrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(ModulePrefixError)?;
        let scheme = match scheme {
            "oci" => Scheme::Oci,
            "https" | "http" => Scheme::Http,
            "file" => Scheme::File,
            _ => return Err(ModulePrefixError),
        };
        let is_plain = !rest.contains(|letter: char| !letter.is_ascii_graphic() || "?#@\\".contains(letter));
        let starts = rest.starts_with('/') == (scheme == Scheme::File);
        // Behind the last slash a colon is a tag, before it a port.
        let tagged = scheme == Scheme::Oci && rest.rsplit_once('/').is_some_and(|(_, last)| last.contains(':'));
        let text = text.trim_end_matches('/');
        match is_plain && starts && !rest.is_empty() && !tagged && !text.ends_with(':') {
            true => Ok(Self { scheme, text: text.to_owned() }),
            false => Err(ModulePrefixError),
        }
    }
}

/// A module as WasmPlugin names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ModuleUrl {
    pub(crate) url: String,
    /// What Istio compares: with `oci` the manifest's digest, with `https` that of the module. It looks at none of files.
    pub(crate) sha256: Option<String>,
}

impl ModulePrefix {
    pub(crate) fn module(&self, image: &Image<'_>) -> ModuleUrl {
        let (prefix, name) = (&self.text, image.name());
        match self.scheme {
            Scheme::Oci => {
                let digest = image.manifest_sha256();
                ModuleUrl { url: format!("{prefix}/{name}@sha256:{digest}"), sha256: Some(digest.to_owned()) }
            }
            Scheme::Http => {
                ModuleUrl { url: format!("{prefix}/{name}.wasm"), sha256: Some(image.module_sha256().to_owned()) }
            }
            Scheme::File => ModuleUrl { url: format!("{prefix}/{name}.wasm"), sha256: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_pins_what_istio_compares() {
        let image = Image::new("authz", b"\0asm").unwrap();
        let (manifest, module) = (image.manifest_sha256(), image.module_sha256());
        assert_ne!(manifest, module);
        for (prefix, url, sha256) in [
            ("oci://ghcr.io/shop", format!("oci://ghcr.io/shop/authz@sha256:{manifest}"), Some(manifest)),
            (
                "oci://localhost:5000/shop/",
                format!("oci://localhost:5000/shop/authz@sha256:{manifest}"),
                Some(manifest),
            ),
            ("https://host:8443/m", "https://host:8443/m/authz.wasm".to_owned(), Some(module)),
            ("http://host", "http://host/authz.wasm".to_owned(), Some(module)),
            ("file:///opt/outrigger", "file:///opt/outrigger/authz.wasm".to_owned(), None),
        ] {
            let made = prefix.parse::<ModulePrefix>().unwrap().module(&image);
            assert_eq!(made, ModuleUrl { url, sha256: sha256.map(str::to_owned) });
        }
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for text in [
            "",
            "ghcr.io/shop",
            "ftp://host/m",
            "oci://",
            "oci:///shop",
            "oci://ghcr.io/shop:1.0",
            "oci://ghcr.io/shop@sha256:00",
            "https://host/m?a=b",
            "https://host/m#a",
            "https://ho st/m",
            "file://opt/outrigger",
            "file://",
        ] {
            assert!(text.parse::<ModulePrefix>().is_err(), "{text}");
        }
    }
}
