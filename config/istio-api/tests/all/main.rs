//! Istio's resources as users write and mistype them.

mod document_cache;
mod documents;
mod faults;
mod inputs;
mod mesh;
mod places;
mod robust;
mod support;
