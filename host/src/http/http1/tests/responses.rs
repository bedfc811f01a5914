//! Response heads: framing by method and status, and what no upstream may send.

use super::{SMALL, response_in_pieces, text};
use crate::http::http1::head::{Framing, ResponseHead, Version, parse_response};
use crate::http::refused::Refused;

fn parse(response: &str, method: &str) -> Result<Option<(ResponseHead, usize)>, Refused> {
    let whole = parse_response(response.as_bytes(), method.as_bytes(), &SMALL);
    assert_eq!(response_in_pieces(response.as_bytes(), method.as_bytes(), &SMALL), whole, "{response:?}");
    whole
}

#[test]
fn a_plain_response() {
    let response = "HTTP/1.1 200 OK\r\nServer: a\r\nSet-Cookie: 1\r\nSET-COOKIE: 2\r\ncontent-length: 2\r\n\r\nok";
    let (head, used) = parse(response, "GET").unwrap().unwrap();
    assert_eq!(&response[used..], "ok");
    assert_eq!(text(&head.headers), ":status=200|server=a|set-cookie=1|set-cookie=2|content-length=2");
    assert_eq!((head.status, head.framing, head.keep_alive), (200, Framing::Length(2), true));
    assert_eq!(head.version, Version::Http11);
}

#[test]
fn framing() {
    use Framing::{Chunked, Length, None as Nothing, UntilClose};
    let (length, coding) = ("Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n");
    for (method, status, fields, framing) in [
        ("GET", 200, "", UntilClose),
        ("GET", 200, length, Length(5)),
        ("GET", 200, coding, Chunked),
        ("GET", 200, "Content-Length: 0\r\n", Length(0)),
        ("GET", 500, length, Length(5)),
        ("HEAD", 200, "", Nothing),
        ("HEAD", 200, length, Nothing),
        ("HEAD", 200, coding, Nothing),
        ("GET", 304, "", Nothing),
        ("GET", 304, length, Nothing),
        ("GET", 204, "", Nothing),
        ("GET", 204, "Content-Length: 0\r\n", Nothing),
        ("GET", 100, "", Nothing),
        ("GET", 101, "Upgrade: websocket\r\n", Nothing),
        ("GET", 103, "", Nothing),
        ("CONNECT", 200, "", Nothing),
        ("CONNECT", 200, length, Nothing),
        ("CONNECT", 407, length, Length(5)),
        ("head", 200, length, Length(5)),
    ] {
        let (head, _) = parse(&format!("HTTP/1.1 {status} x\r\n{fields}\r\n"), method).unwrap().unwrap();
        assert_eq!((head.status, head.framing), (status, framing), "{method} {status} {fields}");
        assert_eq!(head.keep_alive, framing != UntilClose, "{method} {status} {fields}");
    }
}

#[test]
fn keep_alive() {
    for (version, connection, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let response = format!("HTTP/{version} 200 OK\r\nContent-Length: 0\r\n{connection}\r\n");
        let (head, _) = parse(&response, "GET").unwrap().unwrap();
        assert_eq!(head.keep_alive, keep_alive, "{response}");
    }
}

#[test]
fn status_lines() {
    for (line, status) in [
        ("HTTP/1.1 200", 200),
        ("HTTP/1.1 200 ", 200),
        ("HTTP/1.0 599 Some \t\u{e9} reason", 599),
        ("HTTP/1.1 100 Continue", 100),
    ] {
        let (head, _) = parse(&format!("{line}\r\n\r\n"), "GET").unwrap().unwrap();
        assert_eq!(head.status, status, "{line}");
        assert_eq!(head.headers.get(":status"), Some(status.to_string().as_bytes()));
    }
}

#[test]
fn hostile_responses() {
    for response in [
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        " HTTP/1.1 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/1.10 200 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1\t200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 +20 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 600 OK\r\n\r\n",
        "HTTP/1.1 200OK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 \r\n\r\n",
        "HTTP/1.1 200 O\0K\r\n\r\n",
        "HTTP/1.1 200 O\rK\r\n\r\n",
        "HTTP/1.1 200 OK\nA: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: 1\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: 1\0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n:status: 204\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\na:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\n\r\n",
        "<html>",
        "SSH-2.0-OpenSSH",
    ] {
        let refused = parse(response, "GET").unwrap_err();
        assert_eq!((refused.status, refused.body), (502, "Bad Gateway"), "{response:?}");
    }
    let long = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(300));
    assert_eq!(parse(&long, "GET").unwrap_err().details, "http1.headers_too_large");
    assert_eq!(parse("HTTP/1.1 2", "GET"), Ok(None));
    assert_eq!(parse("", "GET"), Ok(None));
}
