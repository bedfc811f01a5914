//! HTTP/1.1 as a load speaks it.

use crate::load::connection::Codec;
use crate::load::{PATH, REQUEST};
use std::io;

/// Fields of an answer that are told apart.
const FIELDS: usize = 32;

pub(super) struct Http1 {
    request: Vec<u8>,
}

impl Http1 {
    pub(super) fn new() -> Self {
        Self { request: request().into_bytes() }
    }
}

/// The request as it is sent.
pub(crate) fn request() -> String {
    let mut text = format!("GET {PATH} HTTP/1.1\r\n");
    for (name, value) in REQUEST {
        text += &format!("{}: {value}\r\n", if name == ":authority" { "host" } else { name });
    }
    text + "\r\n"
}

impl Codec for Http1 {
    fn open(&mut self, _: &mut Vec<u8>) {}

    fn request(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.request);
    }

    fn take(&mut self, read: &[u8], _: &mut Vec<u8>) -> io::Result<(usize, usize)> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut head = httparse::Response::new(&mut fields);
        let size = match head.parse(read).map_err(io::Error::other)? {
            httparse::Status::Partial => return Ok((0, 0)),
            httparse::Status::Complete(size) => size,
        };
        if head.code != Some(200) {
            return Err(io::Error::other(String::from_utf8_lossy(read).into_owned()));
        }
        let length = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|field| str::from_utf8(field.value).ok()?.parse::<usize>().ok());
        let whole = size + length.ok_or_else(|| io::Error::other("an answer without content-length"))?;
        Ok(if read.len() < whole { (0, 0) } else { (whole, 1) })
    }
}
