//! Random changes to inputs, from a seed: the same seed gives the same inputs.

/// Bytes at which parsers of lengths and of text branch.
const SPECIAL: &[u8] = &[0, 1, 0x7f, 0x80, 0x81, 0x82, 0x84, 0xff, b'%', b'.', b'/', b':', b'\n', b' '];

/// Longest input.
const MOST: usize = 16 * 1024;

/// Source of changed inputs.
pub(crate) struct Mutator {
    state: u64,
}

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// `corpus[at]` after one to eight changes, some of which insert parts of other inputs.
    pub(crate) fn next(&mut self, corpus: &[Vec<u8>], at: usize) -> Vec<u8> {
        let mut input = corpus[at].clone();
        for _ in 0..=self.below(7) {
            self.change(&mut input, corpus);
        }
        input.truncate(MOST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len());
        let end = at + self.below(input.len() - at + 1).min(64);
        match self.below(7) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = SPECIAL[self.below(SPECIAL.len())],
            2 => input.truncate(at),
            3 => {
                input.drain(at..end);
            }
            4 => input.insert(at, SPECIAL[self.below(SPECIAL.len())]),
            5 => {
                let part = input[at..end].to_vec();
                input.splice(at..at, part);
            }
            _ => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len());
                let part = other[from..].iter().copied().take(self.below(64) + 1).collect::<Vec<_>>();
                input.splice(at..end, part);
            }
        }
    }

    /// A number below `limit`; 0 below 0.
    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let limit = u64::try_from(limit.max(1)).unwrap();
        usize::try_from(mixed % limit).unwrap()
    }
}
