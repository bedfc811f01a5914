//! Kubernetes' own kinds, as far as Istio reads them: what stands beside is not looked at.

mod service;

pub use service::{IntOrString, Service, ServicePort, ServiceType};
