//! Who may vouch for a peer: the authorities of its trust domain, so that those of one cannot make identities of
//! another.

use crate::tls::error::TlsError;
use crate::tls::material::{self, Faults};
use crate::tls::spiffe;
use compiler::snapshot::{DataSource, TrustBundle};
use rustls::RootCertStore;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Trusted CAs, or what verifies by them, for each trust domain.
#[derive(Debug)]
pub(super) struct Trust<V> {
    /// For trust domains that have none of their own, and for certificates without an identity.
    pub(super) others: V,
    of_domain: BTreeMap<String, V>,
}

impl Trust<Arc<RootCertStore>> {
    /// Reads all certificates. `trusted_ca` absent: whom the system trusts.
    pub(super) fn read(trusted_ca: Option<&DataSource>, bundles: &[TrustBundle], faults: &mut Faults) -> Option<Self> {
        let others = match trusted_ca {
            Some(source) => material::roots("trustedCa", source, faults),
            None => material::system_roots().map_err(|fault| faults.add(fault)).ok(),
        };
        let mut read = Vec::with_capacity(bundles.len());
        for (index, bundle) in bundles.iter().enumerate() {
            let field = format!("trustBundles[{index}].trustedCa");
            read.push((&bundle.trust_domains, material::roots(&field, &bundle.trusted_ca, faults)?));
        }
        let for_all = || read.iter().filter(|(domains, _)| domains.is_empty()).map(|(_, roots)| roots);
        let mut of_domain = BTreeMap::new();
        for domain in read.iter().flat_map(|(domains, _)| domains.iter()) {
            let its_own = read.iter().filter(|(domains, _)| domains.contains(domain)).map(|(_, roots)| roots);
            of_domain
                .entry(domain.clone())
                .or_insert_with(|| together(Arc::new(RootCertStore::empty()), its_own.chain(for_all())));
        }
        Some(Self { others: together(others?, for_all()), of_domain })
    }

    /// Whom a server that looks at these may trust, with what verifies by them.
    pub(super) fn try_map<V, E>(self, mut map: impl FnMut(Arc<RootCertStore>) -> Result<V, E>) -> Result<Trust<V>, E> {
        let others = map(self.others)?;
        let of_domain = self.of_domain.into_iter().map(|(domain, roots)| Ok((domain, map(roots)?)));
        Ok(Trust { others, of_domain: of_domain.collect::<Result<_, E>>()? })
    }
}

impl<V> Trust<V> {
    /// What is for a certificate with these URIs.
    ///
    /// # Errors
    /// When they are of trust domains that have not the same: nobody vouches for all of them.
    pub(super) fn of(&self, uris: &[String]) -> Result<&V, TlsError> {
        let mut found: Option<Option<(&str, &V)>> = None;
        for uri in uris {
            let domain = spiffe::trust_domain(uri);
            let its_own = domain.and_then(|domain| self.of_domain.get_key_value(domain));
            let its_own = its_own.map(|(domain, value)| (domain.as_str(), value));
            match found {
                Some(before) if before.map(|(domain, _)| domain) != its_own.map(|(domain, _)| domain) => {
                    return Err(TlsError::SeveralTrustDomains);
                }
                _ => found = Some(its_own),
            }
        }
        Ok(found.flatten().map_or(&self.others, |(_, value)| value))
    }
}

/// One that has all.
fn together<'r>(mut all: Arc<RootCertStore>, more: impl Iterator<Item = &'r Arc<RootCertStore>>) -> Arc<RootCertStore> {
    for store in more {
        Arc::make_mut(&mut all).extend(store.roots.iter().cloned());
    }
    all
}
