//! A request that somebody describes: for explaining decisions without a proxy, and for tests.

use crate::Facts;
use filter_api::HostError;
use http_match::HeaderList;

/// A request by its headers and properties.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// All headers, pseudo-headers among them.
    pub headers: HeaderList,
    /// Properties by path joined with `.`; those not listed do not exist.
    pub properties: Vec<(String, Vec<u8>)>,
}

impl Facts for Described {
    fn headers(&mut self) -> Result<&HeaderList, HostError> {
        Ok(&self.headers)
    }

    fn property(&mut self, path: &[&str]) -> Result<Option<Vec<u8>>, HostError> {
        let path = path.join(".");
        Ok(self.properties.iter().find(|(name, _)| *name == path).map(|(_, value)| value.clone()))
    }
}
