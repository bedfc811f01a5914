//! The protobuf wire format, as far as three messages need it: a reader that passes over what it does not know, and a
//! writer. Generated code for the same messages would be a fifth of the whole module.

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'m> {
    /// A number, an enum, a truth value.
    Number(u64),
    /// A text, bytes, or a message.
    Bytes(&'m [u8]),
}

impl<'m> Value<'m> {
    /// The bytes; none for a number.
    pub(crate) fn bytes(self) -> &'m [u8] {
        match self {
            Value::Bytes(bytes) => bytes,
            Value::Number(_) => &[],
        }
    }

    /// The number; 0 for bytes.
    pub(crate) fn number(self) -> u64 {
        match self {
            Value::Number(number) => number,
            Value::Bytes(_) => 0,
        }
    }
}

/// A message that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Hands every field of a message to `visit`, in order: its number and its value. Fixed-width ones are passed over: no
/// message here has one that counts.
pub(crate) fn read<'m>(
    message: &'m [u8],
    visit: &mut dyn FnMut(u64, Value<'m>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut rest = message;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut rest)?),
            1 => {
                take(&mut rest, 8)?;
                continue;
            }
            2 => {
                let length = usize::try_from(varint(&mut rest)?).map_err(|_| Malformed)?;
                Value::Bytes(take(&mut rest, length)?)
            }
            5 => {
                take(&mut rest, 4)?;
                continue;
            }
            _ => return Err(Malformed),
        };
        visit(key >> 3, value)?;
    }
    Ok(())
}

fn take<'m>(rest: &mut &'m [u8], length: usize) -> Result<&'m [u8], Malformed> {
    let (taken, after) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = after;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number: u64 = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or(Malformed)?;
        *rest = after;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Malformed)
}

/// Text of a field.
pub(crate) fn text(bytes: &[u8]) -> Result<String, Malformed> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed)
}

/// A message in the making.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// Adds a number; 0 is what an absent one reads as.
    pub(crate) fn number(&mut self, field: u8, number: u64) -> &mut Self {
        if number > 0 {
            self.varint(u64::from(field) << 3);
            self.varint(number);
        }
        self
    }

    /// Adds a text or bytes; an empty one is what an absent one reads as.
    pub(crate) fn bytes(&mut self, field: u8, bytes: &[u8]) -> &mut Self {
        if !bytes.is_empty() {
            self.message(field, bytes);
        }
        self
    }

    /// Adds a message, also an empty one.
    pub(crate) fn message(&mut self, field: u8, message: &[u8]) -> &mut Self {
        self.varint((u64::from(field) << 3) | 2);
        self.varint(message.len() as u64);
        self.0.extend_from_slice(message);
        self
    }

    /// The finished message.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;
    use prost::encoding::{decode_varint, encode_varint};

    #[test]
    fn numbers_of_every_length() {
        for number in [1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut expected = Vec::new();
            encode_varint(1 << 3, &mut expected);
            encode_varint(number, &mut expected);
            assert_eq!(Writer::default().number(1, number).finish(), expected);
            let mut seen = Vec::new();
            read(&expected, &mut |field, value| {
                seen.push((field, value));
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, [(1, Value::Number(number))]);
            assert_eq!(decode_varint(&mut &expected[1..]), Ok(number));
        }
    }

    #[test]
    fn what_is_cut_is_malformed() {
        let message = Writer::default().bytes(1, b"abc").number(2, 300).finish();
        for end in [1, 2, 3, 4, 6, 7] {
            assert_eq!(read(&message[..end], &mut |_, _| Ok(())), Err(Malformed), "cut at {end}");
        }
        assert_eq!(read(&[0x0B], &mut |_, _| Ok(())), Err(Malformed), "groups are not read");
        assert_eq!(
            read(&[0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1], &mut |_, _| Ok(())),
            Err(Malformed)
        );
    }
}
