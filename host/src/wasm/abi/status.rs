//! Numbers of the ABI (`proxy_status_t`, maps, buffers, versions).

/// What a hostcall answers (`proxy_status_t`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub(crate) enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    SerializationFailure = 3,
    ParseFailure = 4,
    InvalidMemoryAccess = 6,
    Empty = 7,
    CasMismatch = 8,
    InternalFailure = 10,
    Unimplemented = 12,
}

/// A hostcall's own result: a status, or a trap that ends the VM.
pub(crate) type Answer = wasmtime::Result<u32>;

impl From<Status> for u32 {
    fn from(status: Status) -> Self {
        status as u32
    }
}

/// The versions of the ABI; a module exports a function whose name says which.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AbiVersion {
    V0_1_0,
    V0_2_0,
    V0_2_1,
}

impl AbiVersion {
    /// The version that a module's export declares.
    pub(crate) fn of_export(name: &str) -> Option<Self> {
        Some(match name {
            "proxy_abi_version_0_1_0" => Self::V0_1_0,
            "proxy_abi_version_0_2_0" => Self::V0_2_0,
            "proxy_abi_version_0_2_1" => Self::V0_2_1,
            _ => return None,
        })
    }
}

/// Header maps (`proxy_header_map_type_t`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Map {
    RequestHeaders,
    RequestTrailers,
    ResponseHeaders,
    ResponseTrailers,
    GrpcInitialMetadata,
    GrpcTrailingMetadata,
    HttpCallHeaders,
    HttpCallTrailers,
}

impl Map {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::RequestHeaders,
            1 => Self::RequestTrailers,
            2 => Self::ResponseHeaders,
            3 => Self::ResponseTrailers,
            4 => Self::GrpcInitialMetadata,
            5 => Self::GrpcTrailingMetadata,
            6 => Self::HttpCallHeaders,
            7 => Self::HttpCallTrailers,
            _ => return None,
        })
    }
}

/// Buffers (`proxy_buffer_type_t`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Buffer {
    RequestBody,
    ResponseBody,
    DownstreamData,
    UpstreamData,
    HttpCallBody,
    GrpcMessage,
    VmConfiguration,
    PluginConfiguration,
    ForeignArguments,
}

impl Buffer {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::RequestBody,
            1 => Self::ResponseBody,
            2 => Self::DownstreamData,
            3 => Self::UpstreamData,
            4 => Self::HttpCallBody,
            5 => Self::GrpcMessage,
            6 => Self::VmConfiguration,
            7 => Self::PluginConfiguration,
            8 => Self::ForeignArguments,
            _ => return None,
        })
    }
}
