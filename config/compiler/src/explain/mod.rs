//! What becomes of one request, and why: decided by the filters' own code from the configuration that the proxies get,
//! proxy by proxy from the one that asks to those that serve.

mod actions;
mod condition;
mod exchange;
mod plugins;
mod policies;
mod proxy;
mod routes;
mod server;
mod tokens;

use crate::compile::{CompileError, Origins};
use crate::finding::{Finding, Message};
use crate::mesh::{Mesh, Workload};
use http_match::{HeaderList, port_of};
use istio_api::Fault;
use serde::Serialize;
use std::fmt;
use std::net::IpAddr;

/// A request that somebody describes.
#[derive(Clone, Debug, Default)]
pub struct DescribedRequest {
    /// `GET`
    pub method: String,
    /// `http`; `https` for one within TLS; `tcp` for a connection that carries whatever it carries.
    pub scheme: String,
    /// With its port, if one is named.
    pub authority: String,
    /// With its query.
    pub target: String,
    /// Further headers, in order.
    pub headers: Vec<(String, String)>,
    /// Where it comes from, as the server sees it.
    pub source: Option<IpAddr>,
    /// Whose connection it comes by, where that is not where it comes from: a gateway's.
    pub peer: Option<IpAddr>,
    /// The server name that TLS asks for; the authority's without.
    pub server_name: Option<String>,
    /// What TLS offers (ALPN), in order.
    pub application_protocols: Vec<String>,
    /// The identity in the peer's certificate: `spiffe://cluster.local/ns/shop/sa/cart`; `None` without mutual TLS.
    pub principal: Option<String>,
    /// Claims of a token that is good, wherever tokens are verified; without, those that the request has are.
    pub claims: Option<serde_json::Value>,
    /// When it is made, since the Unix epoch: tokens are good for a time.
    pub time: std::time::Duration,
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
    /// At whose proxy: `client shop/cart`, `gateway edge/public`, `server shop/reviews-v1`.
    pub at: String,
    /// What is looked at: `route shop/reviews/jason`.
    pub subject: String,
    /// What comes of it.
    pub verdict: String,
    /// Where that is written: `routes.yaml:31:5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
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
    /// The port that it is addressed to: named, or the scheme's own.
    fn port(&self) -> Option<u16> {
        let own = match self.scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        port_of(self.authority.as_bytes()).or(own)
    }

    fn is_tls(&self) -> bool {
        self.scheme == "https"
    }

    /// What TLS asks for, in lower case.
    fn server_name(&self) -> Option<String> {
        let authority = || self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        let name = self.server_name.as_deref().unwrap_or_else(authority);
        (self.is_tls() && name.parse::<IpAddr>().is_err() && !name.starts_with('[')).then(|| name.to_ascii_lowercase())
    }

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
    /// What becomes of a request of a workload, or of one from outside that comes to a gateway.
    ///
    /// # Errors
    /// Everything that keeps the proxies on its way from being set up.
    pub fn explain(&self, from: &Workload, request: &DescribedRequest) -> Result<Explanation, CompileError> {
        let mut walk = Walk { mesh: self, explanation: Explanation::default(), hops: 0 };
        match self.is_gateway(from) {
            true => walk.gateway(from, request)?,
            false => walk.client(from, request)?,
        }
        Ok(walk.explanation)
    }
}

/// The way of a request.
struct Walk<'c, 'm> {
    mesh: &'c Mesh<'m>,
    explanation: Explanation,
    /// Gateways that it has come through.
    hops: usize,
}

impl Walk<'_, '_> {
    fn push(&mut self, at: &str, subject: impl Into<String>, verdict: impl Into<String>) {
        self.push_placed(at, subject, verdict, None);
    }

    fn push_placed(&mut self, at: &str, subject: impl Into<String>, verdict: impl Into<String>, place: Option<String>) {
        let step = Step { at: at.to_owned(), subject: subject.into(), verdict: verdict.into(), place };
        self.explanation.steps.push(step);
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
