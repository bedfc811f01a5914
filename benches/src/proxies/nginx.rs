//! nginx's configuration: one worker, keep-alive on both sides, no log.

use crate::load::Protocol;
use crate::proxies::{Setup, StartError, Surroundings, installed, write};
use std::process::Command;

pub(super) fn command(setup: &Setup, port: u16, surroundings: &Surroundings<'_>) -> Result<Command, StartError> {
    let binary = installed("nginx")?;
    let certificates = surroundings.certificates;
    let http2 = if matches!(setup.listener.protocol, Protocol::Http2 { .. }) { "http2" } else { "" };
    let (ssl, tls) = match setup.listener.tls {
        false => ("", String::new()),
        true => (
            "ssl",
            format!(
                "ssl_certificate {}; ssl_certificate_key {}; ssl_client_certificate {}; ssl_verify_client on; \
                 ssl_protocols TLSv1.3;",
                certificates.certificate.display(),
                certificates.key.display(),
                certificates.authority.display()
            ),
        ),
    };
    let files = surroundings.directory.join(format!("nginx-{port}"));
    std::fs::create_dir_all(&files)?;
    let files = files.display();
    let text = format!(
        "daemon off; worker_processes 1; pid {files}/pid; error_log stderr;\n\
         events {{ worker_connections 10000; }}\n\
         http {{\n\
         access_log off; client_body_temp_path {files}; proxy_temp_path {files}; fastcgi_temp_path {files};\n\
         uwsgi_temp_path {files}; scgi_temp_path {files};\n\
         keepalive_timeout 1h; keepalive_requests 1000000000;\n\
         upstream upstream {{ server 127.0.0.1:{upstream}; keepalive 2000; keepalive_requests 1000000000; }}\n\
         server {{ listen 127.0.0.1:{port} {http2} {ssl}; {tls}\n\
         location / {{ proxy_pass http://upstream; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_set_header Host $host; }} }}\n\
         }}\n",
        upstream = surroundings.upstream
    );
    let file = write(surroundings, &format!("nginx-{port}.conf"), &text)?;
    let mut command = Command::new(binary);
    command.arg("-c").arg(file);
    Ok(command)
}
