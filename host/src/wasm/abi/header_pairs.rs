//! Header maps on their way through guest memory: a count, the lengths of each name and value, then names and values,
//! each followed by a NUL; all numbers are little-endian u32.

use http_match::HeaderList;

/// What a guest may hand over at most in one list: bytes, and pairs (the bounds of Envoy's host).
const MAX_BYTES: usize = 1 << 20;
const MAX_PAIRS: usize = 1024;

/// How many bytes a list takes. An empty list takes four.
pub fn encoded_size<'l>(pairs: impl Iterator<Item = (&'l [u8], &'l [u8])>) -> usize {
    pairs.fold(4, |size, (name, value)| size + 10 + name.len() + value.len())
}

/// Writes a list of `count` pairs into a buffer of just [`encoded_size`] bytes; `None` when it is too small.
pub fn encode<'l>(
    count: usize,
    pairs: impl Iterator<Item = (&'l [u8], &'l [u8])> + Clone,
    out: &mut [u8],
) -> Option<()> {
    let (head, mut texts) = out.split_at_mut_checked(4 + count.checked_mul(8)?)?;
    let (number, mut lengths) = head.split_first_chunk_mut::<4>()?;
    *number = u32::try_from(count).ok()?.to_le_bytes();
    for (name, value) in pairs {
        for text in [name, value] {
            let (length, rest) = lengths.split_first_chunk_mut::<4>()?;
            *length = u32::try_from(text.len()).ok()?.to_le_bytes();
            lengths = rest;
            let (place, rest) = texts.split_at_mut_checked(text.len())?;
            place.copy_from_slice(text);
            let (nul, rest) = rest.split_first_mut()?;
            *nul = 0;
            texts = rest;
        }
    }
    Some(())
}

/// Reads a list that a guest wrote. No bytes, one zero byte and four zero bytes are the empty list; `None` for
/// anything malformed: wrong lengths, missing NULs, bytes left over, more than 1 MiB or 1024 pairs.
pub fn decode(bytes: &[u8]) -> Option<HeaderList> {
    if bytes.is_empty() || bytes == [0] {
        return Some(HeaderList::new());
    }
    if bytes.len() > MAX_BYTES {
        return None;
    }
    let (count, rest) = number(bytes)?;
    if count > MAX_PAIRS {
        return None;
    }
    let (mut lengths, mut texts) = rest.split_at_checked(count.checked_mul(8)?)?;
    let mut list = HeaderList::with_capacity(count, texts.len());
    for _ in 0..count {
        let (name_length, rest) = number(lengths)?;
        let (value_length, rest) = number(rest)?;
        lengths = rest;
        let (name, rest) = text(texts, name_length)?;
        let (value, rest) = text(rest, value_length)?;
        texts = rest;
        list.append(name, value);
    }
    texts.is_empty().then_some(list)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

fn text(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(length)?;
    Some((text, rest.strip_prefix(&[0])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(list: &HeaderList) -> Vec<u8> {
        let mut out = vec![0xaa; encoded_size(list.iter())];
        encode(list.len(), list.iter(), &mut out).unwrap();
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let list: HeaderList = [(":path", "/"), ("x-a", ""), ("x-a", "b")].into_iter().collect();
        assert_eq!(decode(&encoded(&list)), Some(list));
        assert_eq!(encoded(&HeaderList::new()), [0; 4]);
    }

    #[test]
    fn malformed_lists_are_refused() {
        let list: HeaderList = [("x-a", "b")].into_iter().collect();
        let good = encoded(&list);
        for cut in 2..good.len() {
            assert_eq!(decode(&good[..cut]), None, "cut at {cut}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert_eq!(decode(&longer), None);
        let mut no_nul = good.clone();
        *no_nul.last_mut().unwrap() = b'x';
        assert_eq!(decode(&no_nul), None);
        assert_eq!(decode(&u32::MAX.to_le_bytes()), None);
        assert!(decode(&[0]).unwrap().is_empty() && decode(&[]).unwrap().is_empty());
    }
}
