//! Bodies off the wire: data without copying, the framing dropped, trailers as a header list.

use bytes::{Buf, Bytes, BytesMut};
use http_match::HeaderList;

use super::fields;
use super::head::{Framing, HeadLimits};
use super::section::{self, Unusable};
use crate::http::refused::Refused;
use crate::http::syntax::{hex, is_field_value};

/// Finds data, trailers and the end in the bytes of one body.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    limits: HeadLimits,
    /// Bytes of chunk extensions that the message may still have.
    extensions: u32,
}

/// What [`BodyDecoder::decode`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Bytes of the body, never none.
    Data(Bytes),
    /// The body has ended, without trailers. Said again however often it is asked.
    End,
    /// The body has ended, with these trailers: names lower-case, in arrival order, not yet stripped.
    Trailers(HeaderList),
    /// More bytes are needed.
    NeedMore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Content-Length bytes to come.
    Length(u64),
    UntilClose,
    /// In a chunk's size, of which so many digits are read.
    Size(u64, u8),
    /// In an extension, behind this size.
    Extension(u64),
    /// Before the line feed behind this size.
    SizeLineFeed(u64),
    /// Bytes of the chunk to come.
    Data(u64),
    /// Before the carriage return, then the line feed, behind a chunk's data.
    DataReturn,
    DataLineFeed,
    Trailers,
    Done,
    Failed(Refused),
}

/// Digits of the largest chunk size.
const SIZE_DIGITS: u8 = 16;

/// Bytes of chunk extensions a message may have: they carry nothing that is passed on.
const EXTENSIONS: u32 = 16 * 1024;

impl BodyDecoder {
    /// For a body of this framing; its trailers keep to `limits`.
    pub fn new(framing: Framing, limits: HeadLimits) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size(0, 0),
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, limits, extensions: EXTENSIONS }
    }

    /// Takes what it can from the front of `buffer`. What follows the body stays there.
    ///
    /// # Errors
    /// Framing that is not as RFC 9112 section 7.1 writes it, and trailers over the limits. The same error again
    /// when asked again.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, Refused> {
        match self.advance(buffer) {
            Err(refused) => {
                self.state = State::Failed(refused);
                Err(refused)
            }
            decoded => decoded,
        }
    }

    /// The connection was closed by its other side, and the buffer is used up: the end of a body that lasts until
    /// then.
    ///
    /// # Errors
    /// The body was cut off.
    pub fn eof(&mut self) -> Result<Decoded, Refused> {
        match self.state {
            State::UntilClose | State::Done => {
                self.state = State::Done;
                Ok(Decoded::End)
            }
            State::Failed(refused) => Err(refused),
            _ => {
                self.state = State::Failed(Refused::CODEC_ERROR);
                Err(Refused::CODEC_ERROR)
            }
        }
    }

    /// Whether the end of the body was found: what follows belongs to the next message.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of the body still to come; `None` where that is not known beforehand, and behind an error.
    pub fn remaining_length(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Done => Some(0),
            _ => None,
        }
    }

    fn advance(&mut self, buffer: &mut BytesMut) -> Result<Decoded, Refused> {
        loop {
            match self.state {
                State::Done => return Ok(Decoded::End),
                State::Failed(refused) => return Err(refused),
                State::Trailers => return self.trailers(buffer),
                _ if buffer.is_empty() => return Ok(Decoded::NeedMore),
                State::UntilClose => return Ok(Decoded::Data(buffer.split().freeze())),
                State::Length(left) => {
                    let (data, left) = take(buffer, left);
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    return Ok(Decoded::Data(data));
                }
                State::Data(left) => {
                    let (data, left) = take(buffer, left);
                    self.state = if left == 0 { State::DataReturn } else { State::Data(left) };
                    return Ok(Decoded::Data(data));
                }
                _ => self.framing(buffer)?,
            }
        }
    }

    /// Eats the bytes between the data of two chunks, as far as there are any.
    fn framing(&mut self, buffer: &mut BytesMut) -> Result<(), Refused> {
        let mut used = 0;
        for &byte in buffer.iter() {
            self.state = match (self.state, byte) {
                (State::DataReturn, b'\r') => State::DataLineFeed,
                (State::DataLineFeed, b'\n') => State::Size(0, 0),
                (State::Size(size, 1..), b'\r') => State::SizeLineFeed(size),
                (State::Size(size, 1..), b';') => State::Extension(size),
                (State::Size(size, digits @ 0..SIZE_DIGITS), _) => {
                    let digit = hex(byte).ok_or(Refused::CODEC_ERROR)?;
                    State::Size(size << 4 | u64::from(digit), digits + 1)
                }
                (State::Extension(size), b'\r') => State::SizeLineFeed(size),
                (State::Extension(size), _) if is_field_value(&[byte]) => {
                    self.extensions = self.extensions.checked_sub(1).ok_or(Refused::CODEC_ERROR)?;
                    State::Extension(size)
                }
                (State::SizeLineFeed(0), b'\n') => State::Trailers,
                (State::SizeLineFeed(size), b'\n') => State::Data(size),
                _ => return Err(Refused::CODEC_ERROR),
            };
            used += 1;
            if matches!(self.state, State::Data(_) | State::Trailers) {
                break;
            }
        }
        buffer.advance(used);
        Ok(())
    }

    fn trailers(&mut self, buffer: &mut BytesMut) -> Result<Decoded, Refused> {
        let section = match section::find(buffer, self.limits.bytes) {
            Ok(None) => return Ok(Decoded::NeedMore),
            Ok(Some(section)) => section,
            Err(Unusable::BareLineFeed) => return Err(Refused::CODEC_ERROR),
            Err(_) => return Err(Refused::TRAILERS_TOO_LARGE),
        };
        let mut lines = buffer.get(..section.blank).unwrap_or_default().to_vec();
        let mut entries = Vec::with_capacity(section.lines);
        let most = (self.limits.fields, Refused::TOO_MANY_TRAILERS);
        fields::parse(&mut lines, (0, section.blank), most, |_, _, entry| {
            entries.push(entry);
            Ok(())
        })?;
        buffer.advance(section.end);
        self.state = State::Done;
        Ok(if entries.is_empty() { Decoded::End } else { Decoded::Trailers(HeaderList::from_parts(lines, entries)) })
    }
}

/// Up to `left` bytes of the buffer, and how many are left then.
fn take(buffer: &mut BytesMut, left: u64) -> (Bytes, u64) {
    // A length beyond the address space is more than the buffer has in any case.
    let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
    let data = buffer.split_to(length).freeze();
    (data, left.saturating_sub(length as u64))
}
