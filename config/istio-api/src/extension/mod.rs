//! WasmPlugin and TrafficExtension: plugins of users' own.

mod validate;

use crate::resource::Kind;
use crate::scalar::{Optional, Port, Structure};
use crate::{LabelSelector, Metadata, PolicyTargetReference};
use plugin_config::{At, Field, FromNode, Node, Object, ReadNode, read_object};

plugin_config::object! {
    /// A plugin, and the workloads it is for.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TrafficExtension {
        /// The workloads it is for; all of its namespace when nothing is said, and all of the mesh in the root namespace.
        pub selector: Option<LabelSelector> = "selector",
        /// The gateways and services it is for.
        pub target_refs: Vec<PolicyTargetReference> = "targetRefs",
        /// Where it stands in the filter chain.
        pub phase: Phase = "phase" or Phase::Unspecified,
        /// Where it stands in its phase: higher first, and one without behind all others.
        pub priority: Option<i32> = "priority",
        /// Which traffic it sees; all when absent.
        pub matches: Vec<TrafficSelector> = "match",
        /// A module.
        pub wasm: Option<WasmConfig> = "wasm",
        /// A script.
        pub lua: Option<LuaConfig> = "lua",
    }

    /// A module, and its configuration.
    #[derive(Clone, Debug, PartialEq)]
    pub struct WasmConfig {
        /// Where it is: `oci://` (also when there is no scheme), `http://`, `https://`, `file://`.
        pub url: String = "url",
        /// SHA-256 in hex: of the module, or with `oci://` of the image's manifest.
        pub sha256: Optional<String> = "sha256",
        /// When it is fetched.
        pub image_pull_policy: PullPolicy = "imagePullPolicy" or PullPolicy::Unspecified,
        /// The Secret with the registry's password.
        pub image_pull_secret: Optional<String> = "imagePullSecret",
        /// Not used.
        pub verification_key: Optional<String> = "verificationKey",
        /// What it is configured with.
        pub plugin_config: Option<Structure> = "pluginConfig",
        /// Its name in the module: the root id.
        pub plugin_name: Optional<String> = "pluginName",
        /// What happens to traffic when it fails.
        pub fail_strategy: FailStrategy = "failStrategy" or FailStrategy::FailClose,
        /// What its VM is configured with.
        pub vm_config: Option<VmConfig> = "vmConfig",
        /// What it is a filter of.
        pub kind: PluginType = "type" or PluginType::Unspecified,
    }

    /// A script.
    #[derive(Clone, Debug, PartialEq)]
    pub struct LuaConfig {
        /// Its text.
        pub inline_code: String = "inlineCode",
    }

    /// Traffic that a plugin sees: of this side, and on one of these ports.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TrafficSelector {
        /// The side.
        pub mode: WorkloadMode = "mode" or WorkloadMode::Undefined,
        /// The ports; all when absent.
        pub ports: Vec<ExtensionPort> = "ports",
    }

    /// A port by its number.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ExtensionPort {
        /// Its number.
        pub number: Port = "number",
    }

    /// What a VM is configured with.
    #[derive(Clone, Debug, PartialEq)]
    pub struct VmConfig {
        /// Its environment.
        pub env: Vec<EnvVar> = "env",
    }

    /// A variable of a VM's environment.
    #[derive(Clone, Debug, PartialEq)]
    pub struct EnvVar {
        /// Its name.
        pub name: String = "name",
        /// Where its value comes from.
        pub value_from: EnvValueSource = "valueFrom" or EnvValueSource::Inline,
        /// Its value: INLINE.
        pub value: Optional<String> = "value",
    }
}

plugin_config::keyword! {
    /// Where a plugin stands in the filter chain.
    pub enum Phase {
        /// Behind all others.
        Unspecified = "UNSPECIFIED",
        /// Before tokens are verified.
        Authn = "AUTHN",
        /// Before policies decide.
        Authz = "AUTHZ",
        /// Behind policies.
        Stats = "STATS",
    }

    /// When a module is fetched.
    pub enum PullPolicy {
        /// As `Always` for the tag `latest`, else as `IfNotPresent`.
        Unspecified = "UNSPECIFIED_POLICY",
        /// When it is not there.
        IfNotPresent = "IfNotPresent",
        /// When the resource changes.
        Always = "Always",
    }

    /// What happens to traffic when a plugin fails.
    pub enum FailStrategy {
        /// It fails.
        FailClose = "FAIL_CLOSE",
        /// It passes the plugin by.
        FailOpen = "FAIL_OPEN",
        /// It fails, and what comes later gets another VM.
        FailReload = "FAIL_RELOAD",
    }

    /// What a plugin is a filter of.
    pub enum PluginType {
        /// HTTP.
        Unspecified = "UNSPECIFIED_PLUGIN_TYPE",
        /// HTTP.
        Http = "HTTP",
        /// TCP.
        Network = "NETWORK",
    }

    /// The side that traffic is seen from.
    pub enum WorkloadMode {
        /// Both.
        Undefined = "UNDEFINED",
        /// The workload's calls; all of a gateway's traffic.
        Client = "CLIENT",
        /// Calls of the workload.
        Server = "SERVER",
        /// Both.
        ClientAndServer = "CLIENT_AND_SERVER",
    }

    /// Where a variable's value comes from.
    pub enum EnvValueSource {
        /// It is written.
        Inline = "INLINE",
        /// The proxy's own environment.
        Host = "HOST",
    }
}

/// A module, and the workloads it is for: the older form of TrafficExtension.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct WasmPlugin {
    /// The workloads it is for; all of its namespace when nothing is said, and all of the mesh in the root namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// The old form of one of `targetRefs`.
    #[serde(rename = "targetRef", skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<PolicyTargetReference>,
    /// The gateways and services it is for.
    #[serde(rename = "targetRefs", skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<PolicyTargetReference>,
    /// Where it stands in the filter chain.
    pub phase: WasmPluginPhase,
    /// Where it stands in its phase: higher first, and one without behind all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Which traffic it sees; all when absent.
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<TrafficSelector>,
    /// The module.
    #[serde(flatten)]
    pub wasm: WasmConfig,
}

impl Object for WasmPlugin {
    fn fields(&mut self) -> Vec<Field<'_>> {
        let mut fields = vec![
            Field::new("selector", &mut self.selector),
            Field::new("targetRef", &mut self.target_ref),
            Field::new("targetRefs", &mut self.target_refs),
            Field::optional("phase", &mut self.phase),
            Field::new("priority", &mut self.priority),
            Field::new("match", &mut self.matches),
        ];
        fields.extend(self.wasm.fields());
        fields
    }
}

impl ReadNode for WasmPlugin {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        read_object(self, node, at);
    }
}

impl FromNode for WasmPlugin {}

/// A [`Phase`] as WasmPlugin spells it: `UNSPECIFIED_PHASE` for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WasmPluginPhase(pub Phase);

const UNSPECIFIED_PHASE: &str = "UNSPECIFIED_PHASE";

impl ReadNode for WasmPluginPhase {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        let word = match node {
            Node::String(text) => text.as_ref(),
            _ => "",
        };
        self.0 = match word {
            UNSPECIFIED_PHASE => Phase::Unspecified,
            "AUTHN" => Phase::Authn,
            "AUTHZ" => Phase::Authz,
            "STATS" => Phase::Stats,
            _ => return at.refuse(node, "expected one of UNSPECIFIED_PHASE AUTHN AUTHZ STATS"),
        };
    }
}

impl serde::Serialize for WasmPluginPhase {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0 == Phase::Unspecified { UNSPECIFIED_PHASE } else { self.0.as_str() })
    }
}

impl Kind for WasmPlugin {
    const KIND: &'static str = "WasmPlugin";
    const GROUP: &'static str = "extensions.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1alpha1"];

    fn validate(&self, _: &Metadata, at: &mut At) {
        validate::check_plugin(self, at);
    }
}

impl Kind for TrafficExtension {
    const KIND: &'static str = "TrafficExtension";
    const GROUP: &'static str = "extensions.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1alpha1"];

    fn validate(&self, _: &Metadata, at: &mut At) {
        validate::check_extension(self, at);
    }
}
