//! The ABI's serialisation of a header map: `u32` count; per header `u32` name size and `u32` value size; then name,
//! NUL, value, NUL for each. Little-endian.

use filter_api::HostError;
use http_match::{Entry, HeaderList};

/// PARSE_FAILURE of the ABI: what a host sent makes no sense.
const PARSE_FAILURE: HostError = HostError::Status(4);

/// Reads a map in place: the list takes the buffer over.
pub(crate) fn read(bytes: Vec<u8>) -> Result<HeaderList, HostError> {
    if bytes.len() < 4 {
        return Ok(HeaderList::new());
    }
    let entries = entries(&bytes).ok_or(PARSE_FAILURE)?;
    Ok(HeaderList::from_parts(bytes, entries))
}

fn entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (count, sizes) = bytes.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let sizes = sizes.get(..count.checked_mul(8)?)?;
    let mut next = u32::try_from(sizes.len().checked_add(4)?).ok()?;
    let mut entries = Vec::with_capacity(count);
    for pair in sizes.chunks_exact(8) {
        let (name, value) = pair.split_first_chunk::<4>()?;
        let name = span(&mut next, u32::from_le_bytes(*name))?;
        let value = span(&mut next, u32::from_le_bytes(value.try_into().ok()?))?;
        entries.push(Entry { name, value });
    }
    (usize::try_from(next).ok()? <= bytes.len()).then_some(entries)
}

/// The range of the next `size` bytes; the NUL behind them is passed over.
fn span(next: &mut u32, size: u32) -> Option<(u32, u32)> {
    let start = *next;
    let end = start.checked_add(size)?;
    *next = end.checked_add(1)?;
    Some((start, end))
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
