//! Chance that a test chooses.

use std::collections::VecDeque;

/// Draws in the order a test gives them; afterwards from a generator with a fixed seed.
#[derive(Clone, Debug)]
pub struct ScriptedRandom {
    script: VecDeque<u64>,
    state: u64,
    drawn: u64,
}

impl Default for ScriptedRandom {
    fn default() -> Self {
        Self::seeded(0x5EED)
    }
}

impl ScriptedRandom {
    /// A generator of a seed.
    pub fn seeded(seed: u64) -> Self {
        Self { script: VecDeque::new(), state: seed, drawn: 0 }
    }

    /// Puts the next draws, as fractions of the whole range: 0.25 is a quarter of it. Below 0 is 0, from 1 on the
    /// largest draw.
    pub fn script(&mut self, fractions: impl IntoIterator<Item = f64>) {
        // 2^64 as a double; the cast saturates at both ends.
        self.script.extend(fractions.into_iter().map(|fraction| (fraction * 18_446_744_073_709_551_616.0) as u64));
    }

    /// Forgets draws that nobody took.
    pub fn clear_script(&mut self) {
        self.script.clear();
    }

    /// How many draws were taken so far.
    pub fn drawn(&self) -> u64 {
        self.drawn
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.script.pop_front().unwrap_or_else(|| self.generate())
    }

    /// SplitMix64: one addition and a mix, and every seed is good.
    fn generate(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
