//! Where draws come from: the host's random, or a seed and the request's id.

use crate::fault::Draw;
use filter_api::{HostError, Stream};
use twox_hash::XxHash64;

/// Takes a draw for a stream.
///
/// With a seed the draw is a hash of seed, `x-request-id` and which draw it is, so the same ids are hit again. A request
/// without an id falls back on the host's random.
pub(crate) fn draw(seed: Option<u64>, which: Draw, stream: &mut Stream<'_>) -> Result<u64, HostError> {
    if let Some(seed) = seed
        && let Some(id) = stream.request_header("x-request-id")?
    {
        return Ok(XxHash64::oneshot(salted(seed, which), &id));
    }
    stream.root().random()
}

/// The two draws of one request must not be the same.
fn salted(seed: u64, which: Draw) -> u64 {
    match which {
        Draw::Delay => seed,
        Draw::Abort => seed.wrapping_add(0x9E37_79B9_7F4A_7C15),
    }
}
