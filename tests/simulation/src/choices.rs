//! Where chance comes from: a seed, or a list of earlier choices.
//!
//! Every choice of a history is one number below a bound, and every choice is written down. A list
//! that is at its end answers 0, which everywhere means the calm way: so a history can be cut, and
//! what is left still runs.

/// A source of choices.
#[derive(Debug, Clone)]
pub struct Choices {
    state: u64,
    script: Option<Vec<u32>>,
    made: Vec<u32>,
}

impl Choices {
    /// By chance, from a seed.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self { state: seed ^ 0x9e37_79b9_7f4a_7c15, script: None, made: Vec::new() }
    }

    /// Once more as it is written.
    #[must_use]
    pub const fn scripted(script: Vec<u32>) -> Self {
        Self { state: 0, script: Some(script), made: Vec::new() }
    }

    /// A number below `bound`, at least 1.
    pub fn below(&mut self, bound: u32) -> u32 {
        let bound = bound.max(1);
        let choice = match &self.script {
            Some(script) => script.get(self.made.len()).map_or(0, |choice| choice % bound),
            None => (self.next() % u64::from(bound)) as u32,
        };
        self.made.push(choice);
        choice
    }

    /// True in `percent` of a hundred; false is the calm answer.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) >= 100 - percent.min(100)
    }

    /// What was chosen so far.
    #[must_use]
    pub fn made(&self) -> &[u32] {
        &self.made
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): one word of state, every seed good.
    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
