//! ProxyConfig: what proxies are started with.

use crate::LabelSelector;
use crate::resource::Kind;
use crate::scalar::{Count, Optional};
use plugin_config::ListMap;

plugin_config::object! {
    /// What proxies are started with.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ProxyConfig {
        /// The workloads it is for; all of its namespace when absent, and all of the mesh in the root namespace.
        pub selector: Option<LabelSelector> = "selector",
        /// How many workers; as many as there are CPUs when 0.
        pub concurrency: Option<Count> = "concurrency",
        /// Variables of their environment.
        pub environment_variables: ListMap<String> = "environmentVariables",
        /// The proxy's image: of no account here.
        pub image: Option<ProxyImage> = "image",
    }

    /// The proxy's image.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ProxyImage {
        /// `default`, `debug`, `distroless`.
        pub image_type: Optional<String> = "imageType",
    }
}

impl Kind for ProxyConfig {
    const KIND: &'static str = "ProxyConfig";
    const GROUP: &'static str = "networking.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1beta1"];
}
