//! What a port carries.

/// What a port carries, by the names that Istio has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS.
    Http2,
    /// HTTP over TLS, not ended here.
    Https,
    /// gRPC.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// TLS, not ended here.
    Tls,
    /// Anything.
    Tcp,
    /// MongoDB's.
    Mongo,
    /// Redis's.
    Redis,
    /// MySQL's.
    Mysql,
    /// Datagrams: not carried.
    Udp,
    /// What `HTTP_PROXY` says: requests name where they go.
    HttpProxy,
}

const NAMES: [(&str, Protocol); 13] = [
    ("HTTP", Protocol::Http),
    ("HTTP2", Protocol::Http2),
    ("HTTPS", Protocol::Https),
    ("GRPC", Protocol::Grpc),
    ("GRPC-WEB", Protocol::GrpcWeb),
    ("GRPC-WEB-TEXT", Protocol::GrpcWeb),
    ("TLS", Protocol::Tls),
    ("TCP", Protocol::Tcp),
    ("MONGO", Protocol::Mongo),
    ("REDIS", Protocol::Redis),
    ("MYSQL", Protocol::Mysql),
    ("UDP", Protocol::Udp),
    ("HTTP_PROXY", Protocol::HttpProxy),
];

impl Protocol {
    /// What is said of a text that is none.
    pub(crate) const EXPECTED: &'static str =
        "expected HTTP, HTTP2, HTTPS, GRPC, GRPC-WEB, TLS, TCP, MONGO, REDIS or MYSQL";

    /// By its name, in any case; `None` when there is none of this name.
    pub fn parse(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, protocol)| *protocol)
    }

    /// What a Kubernetes port carries by its name: `http-web`, `grpc`; `None` when the name says nothing.
    pub fn of_port_name(name: &str) -> Option<Self> {
        // The longest first: `grpc-web-x` is not gRPC.
        let whole = Self::parse(name);
        let is_prefix = |known: &str| {
            name.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known))
                && name.as_bytes().get(known.len()) == Some(&b'-')
        };
        let longest = NAMES.iter().filter(|(known, _)| is_prefix(known)).max_by_key(|(known, _)| known.len());
        whole.or(longest.map(|(_, protocol)| *protocol))
    }

    /// Whether its requests are routed as HTTP's.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb | Self::HttpProxy)
    }

    /// Whether it is TLS that is not ended here.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// Whether what is sent says which host it is for.
    pub(crate) fn names_its_host(self) -> bool {
        self.is_http() || self.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_ports_carry() {
        for (name, protocol) in [
            ("http", Some(Protocol::Http)),
            ("HTTP2-web", Some(Protocol::Http2)),
            ("grpc-web-x", Some(Protocol::GrpcWeb)),
            ("grpc-webx", Some(Protocol::Grpc)),
            ("https-x", Some(Protocol::Https)),
            ("httpx", None),
            ("web-http", None),
            ("", None),
        ] {
            assert_eq!(Protocol::of_port_name(name), protocol, "{name}");
        }
    }
}
