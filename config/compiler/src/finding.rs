//! What is said of what is written: Istio's analysis messages by their codes, and what only we have to say.

use istio_api::Fault;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know.
    Info,
    /// It hardly does what was meant.
    Warning,
    /// It does not do what was meant.
    Error,
}

impl Level {
    /// As istioctl writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "Info",
            Self::Warning => "Warning",
            Self::Error => "Error",
        }
    }
}

/// A kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Istio's code, or ours: `OUT` and four digits.
    pub code: &'static str,
    /// Its name.
    pub name: &'static str,
    /// How much it matters.
    pub level: Level,
}

macro_rules! messages {
    ($($(#[$attr:meta])* $id:ident = $code:literal $name:literal $level:ident;)*) => {
        impl Message {
            $($(#[$attr])* pub const $id: Self = Self { code: $code, name: $name, level: Level::$level };)*

            /// All of them, by code.
            pub const ALL: &'static [Self] = &[$(Self::$id),*];
        }
    };
}

messages! {
    /// A host, a subset, a gateway … that is named and not there.
    REFERENCED_RESOURCE_NOT_FOUND = "IST0101" "ReferencedResourceNotFound" Error;
    /// What Istio's schemas and its webhook refuse.
    SCHEMA_VALIDATION_ERROR = "IST0106" "SchemaValidationError" Error;
    /// A host of sidecars that an older VirtualService has.
    CONFLICTING_MESH_GATEWAY_VIRTUAL_SERVICE_HOSTS = "IST0109" "ConflictingMeshGatewayVirtualServiceHosts" Error;
    /// Two Sidecars that select one workload.
    CONFLICTING_SIDECAR_WORKLOAD_SELECTORS = "IST0110" "ConflictingSidecarWorkloadSelectors" Error;
    /// Two Sidecars of a namespace that select nobody.
    MULTIPLE_SIDECARS_WITHOUT_WORKLOAD_SELECTORS = "IST0111" "MultipleSidecarsWithoutWorkloadSelectors" Error;
    /// A destination without a port, of a service that has several.
    VIRTUAL_SERVICE_DESTINATION_PORT_SELECTOR_REQUIRED =
        "IST0112" "VirtualServiceDestinationPortSelectorRequired" Error;
    /// One port of a workload that services speak differently on.
    DEPLOYMENT_ASSOCIATED_TO_MULTIPLE_SERVICES = "IST0116" "DeploymentAssociatedToMultipleServices" Warning;
    /// A port whose name does not say what is spoken.
    PORT_NAME_IS_NOT_UNDER_NAMING_CONVENTION = "IST0118" "PortNameIsNotUnderNamingConvention" Info;
    /// A resource that is for nobody.
    NO_MATCHING_WORKLOADS_FOUND = "IST0127" "NoMatchingWorkloadsFound" Warning;
    /// TLS to whoever answers.
    NO_SERVER_CERTIFICATE_VERIFICATION_DESTINATION_LEVEL =
        "IST0128" "NoServerCertificateVerificationDestinationLevel" Warning;
    /// TLS to whoever answers on one port.
    NO_SERVER_CERTIFICATE_VERIFICATION_PORT_LEVEL = "IST0129" "NoServerCertificateVerificationPortLevel" Warning;
    /// A rule that no request comes to.
    VIRTUAL_SERVICE_UNREACHABLE_RULE = "IST0130" "VirtualServiceUnreachableRule" Warning;
    /// A match clause that no request comes to.
    VIRTUAL_SERVICE_INEFFECTIVE_MATCH = "IST0131" "VirtualServiceIneffectiveMatch" Info;
    /// A host that the gateways of a VirtualService do not serve.
    VIRTUAL_SERVICE_HOST_NOT_FOUND_IN_GATEWAY = "IST0132" "VirtualServiceHostNotFoundInGateway" Warning;
    /// What is taken, but hardly what was meant.
    SCHEMA_WARNING = "IST0133" "SchemaWarning" Warning;
    /// A port of TCP that nothing but its number tells from another.
    SERVICE_ENTRY_ADDRESSES_REQUIRED = "IST0134" "ServiceEntryAddressesRequired" Warning;
    /// Two servers that cannot be told apart.
    CONFLICTING_GATEWAYS = "IST0145" "ConflictingGateways" Error;
    /// A Secret without what a gateway needs.
    INVALID_GATEWAY_CREDENTIAL = "IST0161" "InvalidGatewayCredential" Error;
    /// A port of a Gateway that its Service does not have.
    GATEWAY_PORT_NOT_DEFINED_ON_SERVICE = "IST0162" "GatewayPortNotDefinedOnService" Warning;
    /// A subset without endpoints.
    DESTINATION_RULE_SUBSET_NOT_SELECT_PODS = "IST0173" "DestinationRuleSubsetNotSelectPods" Error;
    /// A rule for a service that is not there.
    UNKNOWN_DESTINATION_RULE_HOST = "IST0174" "UnknownDestinationRuleHost" Warning;
    /// Two ServiceEntries that say differently what is spoken.
    CONFLICTING_SERVICE_ENTRY_PROTOCOL = "IST0177" "ConflictingServiceEntryProtocol" Warning;
    /// What cannot be done, and is refused rather than left out.
    REFUSED = "OUT0001" "Refused" Error;
    /// What is read and not acted on.
    NOT_ACTED_ON = "OUT0002" "NotActedOn" Warning;
}

/// One thing to be said of a field.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Its kind.
    pub message: &'static Message,
    /// Resource, field, value, reason and place.
    pub fault: Fault,
}

/// `VirtualService shop/reviews spec.http[2]: is never reached … (reviews.yaml:31:5) [IST0130]`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.fault, self.message.code)
    }
}

/// With `code`, `message` (its name) and `level` beside what a fault has.
impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", self.message.code)?;
        map.serialize_entry("message", self.message.name)?;
        map.serialize_entry("level", self.message.level.as_str())?;
        for (key, value) in self.fault.entries() {
            map.serialize_entry(key, &value)?;
        }
        map.end()
    }
}
