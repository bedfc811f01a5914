//! TEMP
use crate::http::Transport;
use crate::wasm::ConnectionProperties;
use compiler::snapshot;
use std::net::SocketAddr;
use tokio::net::TcpStream;
pub(crate) struct ListenerChains {
    ports: Vec<Option<u16>>,
}
pub(crate) struct Admitted {
    pub(crate) chain: usize,
    pub(crate) transport: Transport,
    pub(crate) properties: ConnectionProperties,
}
impl ListenerChains {
    pub(crate) fn new(l: &snapshot::Listener) -> Result<Self, Vec<String>> {
        Ok(Self { ports: l.filter_chains.iter().map(|c| c.filter_chain_match.destination_port).collect() })
    }
    pub(crate) async fn admit(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        destination: SocketAddr,
        id: u64,
    ) -> Result<Admitted, String> {
        let chain = self
            .ports
            .iter()
            .position(|p| p.is_none_or(|p| p == destination.port()))
            .ok_or("filter_chain_not_found")?;
        let properties = ConnectionProperties {
            id,
            source: peer,
            direct_peer: peer,
            destination,
            requested_server_name: String::new(),
            tls_version: None,
            peer: None,
            local: None,
        };
        Ok(Admitted { chain, transport: Box::new(socket), properties })
    }
}
