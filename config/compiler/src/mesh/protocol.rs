//! What is spoken on a port.

use istio_api::kubernetes::ServicePort;

/// What is spoken on a port, as far as it makes a difference here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1
    Http,
    /// HTTP/2, gRPC.
    Http2,
    /// TLS that is passed on as it is: `HTTPS`, `TLS`.
    Tls,
    /// Bytes.
    Tcp,
    /// Not proxied.
    Udp,
    /// Not said.
    Undeclared,
}

impl Protocol {
    /// As Istio's resources name it, in any case.
    pub fn named(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "http" | "http_proxy" => Self::Http,
            "http2" | "grpc" | "grpc-web" | "kubernetes.io/h2c" => Self::Http2,
            "https" | "tls" => Self::Tls,
            "tcp" | "mongo" | "redis" | "mysql" => Self::Tcp,
            "udp" => Self::Udp,
            _ => Self::Undeclared,
        }
    }

    /// Of a port of a Kubernetes service: its `appProtocol`, or the beginning of its name.
    pub fn of_port(port: &ServicePort) -> Self {
        if port.protocol.as_deref().is_some_and(|transport| transport.eq_ignore_ascii_case("UDP")) {
            return Self::Udp;
        }
        if let Some(written) = port.app_protocol.as_deref() {
            return Self::named(written);
        }
        let name = port.name.as_deref().unwrap_or_default();
        if name.starts_with("grpc-web") {
            return Self::Http2;
        }
        Self::named(name.split('-').next().unwrap_or(name))
    }

    /// Whether requests can be told apart in it. What is not declared is taken for HTTP.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Undeclared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_known_by_name_or_by_app_protocol() {
        let port = |json: &str| plugin_config::from_slice::<ServicePort>(json.as_bytes()).unwrap();
        for (json, protocol) in [
            (r#"{"port": 1, "name": "http-web"}"#, Protocol::Http),
            (r#"{"port": 1, "name": "grpc-web"}"#, Protocol::Http2),
            (r#"{"port": 1, "name": "web", "appProtocol": "HTTP2"}"#, Protocol::Http2),
            (r#"{"port": 1, "name": "https"}"#, Protocol::Tls),
            (r#"{"port": 1, "name": "redis"}"#, Protocol::Tcp),
            (r#"{"port": 1, "name": "web"}"#, Protocol::Undeclared),
            (r#"{"port": 1}"#, Protocol::Undeclared),
            (r#"{"port": 1, "name": "http", "protocol": "UDP"}"#, Protocol::Udp),
        ] {
            assert_eq!(Protocol::of_port(&port(json)), protocol, "{json}");
        }
    }
}
