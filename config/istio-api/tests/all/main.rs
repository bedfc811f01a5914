//! Istio's resources as users write and mistype them.

mod inputs;
mod places;
mod support;
