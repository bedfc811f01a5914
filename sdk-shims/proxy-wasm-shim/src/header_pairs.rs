//! The ABI's serialisation of a header map: `u32` count; per header `u32` name size and `u32` value size; then name,
//! NUL, value, NUL for each. Little-endian.

use filter_api::HostError;
use http_match::{Entry, HeaderList};

/// PARSE_FAILURE of the ABI: what a host sent makes no sense.
const PARSE_FAILURE: HostError = HostError::Status(4);

/// So many headers can be added to a map before its list grows.
const ADDED: usize = 4;

/// Reads a map in place: the list takes the buffer over.
pub(crate) fn read(bytes: Vec<u8>) -> Result<HeaderList, HostError> {
    if bytes.len() < 4 {
        return Ok(HeaderList::new());
    }
    let entries = entries(&bytes).ok_or(PARSE_FAILURE)?;
    Ok(HeaderList::from_parts(bytes, entries))
}

fn entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let (sizes, texts) = rest.split_at_checked(count.checked_mul(8)?)?;
    let mut next = u32::try_from(bytes.len() - texts.len()).ok()?;
    let mut all = 0u64;
    let mut entries = Vec::with_capacity(count.saturating_add(ADDED));
    entries.extend(sizes.as_chunks::<8>().0.iter().map(|&[a, b, c, d, e, f, g, h]| {
        let (name, value) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        // A NUL stands behind each.
        let name_end = next.wrapping_add(name);
        let value_start = name_end.wrapping_add(1);
        let value_end = value_start.wrapping_add(value);
        let entry = Entry { name: (next, name_end), value: (value_start, value_end) };
        next = value_end.wrapping_add(1);
        all += u64::from(name) + u64::from(value) + 2;
        entry
    }));
    // What wrapped round is longer than the whole.
    (all <= u64::try_from(texts.len()).ok()?).then_some(entries)
}

/// Writes headers.
///
/// # Errors
/// When they do not fit in the 32-bit sizes of the ABI.
pub(crate) fn write<'h>(headers: impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone) -> Result<Vec<u8>, HostError> {
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| HostError::BadArgument);
    let count = u32::try_from(headers.clone().count()).map_err(|_| HostError::BadArgument)?;
    let mut out = count.to_le_bytes().to_vec();
    for (name, value) in headers.clone() {
        out.extend(size(name)?.to_le_bytes());
        out.extend(size(value)?.to_le_bytes());
    }
    for (name, value) in headers {
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    }
    Ok(out)
}
