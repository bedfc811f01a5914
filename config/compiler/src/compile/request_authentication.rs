//! RequestAuthentications → what jwt-authn has for a workload, and the clusters that it asks for keys.

use super::destination_rule;
use super::mutual_tls::Credentials;
use crate::mesh::{Mesh, Workload};
use crate::report::{Field, Report};
use crate::snapshot::{Cluster, DnsDiscovery, DnsName, Endpoint, Locality, UpstreamTls};
use http::Uri;
use istio_api::Resource;
use istio_api::request_authentication::{self as api, RequestAuthentication};
use jwt_authn::{ClaimToHeader, Config, Discovery, HeaderLocation, Provider, RemoteJwks};
use plugin_config::{At, Duration};
use std::net::{IpAddr, SocketAddr};

/// Whose tokens are good for a workload.
pub(crate) struct RequestAuthentications {
    pub(crate) jwt_authn: Config,
    /// The clusters of those who have the keys; some may be clusters of services, that others make too.
    pub(crate) clusters: Vec<Cluster>,
}

/// What is for a workload. `credentials`: the workload's own certificate.
pub(crate) fn compile(
    mesh: &Mesh<'_>,
    workload: &Workload,
    credentials: Option<&Credentials>,
    report: &mut Report,
) -> RequestAuthentications {
    let mut asked = Asked { mesh, workload, credentials, report, clusters: Vec::new() };
    let mut providers: Vec<Provider> =
        selected(mesh, workload).into_iter().flat_map(|resource| asked.providers(resource)).collect();
    // Istio's order, in which those of one issuer stay as they come.
    providers.sort_by(|one, other| one.issuer.cmp(&other.issuer));
    RequestAuthentications { jwt_authn: Config { providers, ..Config::default() }, clusters: asked.clusters }
}

/// The RequestAuthentications that are for a workload.
pub(crate) fn selected<'m>(mesh: &Mesh<'m>, workload: &Workload) -> Vec<&'m Resource<RequestAuthentication>> {
    let near = |one: &&Resource<RequestAuthentication>| {
        let references = (&one.spec.target_ref, one.spec.target_refs.as_slice());
        mesh.is_policy_for(&one.metadata, one.spec.selector.as_ref(), references, workload)
    };
    crate::mesh::by_age(mesh.resources.request_authentications.iter().filter(near))
}

/// Refuses what no filter would take, whomever it is for.
pub(crate) fn check(mesh: &Mesh<'_>, resource: &Resource<RequestAuthentication>, report: &mut Report) {
    let workload = Workload { namespace: resource.metadata.namespace().to_owned(), ..Workload::default() };
    Asked { mesh, workload: &workload, credentials: None, report, clusters: Vec::new() }.providers(resource);
}

/// Who is to be asked for keys, and for whom.
struct Asked<'a, 'm> {
    mesh: &'a Mesh<'m>,
    workload: &'a Workload,
    credentials: Option<&'a Credentials>,
    report: &'a mut Report,
    clusters: Vec<Cluster>,
}

impl Asked<'_, '_> {
    /// What the rules are to the filter, which takes them.
    fn providers(&mut self, resource: &Resource<RequestAuthentication>) -> Vec<Provider> {
        let rules = resource.spec.jwt_rules.iter().enumerate();
        rules.filter_map(|(index, rule)| self.provider(resource, index, rule)).collect()
    }

    fn provider(
        &mut self,
        resource: &Resource<RequestAuthentication>,
        index: usize,
        rule: &api::JwtRule,
    ) -> Option<Provider> {
        let provider = self.written(resource, index, rule)?;
        let config = Config { providers: vec![provider], ..Config::default() };
        let mut at = At::root();
        jwt_authn::check(&config, &mut at);
        let faults = at.into_faults();
        for fault in faults.iter() {
            // A provider has the fields of its rule.
            let path = fault.path.replacen("providers[0]", &format!("spec.jwtRules[{index}]"), 1);
            self.report.refuse(Field { name: resource, path: &path }, &fault.value, fault.reason.clone());
        }
        config.providers.into_iter().next()
    }

    fn written(
        &mut self,
        resource: &Resource<RequestAuthentication>,
        index: usize,
        rule: &api::JwtRule,
    ) -> Option<Provider> {
        let (namespace, name) = (resource.metadata.namespace(), resource.metadata.name.as_str());
        let mut provider = Provider {
            name: format!("RequestAuthentication {namespace}/{name} rule {index}"),
            issuer: rule.issuer.to_option(),
            audiences: rule.audiences.clone(),
            jwks: rule.jwks.to_option(),
            from_headers: rule.from_headers.iter().map(location).collect(),
            from_params: rule.from_params.clone(),
            from_cookies: rule.from_cookies.clone(),
            forward_original_token: rule.forward_original_token,
            output_payload_to_header: rule.output_payload_to_header.as_ref().map(|name| name.as_str().to_owned()),
            output_claim_to_headers: rule.output_claim_to_headers.iter().map(claim_to_header).collect(),
            space_delimited_claims: rule.space_delimited_claims.clone(),
            ..Provider::default()
        };
        if provider.jwks.is_some() {
            return Some(provider);
        }
        let timeout = rule.timeout.map(|timeout| Duration(timeout.get()));
        let written = [("jwksUri", rule.jwks_uri.as_deref()), ("jwks_uri", rule.jwks_uri_snake.as_deref())];
        let given = written.into_iter().find_map(|(field, uri)| Some((field, uri?)));
        let (field, uri) = given.unwrap_or(("issuer", rule.issuer.as_deref().unwrap_or_default()));
        let path = format!("spec.jwtRules[{index}].{field}");
        let cluster = match KeyServer::parse(uri) {
            Ok(server) => self.cluster(&server, Field { name: resource, path: &path }),
            Err(reason) => {
                self.report.refuse(Field { name: resource, path: &path }, uri, reason);
                return None;
            }
        };
        let name = cluster.name.clone();
        if !self.clusters.iter().any(|known| known.name == name) {
            self.clusters.push(cluster);
        }
        match given {
            Some(_) => {
                let mut remote = RemoteJwks { uri: uri.to_owned(), cluster: name, ..RemoteJwks::default() };
                remote.timeout = timeout.unwrap_or(remote.timeout);
                provider.remote_jwks = Some(remote);
            }
            None => {
                let mut discovery = Discovery { cluster: name, ..Discovery::default() };
                discovery.timeout = timeout.unwrap_or(discovery.timeout);
                provider.discovery = Some(discovery);
            }
        }
        Some(provider)
    }

    /// Where to ask: a service of the mesh, as it is called by everybody else, or else whoever has the name.
    fn cluster(&mut self, server: &KeyServer, field: Field<'_>) -> Cluster {
        let known = self.mesh.registry.find(&server.host, &self.workload.namespace);
        let name = destination_rule::cluster_name(server.port, "", &server.host);
        let service = known.and_then(|service| {
            let of_service =
                destination_rule::clusters(self.mesh, self.workload, self.credentials, service, self.report);
            of_service.into_iter().find(|cluster| cluster.name == name)
        });
        match service {
            // TLS to it is what its rules say, or what the sidecars between them do.
            Some(cluster) if !server.secured || cluster.transport_socket.is_some() => cluster,
            // What its clients send to it as TLS begins here.
            Some(cluster) => Cluster { name: server.cluster_name(), transport_socket: Some(server.tls()), ..cluster },
            None => {
                if known.is_some() {
                    let reason = format!("the service {} has no such port: the name is looked up instead", server.host);
                    self.report.notice(field, format!("port {}", server.port), reason);
                }
                server.cluster()
            }
        }
    }
}

fn location(written: &api::JwtHeader) -> HeaderLocation {
    HeaderLocation { name: written.name.as_str().to_owned(), prefix: written.prefix.to_option() }
}

fn claim_to_header(written: &api::ClaimToHeader) -> ClaimToHeader {
    ClaimToHeader { header: written.header.as_str().to_owned(), claim: written.claim.clone() }
}

/// Who has keys.
struct KeyServer {
    secured: bool,
    host: String,
    port: u16,
}

impl KeyServer {
    /// Of `https://keys.example.com:8443/keys`.
    fn parse(uri: &str) -> Result<Self, &'static str> {
        const REASON: &str = "expected http:// or https:// and a host, where the issuer's keys are";
        let parsed: Uri = uri.parse().map_err(|_| REASON)?;
        let (secured, default_port) = match parsed.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err(REASON),
        };
        let authority = parsed.authority().ok_or(REASON)?;
        if authority.as_str().contains('@') {
            return Err("names and passwords in it would not be sent");
        }
        let port = match (authority.port_u16(), authority.as_str() == authority.host()) {
            (Some(port @ 1..), _) => port,
            (None, true) => default_port,
            (_, _) => return Err("expected a port from 1 to 65535"),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if secured && host.parse::<IpAddr>().is_ok() {
            return Err("expected a name, which the server's certificate is for, and not an address");
        }
        Ok(Self { secured, host, port })
    }

    fn cluster_name(&self) -> String {
        format!("jwks|{}||{}", self.port, self.host)
    }

    fn tls(&self) -> UpstreamTls {
        UpstreamTls { sni: Some(self.host.clone()), ..UpstreamTls::default() }
    }

    fn cluster(&self) -> Cluster {
        let mut cluster = Cluster::named(self.cluster_name());
        cluster.transport_socket = self.secured.then(|| self.tls());
        let locality = Locality::default();
        match self.host.parse::<IpAddr>() {
            Ok(ip) => {
                let address = SocketAddr::new(ip, self.port);
                cluster.endpoints.push(Endpoint { address, weight: 1, priority: 0, locality, plaintext: false });
            }
            Err(_) => {
                let name = DnsName {
                    name: self.host.clone(),
                    port: self.port,
                    weight: 1,
                    priority: 0,
                    locality,
                    plaintext: false,
                };
                cluster.dns = Some(DnsDiscovery { names: vec![name], logical: true, ..DnsDiscovery::default() });
            }
        }
        cluster
    }
}
