//! The attempts of a coinflip: when each runs, among whom, and whether there is one (coinflip.md
//! §2, §3).
//!
//! An attempt exists iff every earlier one does, its number is below [`MAX_ATTEMPTS`], it ends two
//! blocks before the end of the flip, and, but for the first, it has at least `min_active`
//! members. Its members are the start roster without those who were expelled long enough before it
//! begins for everybody to agree on it, so an expulsion never changes an attempt that has begun.
//!
//! Sums saturate: with the durations that `set_timing` takes they are far from that.

use crate::{coinflip::topic, draws::MAX_ATTESTORS, prng::Prng, Hash, PublicKey};
use alloc::vec::Vec;
use codec::{Decode, Encode};
use core::num::NonZeroU64;
use scale_info::TypeInfo;

/// Attempts have the numbers below this one, even if there were time for more: it bounds what the
/// chain computes.
pub const MAX_ATTEMPTS: u32 = 8;
/// The assumed delay of a message doubles with each attempt up to this, milliseconds.
pub const MAX_DELTA_MS: u64 = 30_000;

/// The durations of a flip, milliseconds; fields of the challenge's `Timing` (challenge.md §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Durations {
    /// Time between two blocks.
    pub block_ms: u64,
    /// For connecting, in the first attempt; a third of it in later ones.
    pub join_ms: u64,
    /// The assumed delay of a message in the first attempt.
    pub delta_ms: u64,
    /// How long a block takes to be final.
    pub finality_ms: u64,
    /// From the start of the challenge: for all attempts.
    pub flip_ms: u64,
}

/// A member that a fraud proof expelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Expelled {
    /// Its place in the start roster.
    pub place: u8,
    /// The timestamp of the block that took the proof.
    pub timestamp_ms: u64,
}

/// What the attempts of one challenge follow from.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Flipping {
    /// Hash of the chain's block 0.
    pub genesis: Hash,
    /// The challenge's id.
    pub challenge: u64,
    /// Hash of the block in which it started.
    pub start_block: Hash,
    /// Timestamp of that block, T0.
    pub t0: u64,
    /// How long everything takes.
    pub durations: Durations,
    /// The fewest members of a later attempt.
    pub min_active: u32,
    /// Session keys of the start roster, ascending as bytes.
    pub roster: Vec<PublicKey>,
    /// Who was expelled, and when.
    pub expulsions: Vec<Expelled>,
}

/// One attempt. Times in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Attempt {
    /// Which.
    pub number: u32,
    /// Its topic.
    pub topic: Hash,
    /// Bit i: the member at place i of the start roster takes part.
    pub members: u32,
    /// Δ: the assumed delay of a message, milliseconds.
    pub delta_ms: u64,
    /// s: when it begins.
    pub start_ms: u64,
    /// Tc: when commits are due.
    pub commit_ms: u64,
    /// Te: when echoes are due.
    pub echo_ms: u64,
    /// Tf: when reveals are due.
    pub reveal_ms: u64,
    /// Tx: when it is over.
    pub end_ms: u64,
}

impl Flipping {
    /// The attempt with this number, if it exists.
    pub fn attempt(&self, number: u32) -> Option<Attempt> {
        if number >= MAX_ATTEMPTS || !(1..=MAX_ATTESTORS as usize).contains(&self.roster.len()) {
            return None;
        }
        let mut attempt = self.schedule(0, self.t0)?;
        while attempt.number < number {
            attempt = self.schedule(attempt.number + 1, self.next_start(&attempt))?;
        }
        Some(attempt)
    }

    /// The attempt with this number that begins at `start_ms`, if there are time and members for
    /// it.
    fn schedule(&self, number: u32, start_ms: u64) -> Option<Attempt> {
        let Durations {
            block_ms, flip_ms, ..
        } = self.durations;
        let delta_ms = self.delta(number);
        let after = |time: u64, deltas: u64| time.saturating_add(delta_ms.saturating_mul(deltas));
        let commit_ms = after(start_ms.saturating_add(self.join(number)), 2);
        let echo_ms = after(commit_ms, 4);
        let reveal_ms = after(echo_ms, 4);
        let end_ms = after(reveal_ms, 2);
        let flip_end = self.t0.saturating_add(flip_ms);
        if end_ms.saturating_add(block_ms.saturating_mul(2)) > flip_end {
            return None;
        }
        let members = self.members(number, start_ms);
        if number > 0 && members.count_ones() < self.min_active {
            return None;
        }
        Some(Attempt {
            number,
            topic: self.topic(number, members),
            members,
            delta_ms,
            start_ms,
            commit_ms,
            echo_ms,
            reveal_ms,
            end_ms,
        })
    }

    /// Δ of an attempt.
    fn delta(&self, number: u32) -> u64 {
        self.durations
            .delta_ms
            .saturating_mul(1 << number)
            .min(MAX_DELTA_MS)
    }

    /// J of an attempt.
    const fn join(&self, number: u32) -> u64 {
        match number {
            0 => self.durations.join_ms,
            _ => self.durations.join_ms / 3,
        }
    }

    /// Who takes part in an attempt that begins at `start_ms`. Nobody is expelled before the first.
    fn members(&self, number: u32, start_ms: u64) -> u32 {
        let everybody = mask(self.roster.len());
        if number == 0 {
            return everybody;
        }
        let settled = self.settled_ms(start_ms);
        self.expulsions
            .iter()
            .filter(|expelled| expelled.timestamp_ms <= settled)
            .fold(everybody, |members, expelled| {
                members & !bit(expelled.place.into())
            })
    }

    /// Expulsions in blocks with this timestamp or an earlier one count for an attempt that begins
    /// at `start_ms`.
    fn settled_ms(&self, start_ms: u64) -> u64 {
        let Durations {
            block_ms,
            finality_ms,
            ..
        } = self.durations;
        start_ms
            .saturating_sub(block_ms.saturating_mul(2))
            .saturating_sub(finality_ms)
    }

    /// Whether no expulsion in a block with the timestamp `now_ms`, or in a later one, can change
    /// who takes part in the attempt. Before, it and all that follow it are only foreseen.
    pub fn is_settled(&self, attempt: &Attempt, now_ms: u64) -> bool {
        attempt.number == 0 || now_ms > self.settled_ms(attempt.start_ms)
    }

    /// The topic among these members of the start roster: of an attempt, or of the fallback.
    pub fn topic(&self, number: u32, members: u32) -> Hash {
        topic(
            &self.genesis,
            self.challenge,
            &self.start_block,
            number,
            &select(&self.roster, members),
        )
    }

    /// When the attempt after this one begins: once its anchor could be final, and after a draw of
    /// up to Δ, so that those who fell out of step meet at another point of each other's rhythm.
    fn next_start(&self, attempt: &Attempt) -> u64 {
        let Durations {
            block_ms,
            finality_ms,
            ..
        } = self.durations;
        let jitter = NonZeroU64::new(attempt.delta_ms)
            .map_or(0, |delta| Prng::new(attempt.topic, "retry").below(delta));
        attempt
            .end_ms
            .saturating_add(block_ms.saturating_mul(4))
            .saturating_add(finality_ms)
            .saturating_add(jitter)
    }
}

/// The items at the places of which the bit is set, in order.
pub fn select<Item: Clone>(items: &[Item], members: u32) -> Vec<Item> {
    items
        .iter()
        .enumerate()
        .filter(|(place, _)| members & bit(*place) != 0)
        .map(|(_, item)| item.clone())
        .collect()
}

/// The place in the start roster of who has this index among the members.
pub fn place_of(members: u32, index: usize) -> Option<usize> {
    (0..32)
        .filter(|place| members & bit(*place) != 0)
        .nth(index)
}

/// The index among the members of who has this place in the start roster, if it is one of them.
pub fn index_of(members: u32, place: usize) -> Option<usize> {
    let own = bit(place);
    (members & own != 0).then(|| (members & own.wrapping_sub(1)).count_ones() as usize)
}

/// The bit of a place; none from 32 on.
pub const fn bit(place: usize) -> u32 {
    match place {
        0..=31 => 1 << place,
        _ => 0,
    }
}

/// The bits of the first `count` places, all of them from 32 on.
pub const fn mask(count: usize) -> u32 {
    match count {
        0..=31 => (1 << count) - 1,
        _ => u32::MAX,
    }
}
