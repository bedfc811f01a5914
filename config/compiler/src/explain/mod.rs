//! What becomes of one request, and why: decided by the filters' own code from the configuration that the proxies get.

mod client;
mod condition;
mod server;

use crate::compile::{CompileError, Origins};
use crate::finding::{Finding, Message};
use crate::mesh::{Mesh, Workload};
use http_match::HeaderList;
use istio_api::Fault;
use serde::Serialize;
use std::fmt;
use std::net::IpAddr;

/// A request that somebody describes.
#[derive(Clone, Debug)]
pub struct DescribedRequest {
    /// `GET`
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// With its port, if one is named.
    pub authority: String,
    /// With its query.
    pub target: String,
    /// Further headers, in order.
    pub headers: Vec<(String, String)>,
    /// Where it comes from, as the server sees it.
    pub source: Option<IpAddr>,
}

/// What becomes of a request, step by step.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Explanation {
    /// In the order in which it goes.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// At whose proxy: `client shop/cart`, `server shop/reviews-v1`.
    pub at: String,
    /// What is looked at: `route shop/reviews/jason`.
    pub subject: String,
    /// What comes of it.
    pub verdict: String,
    /// Where that is written: `routes.yaml:31:5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

impl Explanation {
    fn push(&mut self, at: &str, subject: impl Into<String>, verdict: impl Into<String>, place: Option<String>) {
        self.steps.push(Step { at: at.to_owned(), subject: subject.into(), verdict: verdict.into(), place });
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut at = "";
        for step in &self.steps {
            if step.at != at {
                at = &step.at;
                writeln!(f, "{at}")?;
            }
            write!(f, "  {}: {}", step.subject, step.verdict)?;
            match &step.place {
                Some(place) => writeln!(f, "  ({place})")?,
                None => f.write_str("\n")?,
            }
        }
        Ok(())
    }
}

impl DescribedRequest {
    /// As a proxy has it.
    fn header_list(&self) -> HeaderList {
        let mut headers = HeaderList::new();
        let pseudo = [
            (":method", &self.method),
            (":scheme", &self.scheme),
            (":authority", &self.authority),
            (":path", &self.target),
        ];
        pseudo.iter().for_each(|(name, value)| headers.append(name.as_bytes(), value.as_bytes()));
        for (name, value) in &self.headers {
            headers.append(name.to_ascii_lowercase().as_bytes(), value.as_bytes());
        }
        headers
    }
}

impl Mesh<'_> {
    /// What becomes of a request of a workload.
    ///
    /// # Errors
    /// Everything that keeps the proxies on its way from being set up.
    pub fn explain(&self, from: &Workload, request: &DescribedRequest) -> Result<Explanation, CompileError> {
        let mut explanation = Explanation::default();
        let destinations = client::explain(self, from, request, &mut explanation)?;
        for destination in destinations {
            server::explain(self, from, &destination, request, &mut explanation)?;
        }
        Ok(explanation)
    }
}

/// Where the field stands that a route was made of.
fn place(origins: &Origins, id: Option<&str>) -> Option<String> {
    origins.get(id?).map(|origin| origin.place().to_string())
}

/// What a filter says of a configuration that the compiler made: it should have been refused before.
fn refused(faults: &plugin_config::Faults) -> CompileError {
    let fault = |fault: &plugin_config::Fault| Finding {
        message: &Message::REFUSED,
        fault: Fault {
            resource: None,
            path: fault.path.clone(),
            value: fault.value.clone(),
            reason: fault.reason.clone().into_owned(),
            place: None,
        },
    };
    CompileError { faults: faults.iter().map(fault).collect(), notices: Vec::new() }
}
