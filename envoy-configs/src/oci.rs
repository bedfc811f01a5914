//! Modules as images of an OCI layout, in the form that Istio's agent takes for a module of its own: two layers, one
//! the module as it is, one its description. The same modules make the same bytes.

use serde::Serialize;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;

const MODULE_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
const DESCRIPTION_LAYER: &str = "application/vnd.module.wasm.config.v1+json";
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What Istio's agent chooses where an index offers several.
const PLATFORM: (&str, &str) = ("amd64", "linux");

/// A module as an image.
#[derive(Clone, Debug)]
pub struct Image<'m> {
    name: &'m str,
    module: Blob<'m>,
    description: Blob<'m>,
    config: Blob<'m>,
    manifest: Blob<'m>,
}

/// Content that its digest names.
#[derive(Clone, Debug)]
struct Blob<'m> {
    bytes: Cow<'m, [u8]>,
    sha256: String,
}

impl<'m> Image<'m> {
    /// The image of a module. Its name becomes the tag of a layout.
    ///
    /// # Errors
    /// When its descriptions have no JSON.
    pub fn new(name: &'m str, module: &'m [u8]) -> serde_json::Result<Self> {
        let module = Blob::new(module);
        let description = Blob::new(serde_json::to_vec(&Description { kind: "envoy_proxy", name })?);
        let (architecture, os) = PLATFORM;
        let diff_ids = vec![module.digest(), description.digest()];
        let rootfs = RootFs { kind: "layers", diff_ids };
        let config = Blob::new(serde_json::to_vec(&Config { architecture, os, rootfs })?);
        let manifest = Blob::new(serde_json::to_vec(&Manifest {
            schema_version: 2,
            media_type: IMAGE_MANIFEST,
            config: config.descriptor(IMAGE_CONFIG),
            layers: vec![module.descriptor(MODULE_LAYER), description.descriptor(DESCRIPTION_LAYER)],
        })?);
        Ok(Self { name, module, description, config, manifest })
    }

    /// The name of its module.
    pub fn name(&self) -> &str {
        self.name
    }

    /// The module itself.
    pub fn module(&self) -> &[u8] {
        &self.module.bytes
    }

    /// SHA-256 of the module, in hexadecimal digits.
    pub fn module_sha256(&self) -> &str {
        &self.module.sha256
    }

    /// SHA-256 of the manifest, in hexadecimal digits: what names the image in a registry.
    pub fn manifest_sha256(&self) -> &str {
        &self.manifest.sha256
    }
}

/// The files of an OCI layout with these images (OCI image layout specification 1.0), by their paths in it. Each image
/// has its module's name for a tag.
///
/// # Errors
/// When the index has no JSON.
pub fn layout<'i>(images: &'i [Image<'_>]) -> serde_json::Result<BTreeMap<String, Cow<'i, [u8]>>> {
    let mut files = BTreeMap::new();
    let mut manifests = Vec::with_capacity(images.len());
    for image in images {
        for blob in [&image.module, &image.description, &image.config, &image.manifest] {
            files.insert(format!("blobs/sha256/{}", blob.sha256), Cow::Borrowed(blob.bytes.as_ref()));
        }
        let annotations = Some(BTreeMap::from([("org.opencontainers.image.ref.name", image.name)]));
        manifests.push(Descriptor { annotations, ..image.manifest.descriptor(IMAGE_MANIFEST) });
    }
    let index = Index { schema_version: 2, media_type: IMAGE_INDEX, manifests };
    files.insert("index.json".to_owned(), serde_json::to_vec(&index)?.into());
    files.insert("oci-layout".to_owned(), Cow::Borrowed(br#"{"imageLayoutVersion":"1.0.0"}"#));
    Ok(files)
}

impl<'m> Blob<'m> {
    fn new(bytes: impl Into<Cow<'m, [u8]>>) -> Self {
        let bytes = bytes.into();
        let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { bytes, sha256 }
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.sha256)
    }

    fn descriptor(&self, media_type: &'static str) -> Descriptor<'static> {
        Descriptor { media_type, digest: self.digest(), size: self.bytes.len(), annotations: None }
    }
}

// Their fields stand in the order in which they are written: the digests depend on it.

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'i> {
    media_type: &'static str,
    digest: String,
    size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<&'static str, &'i str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u8,
    media_type: &'static str,
    config: Descriptor<'static>,
    layers: Vec<Descriptor<'static>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'i> {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor<'i>>,
}

/// A registry's tools read it where a manifest is an image's.
#[derive(Serialize)]
struct Config {
    architecture: &'static str,
    os: &'static str,
    rootfs: RootFs,
}

#[derive(Serialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<String>,
}

#[derive(Serialize)]
struct Description<'m> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'m str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// The published value of SHA-256 of nothing.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_layout_holds_what_it_names() {
        let images = [Image::new("authz", b"\0asm one").unwrap(), Image::new("cors", b"").unwrap()];
        assert_eq!(images[1].module_sha256(), EMPTY);
        let files = layout(&images).unwrap();
        let json = |path: &str| serde_json::from_slice::<Value>(&files[path]).unwrap();
        assert_eq!(json("oci-layout")["imageLayoutVersion"], "1.0.0");
        let index = json("index.json");
        let tags: Vec<_> = index["manifests"].as_array().unwrap().iter().collect();
        assert_eq!(tags.len(), 2);
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            let bytes = &files[&format!("blobs/sha256/{digest}")];
            let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((found.as_str(), descriptor["size"].as_u64()), (digest, Some(bytes.len() as u64)));
            bytes.clone()
        };
        for (descriptor, image) in tags.into_iter().zip(&images) {
            assert_eq!(descriptor["annotations"]["org.opencontainers.image.ref.name"], image.name());
            assert_eq!(descriptor["digest"], format!("sha256:{}", image.manifest_sha256()));
            let manifest: Value = serde_json::from_slice(&blob(descriptor)).unwrap();
            let layers = manifest["layers"].as_array().unwrap();
            let types: Vec<_> = layers.iter().map(|layer| layer["mediaType"].as_str().unwrap()).collect();
            assert_eq!(types, [MODULE_LAYER, DESCRIPTION_LAYER]);
            assert_eq!(blob(&layers[0]), image.module());
            let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
            assert_eq!(config["rootfs"]["diff_ids"][0], layers[0]["digest"]);
            blob(&layers[1]);
        }
    }

    #[test]
    fn the_same_modules_make_the_same_bytes() {
        let images = || [Image::new("authz", b"\0asm").unwrap()];
        assert_eq!(layout(&images()).unwrap(), layout(&images()).unwrap());
        // What a registry keeps by this name must not change with a release of ours.
        let pinned = "3a417053f748de39138bdc42ce9603d4c0b82750e24cd3b8f7644e500a20e7e9";
        assert_eq!(images()[0].manifest_sha256(), pinned);
    }
}
