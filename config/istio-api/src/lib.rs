//! Istio's resources, and Kubernetes' as far as Istio reads them, as they are written: read with every fault at once,
//! each with its resource, field, value, reason and place. One file for each kind; nothing here joins two resources.
//!
//! What is accepted is what Kubernetes' API server accepts with Istio's schemas and Istio's webhook: fields in their
//! camel-case names alone, numbers without quotes, `null` for an absent field, durations in Go's notation (`1h30m`,
//! `100ms`), and YAML 1.1's truth values.

#![cfg_attr(not(test), deny(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

pub mod authorization_policy;
pub mod destination_rule;
pub mod extension;
pub mod gateway;
pub mod kubernetes;
pub mod mesh_config;
pub mod peer_authentication;
pub mod proxy_config;
pub mod request_authentication;
pub mod scalar;
pub mod service_entry;
pub mod sidecar;
pub mod telemetry;
pub mod virtual_service;
pub mod workload_entry;
pub mod workload_group;

mod document;
mod document_cache;
mod export_to;
mod fault;
mod field_path;
mod files;
mod metadata;
mod protocol;
mod resource;
mod resources;
mod scalar_text;
mod selector;
mod source;
mod tree;
mod yaml;

pub use authorization_policy::AuthorizationPolicy;
pub use destination_rule::DestinationRule;
pub use document_cache::DocumentCache;
pub use export_to::ExportTo;
pub use extension::{TrafficExtension, WasmPlugin};
pub use fault::{Fault, Faults, ResourceName};
pub use files::files;
pub use gateway::Gateway;
pub use kubernetes::{
    ConfigMap, Deployment, EndpointSlice, Endpoints, Namespace, Pod, Secret, Service, ServiceAccount, StatefulSet,
};
pub use mesh_config::MeshConfig;
pub use metadata::{Annotations, Metadata, Timestamp};
pub use peer_authentication::PeerAuthentication;
pub use protocol::Protocol;
pub use proxy_config::ProxyConfig;
pub use request_authentication::RequestAuthentication;
pub use resource::{AnyResource, Kind, Resource, Shape};
pub use resources::{Options, Resources, Skipped, read, read_files};
pub use selector::{LabelSelector, PolicyTargetReference, WorkloadSelector};
pub use service_entry::ServiceEntry;
pub use sidecar::Sidecar;
pub use source::{File, Place, Source};
pub use telemetry::Telemetry;
pub use virtual_service::{PortSelector, VirtualService};
pub use workload_entry::WorkloadEntry;
pub use workload_group::WorkloadGroup;
