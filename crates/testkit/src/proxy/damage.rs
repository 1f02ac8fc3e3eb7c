//! Seeded corruption of a byte stream.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// How much is flipped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Corruption {
    /// Of each byte, 0 to 1.
    pub(super) probability: f64,
    pub(super) seed: u64,
}

/// Which bytes of one direction of one connection get a bit flipped: gaps between them are drawn, so that the
/// outcome does not depend on how the stream falls into chunks.
pub(super) struct Damage {
    random: ChaCha8Rng,
    probability: f64,
    gap: u64,
}

impl Damage {
    pub(super) fn new(corruption: Corruption, stream: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(corruption.seed);
        random.set_stream(stream);
        let mut damage = Self {
            random,
            probability: corruption.probability.clamp(0.0, 1.0),
            gap: 0,
        };
        damage.draw();
        damage
    }

    fn draw(&mut self) {
        let chance = 1.0 - self.random.random::<f64>(); // in (0, 1]
        self.gap = (chance.ln() / (1.0 - self.probability).ln()).floor() as u64;
    }

    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while let Some(byte) = usize::try_from(self.gap)
            .ok()
            .and_then(|gap| bytes.get_mut(at + gap))
        {
            *byte ^= 1 << self.random.random_range(0..8);
            at += self.gap as usize + 1;
            self.draw();
        }
        self.gap -= (bytes.len() - at) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corruption_repeats_with_its_seed_and_ignores_chunks() {
        let corruption = Corruption {
            probability: 0.01,
            seed: 7,
        };
        let (mut whole, mut pieces) = (vec![0; 100_000], vec![0; 100_000]);
        Damage::new(corruption, 3).apply(&mut whole);
        let mut damage = Damage::new(corruption, 3);
        pieces.chunks_mut(777).for_each(|chunk| damage.apply(chunk));
        assert!(whole == pieces);
        let hit = whole.iter().filter(|byte| **byte != 0).count();
        assert!((800..1200).contains(&hit), "{hit} of 100000 at 1 %");
    }
}
