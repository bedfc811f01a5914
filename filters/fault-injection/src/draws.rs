//! Where draws come from: the host's random, or a seed and the request's id.

use crate::config::Seed;
use crate::fault::Draw;
use filter_api::{HostError, Stream};
use twox_hash::XxHash64;

/// Takes the draws of one request.
///
/// With a seed the draw is a hash of seed, `x-request-id` and which draw it is, so the same ids are hit again. A request
/// without an id falls back on the host's random. Each draw is taken once, however often it is asked for.
pub(crate) struct Draws {
    seed: Option<u64>,
    taken: [Option<u64>; 2],
    /// The id, once it was asked for: both draws may want it, and each question costs a hostcall.
    id: Option<Option<Vec<u8>>>,
}

impl Draws {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self { seed, taken: [None; 2], id: None }
    }

    /// A uniform draw over all of `u64`.
    pub(crate) fn take(&mut self, which: Draw, stream: &mut Stream<'_>) -> Result<u64, HostError> {
        if let Some(Some(taken)) = self.taken.get(which as usize) {
            return Ok(*taken);
        }
        let draw = self.draw(which, stream)?;
        if let Some(taken) = self.taken.get_mut(which as usize) {
            *taken = Some(draw);
        }
        Ok(draw)
    }

    fn draw(&mut self, which: Draw, stream: &mut Stream<'_>) -> Result<u64, HostError> {
        let Some(seed) = self.seed else {
            return stream.root().random();
        };
        let asked = match self.id.take() {
            Some(asked) => asked,
            None => stream.request_header("x-request-id")?,
        };
        match self.id.insert(asked) {
            Some(id) => Ok(seeded(seed, id, which)),
            None => stream.root().random(),
        }
    }
}

/// The number a seed stands for. It must never change: the same seed hits the same ids in every release.
pub(crate) fn number(seed: &Seed) -> u64 {
    match seed {
        Seed::Number(number) => *number,
        Seed::Text(text) => XxHash64::oneshot(0, text.as_bytes()),
    }
}

/// The draw of a request id.
fn seeded(seed: u64, id: &[u8], which: Draw) -> u64 {
    // The two draws of one request must not be the same.
    let salt = match which {
        Draw::Delay => 0,
        Draw::Abort => 0x9E37_79B9_7F4A_7C15,
    };
    XxHash64::oneshot(seed.wrapping_add(salt), id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_in_every_release() {
        // From XXH64 as its specification describes it, not from this code.
        let id = b"6f9d3c1e-8f6a-4f0e-9c52-0b6f4d1a7e33";
        assert_eq!(seeded(7, id, Draw::Delay), 0xB14F_499B_0BE5_3134);
        assert_eq!(seeded(7, id, Draw::Abort), 0xDC71_A7B6_7A08_2CFA);
        assert_eq!(number(&Seed::Number(7)), 7);
        assert_eq!(number(&Seed::Text("black friday".into())), 0x3BF0_28E5_7704_DB3C);
    }

    #[test]
    fn the_draws_of_one_id_are_independent() {
        let halves = (0..4_000u32).map(|id| {
            let id = id.to_be_bytes();
            (seeded(1, &id, Draw::Delay) >> 63, seeded(1, &id, Draw::Abort) >> 63)
        });
        let mut groups = [0u32; 4];
        halves.for_each(|(delay, abort)| groups[(2 * delay + abort) as usize] += 1);
        // A quarter each, within four standard deviations.
        assert!(groups.iter().all(|group| group.abs_diff(1_000) <= 110), "{groups:?}");
    }
}
