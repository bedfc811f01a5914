//! Behind a cluster: the endpoints that it has, and what the proxy of each does.

use super::policies::FORBIDDEN;
use super::proxy::unspoken;
use super::{DescribedRequest, Walk, plugins};
use crate::compile::{CompileError, Settings};
use crate::mesh::{Service, ServiceDiscovery, Workload};
use crate::snapshot::{Destination, Direction, NetworkFilter};

impl Walk<'_, '_> {
    /// Explains what becomes of a request at each endpoint of a cluster: `outbound|9080|v1|reviews.shop.svc.cluster.local`.
    pub(super) fn server(
        &mut self,
        from: &Workload,
        cluster: &str,
        request: &DescribedRequest,
    ) -> Result<(), CompileError> {
        let mut parts = cluster.split('|').skip(1);
        let mut next = || parts.next().unwrap_or_default();
        let (port, subset, host) = (next(), next(), next());
        let mesh = self.mesh;
        let service = mesh.registry.find(host, &from.namespace);
        let number = port.parse().ok();
        let found = service.and_then(|service| Some((service, service.port(number?)?)));
        let Some((service, port)) = found else {
            self.push(&format!("server {host}"), "answer", "503: there is no such service, or it has no such port");
            return Ok(());
        };
        let labels = mesh.subset_labels(from, service, subset);
        let selected =
            service.endpoints.iter().filter(|one| labels.as_ref().is_none_or(|labels| labels.select(&one.labels)));
        let endpoints: Vec<_> = selected.filter_map(|one| Some((one, one.port(port)?))).collect();
        if endpoints.is_empty() {
            self.push(&format!("server {host}"), "answer", nobody(service));
        }
        for (endpoint, port) in endpoints {
            let named = endpoint.workload.as_ref();
            let workload = named.and_then(|(namespace, name)| mesh.workload(namespace, name));
            match workload {
                Some(workload) if mesh.is_gateway(&workload) => self.gateway_at(&workload, Some(port), request)?,
                Some(workload) => self.workload(&workload, port, request)?,
                None => {
                    let at = format!("server {}:{port}", endpoint.address);
                    self.push(&at, "answer", "its own: the files have no workload there, and no policy is asked");
                }
            }
        }
        Ok(())
    }

    fn workload(&mut self, workload: &Workload, port: u16, request: &DescribedRequest) -> Result<(), CompileError> {
        let at = format!("server {}/{}", workload.namespace, workload.name);
        let compiled = self.mesh.sidecar(workload, &Settings { outbound: None, ..Settings::assumed() })?;
        let mut inbound = compiled.snapshot.listeners.iter().filter(|one| one.direction == Direction::Inbound);
        // One that a Sidecar binds to the port itself stands before the one that connections are redirected to.
        let bound = inbound.clone().find(|one| !one.use_original_dst && one.address.port() == port);
        let Some(listener) = bound.or_else(|| inbound.find(|one| one.use_original_dst)) else {
            self.push(
                &at,
                "answer",
                "none: its sidecar takes nothing, and the connection goes to the application itself",
            );
            return Ok(());
        };
        let Some(chain) = self.chain(&at, listener, port, request) else { return Ok(()) };
        if let Some(reason) = unspoken(chain, request) {
            self.push(&at, "answer", reason);
            return Ok(());
        }
        self.tls(&at, chain, request);
        let manager = match &chain.network_filter {
            NetworkFilter::TcpProxy(proxy) => {
                if self.connection_policies(&at, workload, proxy, port, request)? {
                    self.push(&at, "destination", format!("the application, {}, as it comes", proxy.cluster));
                }
                return Ok(());
            }
            NetworkFilter::HttpConnectionManager(manager) => manager,
        };
        let (configs, others) = plugins::configs(manager)?;
        for name in others {
            self.push(&at, format!("plugin {name}"), "a user's own: what it does is not known");
        }
        let Some(asked) = self.tokens(&at, &configs.jwt_authn, request)? else { return Ok(()) };
        if self.policies(&at, workload, &configs.authz, port, &asked, FORBIDDEN)?
            && let Destination::Cluster(cluster) = &manager.destination
        {
            self.push(&at, "destination", format!("the application, {cluster}"));
        }
        Ok(())
    }
}

fn nobody(service: &Service) -> &'static str {
    match service.discovery {
        ServiceDiscovery::None => "that of whoever has the address which was asked for",
        _ => "503: no endpoint (UH)",
    }
}
