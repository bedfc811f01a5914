//! Kubernetes' own kinds, as far as Istio reads them: what stands beside is not looked at.

mod configuration;
mod endpoints;
mod service;
mod workload;

pub use configuration::{
    ConfigMap, Hidden, KubernetesSelector, LabelExpression, LabelOperator, Namespace, Secret, ServiceAccount,
};
pub use endpoints::{
    EndpointAddress, EndpointConditions, EndpointPort, EndpointSlice, EndpointSubset, Endpoints, SliceEndpoint,
    TargetRef,
};
pub use service::{EXPORT_TO, IntOrString, Service, ServicePort, ServiceType};
pub use workload::{
    Container, ContainerPort, Deployment, Pod, PodCondition, PodIp, PodSpec, PodStatus, PodTemplate,
    PodTemplateMetadata, StatefulSet,
};
