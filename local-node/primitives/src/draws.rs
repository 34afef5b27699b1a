//! What follows from R: roster, moments, chunks, habits (coinflip.md §6).

use crate::{
    hash::{coinflip, hash},
    prng::Prng,
    Hash, PublicKey,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use core::num::NonZeroU64;
use scale_info::TypeInfo;

/// Most attestors of a challenge, X (challenge.md §2.2).
pub const MAX_ATTESTORS: u32 = 32;
/// Most drawn chunks, N (challenge.md §2.2).
pub const MAX_CHUNKS: u32 = 100;
/// The width of a window is below this many milliseconds (coinflip.md §6).
pub const MAX_WIDTH_MS: u64 = 1 << 58;
/// At most this many of the eligible are skipped in the draw of a roster: the hoster's and the
/// sponsor's account (challenge.md §2.2).
pub const MAX_SKIPPED: u32 = 2;

/// Half of the range of u, the middle of a slot.
const HALF: i128 = 1 << 63;

/// The seed of a roster's draw (coinflip.md §6).
pub fn roster_seed(randomness: &Hash, challenge: u64) -> Hash {
    hash(&[&coinflip::DRAW, randomness, &challenge.to_le_bytes()])
}

/// Draws `count` places out of 0 … eligible−1, passing over those that `skip` names; at most
/// `count` + [`MAX_SKIPPED`] steps, each with the memory of one swap (coinflip.md §6, challenge.md
/// §2.2). `None`: there are not enough of them.
pub fn draw_roster(
    seed: Hash,
    eligible: u32,
    count: u32,
    skip: impl Fn(u32) -> bool,
) -> Option<Vec<u32>> {
    let mut prng = Prng::new(seed, "roster");
    // The list is as long as there are attestors, so only the swapped places are kept.
    let mut swapped = BTreeMap::new();
    let mut drawn = Vec::new();
    let steps = count.saturating_add(MAX_SKIPPED) as usize;
    for i in (0..eligible).rev().take(steps) {
        if drawn.len() == count as usize {
            break;
        }
        let j = match NonZeroU64::new(u64::from(i)) {
            Some(i) => prng.below(i.saturating_add(1)) as u32,
            None => 0,
        };
        let last = swapped.remove(&i).unwrap_or(i);
        let fixed = if j == i {
            last
        } else {
            swapped.insert(j, last).unwrap_or(j)
        };
        if !skip(fixed) {
            drawn.push(fixed);
        }
    }
    (drawn.len() == count as usize).then_some(drawn)
}

/// How moments are spread over the window (challenge.md §2.2, coinflip.md §6).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum Schedule {
    /// Anywhere in the window, all moments equally likely.
    Uniform,
    /// One slot for each attestor, and a moment around its middle: at most num/den of the slot's
    /// length to either side.
    Slots {
        /// Numerator of the jitter.
        num: u32,
        /// Denominator of the jitter, not zero, at least 2·num.
        den: u32,
    },
}

impl Schedule {
    /// Whether the jitter stays within its slot.
    pub fn is_valid(&self) -> bool {
        match *self {
            Self::Uniform => true,
            Self::Slots { num, den } => den > 0 && u64::from(num) * 2 <= u64::from(den),
        }
    }
}

/// When attestors audit: from `start` on, for `width` (challenge.md §3.1: Tlo and W).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Window {
    /// Tlo, milliseconds since 1970.
    pub start: u64,
    /// W, milliseconds.
    pub width: u64,
}

/// Why there is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum MomentError {
    /// The window is [`MAX_WIDTH_MS`] or wider, or ends after the last u64.
    Window,
    /// The jitter is wider than a slot.
    Schedule,
    /// There are no active attestors, more than [`MAX_ATTESTORS`], or the place is not among them.
    Place,
}

/// How an attestor behaves in its audited session (challenge.md §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Habit {
    /// Whether it reads with the stock client's full window, for throughput; else one chunk after
    /// the other, for latency.
    pub windowed: bool,
    /// m: it reads at most m·N chunks in all.
    pub multiple: u8,
}

/// What determines an attestor's audit: public R and its own w (coinflip.md §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Opened {
    /// Topic of the attempt that gave R.
    pub topic: Hash,
    /// R.
    pub result: Hash,
    /// The attestor's session key.
    pub session_key: PublicKey,
    /// The attestor's w.
    pub w: Hash,
}

impl Opened {
    fn seed(&self, tag: &Hash) -> Hash {
        hash(&[tag, &self.topic, &self.result, &self.session_key, &self.w])
    }

    /// u, from which the moment follows (coinflip.md §6).
    pub fn u(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.seed(&coinflip::JOIN)[..8]);
        u64::from_le_bytes(first)
    }

    /// seed_c, from which chunks and habit follow (coinflip.md §6).
    pub fn chunks_seed(&self) -> Hash {
        self.seed(&coinflip::CHUNKS)
    }

    /// The audit moment, milliseconds since 1970, of the attestor with this `place` among `active`
    /// ones; the places matter only for [`Schedule::Slots`].
    pub fn moment(
        &self,
        schedule: Schedule,
        window: Window,
        place: u32,
        active: u32,
    ) -> Result<u64, MomentError> {
        match schedule {
            Schedule::Uniform => moment_uniform(self.u(), window),
            Schedule::Slots { num, den } => {
                if !(1..=MAX_ATTESTORS).contains(&active) || place >= active {
                    return Err(MomentError::Place);
                }
                let slot = slots(self.result, active)[place as usize];
                moment_slots(self.u(), window, num, den, slot, active)
            }
        }
    }

    /// The drawn chunks of a feed of `length` chunks, in the order they are read: min(count,
    /// length) of them, none twice (coinflip.md §6). `count` is at most [`MAX_CHUNKS`], so the
    /// memory is bounded whatever the length.
    pub fn drawn_chunks(&self, length: u64, count: u32) -> Vec<u64> {
        let Some(bound) = NonZeroU64::new(length) else {
            return Vec::new();
        };
        let mut prng = Prng::new(self.chunks_seed(), "chunks");
        let mut taken = BTreeSet::new();
        let mut drawn = Vec::new();
        for _ in 0..u64::from(count.min(MAX_CHUNKS)).min(length) {
            let mut chunk = prng.below(bound);
            while !taken.insert(chunk) {
                chunk = (chunk + 1) % bound;
            }
            drawn.push(chunk);
        }
        drawn
    }

    /// The session's habit (coinflip.md §6).
    pub fn habit(&self) -> Habit {
        let mut prng = Prng::new(self.chunks_seed(), "session");
        let windowed = prng.next_u64() & 1 == 1;
        let multiple = (1 + prng.next_u64().trailing_ones()).min(6) as u8;
        Habit { windowed, multiple }
    }
}

/// The slot of each active attestor: a permutation by `prng(R, "slots")` (coinflip.md §6).
pub fn slots(result: Hash, active: u32) -> Vec<u32> {
    Prng::new(result, "slots").permutation(active)
}

/// start + ⌊u·width / 2^64⌋ (coinflip.md §6).
pub fn moment_uniform(u: u64, window: Window) -> Result<u64, MomentError> {
    let offset = (u128::from(u) * u128::from(checked_width(window)?)) >> 64;
    moment_at(window, offset)
}

/// The offset within a slot, in 2^64ths of it: 2^63 + ⌊(u − 2^63)·2·num / den⌋ (coinflip.md §6).
pub fn slot_offset(u: u64, num: u32, den: u32) -> Result<u64, MomentError> {
    if !(Schedule::Slots { num, den }).is_valid() {
        return Err(MomentError::Schedule);
    }
    let jitter = ((i128::from(u) - HALF) * 2 * i128::from(num)).div_euclid(i128::from(den));
    u64::try_from(HALF + jitter).map_err(|_| MomentError::Schedule)
}

/// start + ⌊(slot·2^64 + offset)·width / (active·2^64)⌋ (coinflip.md §6).
pub fn moment_slots(
    u: u64,
    window: Window,
    num: u32,
    den: u32,
    slot: u32,
    active: u32,
) -> Result<u64, MomentError> {
    let offset = slot_offset(u, num, den)?;
    if !(1..=MAX_ATTESTORS).contains(&active) || slot >= active {
        return Err(MomentError::Place);
    }
    // At most 2^69 · 2^58.
    let scaled =
        ((u128::from(slot) << 64) + u128::from(offset)) * u128::from(checked_width(window)?);
    moment_at(window, scaled / (u128::from(active) << 64))
}

fn checked_width(window: Window) -> Result<u64, MomentError> {
    (window.width < MAX_WIDTH_MS)
        .then_some(window.width)
        .ok_or(MomentError::Window)
}

fn moment_at(window: Window, offset: u128) -> Result<u64, MomentError> {
    u64::try_from(u128::from(window.start) + offset).map_err(|_| MomentError::Window)
}
