//! Istio's resources as users write and mistype them.

mod places;
mod support;
