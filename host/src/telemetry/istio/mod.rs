//! Istio's standard metrics, under the names and labels that its dashboards and Kiali ask for.

mod labels;
mod requests;
mod series;
mod tcp;

#[cfg(test)]
mod tests;

pub use labels::{LocalWorkload, Reporter};
pub use requests::RequestMetrics;
pub use tcp::{TcpConnectionMetrics, TcpMetrics};
