//! Who a workload is, as its certificate says it.

use crate::tls::spiffe_trust_domain;
use std::fmt;
use std::str::FromStr;

/// The SPIFFE identity of a workload: `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SpiffeId {
    trust_domain: String,
    namespace: String,
    service_account: String,
}

impl SpiffeId {
    /// The identity of a service account. `@` in a trust domain is written as `.`, as in Istio.
    ///
    /// # Errors
    /// When a part cannot stand in an identity.
    pub fn new(trust_domain: &str, namespace: &str, service_account: &str) -> Result<Self, String> {
        let trust_domain = trust_domain.replace('@', ".");
        format!("spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}").parse()
    }

    /// Where it belongs.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whose it is there.
    pub fn service_account(&self) -> &str {
        &self.service_account
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trust_domain, namespace, service_account } = self;
        write!(f, "spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}")
    }
}

impl FromStr for SpiffeId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("{text:?} is no identity like spiffe://cluster.local/ns/shop/sa/reviews");
        let trust_domain = spiffe_trust_domain(text).ok_or_else(refuse)?;
        let path = text.strip_prefix("spiffe://").and_then(|rest| rest.strip_prefix(trust_domain)).unwrap_or_default();
        match path.split('/').collect::<Vec<_>>().as_slice() {
            ["", "ns", namespace, "sa", service_account] => Ok(Self {
                trust_domain: trust_domain.to_owned(),
                namespace: (*namespace).to_owned(),
                service_account: (*service_account).to_owned(),
            }),
            _ => Err(refuse()),
        }
    }
}
