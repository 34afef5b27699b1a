//! How long everything takes: [`Timing`], its two presets, and which values cannot work
//! (challenge.md §2.2).

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use datdot_primitives::{
    attempts::Durations,
    draws::{Schedule, Window, MAX_ATTESTORS, MAX_CHUNKS},
};
use frame::prelude::{Debug, TypeInfo};
use serde::{Deserialize, Serialize};

/// The least room for audit moments, in milliseconds, that a fallback flip must leave.
pub const MIN_AUDIT_MS: u64 = 500;

/// No duration is longer: about 34 years in milliseconds, so that sums cannot overflow.
const MAX_MS: u64 = 1 << 40;

/// No number of blocks is greater, so that four times it plus a block number fits 32 bits.
const MAX_BLOCKS: u32 = 1 << 24;

/// The JSON of [`Schedule`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Schedule", rename_all = "camelCase")]
enum ScheduleJson {
    Uniform,
    Slots { num: u32, den: u32 },
}

/// The durations and counts of a challenge, copied into each at its start. Milliseconds, blocks,
/// or counts, as the names say.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timing {
    /// Time between two blocks; the slot duration, fixed at genesis.
    pub block_ms: u64,
    /// Coinflip: for connecting, in the first attempt.
    pub join_ms: u64,
    /// Coinflip: the assumed delay of a message.
    pub delta_ms: u64,
    /// Coinflip: how long a block takes to be final.
    pub finality_ms: u64,
    /// From the start: for the coinflip.
    pub flip_ms: u64,
    /// Fallback flip: for commits.
    pub commit_ms: u64,
    /// Fallback flip: for commits, in blocks.
    pub commit_blocks: u32,
    /// From the start to END, when reports open.
    pub window_ms: u64,
    /// Before END: no audit starts in it.
    pub tail_ms: u64,
    /// How long a chunk or a receipt may take.
    pub chunk_timeout_ms: u64,
    /// For reports: blocks with room after END.
    pub grace_blocks: u32,
    /// For the answer to a demand: blocks with room after it.
    pub demand_blocks: u32,
    /// X: attestors drawn for a challenge, at most 32.
    pub attestors: u32,
    /// The fewest attestors with which a challenge goes on.
    pub min_active: u32,
    /// N: chunks that each attestor draws, at most 100.
    pub chunks: u32,
    /// K: drawn chunks that a report proves, at most N.
    pub proved: u32,
    /// How far the clocks of honest parties may be apart.
    pub clock_tolerance_ms: u64,
    /// A challenge starts only when this many times X attestors are eligible.
    pub pool_factor: u32,
    /// Blocks until a registration, a drain or its end takes effect.
    pub min_age: u32,
    /// How the audit moments are spread.
    #[serde(with = "ScheduleJson")]
    pub schedule: Schedule,
}

/// Why a [`Timing`] cannot work.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum TimingFault {
    /// A duration or a number of blocks is zero where it must not be, or beyond all reason.
    OutOfRange,
    /// `flip_ms` has no room for one attempt of the coinflip and its anchoring.
    FlipTooShort,
    /// `tail_ms` is shorter than the time-out of a chunk.
    TailTooShort,
    /// No room is left for audits after a fallback flip.
    WindowTooShort,
    /// The roster is empty or above 32, or `min_active` is zero or above it.
    Roster,
    /// The chunks are none or above 100, or `proved` is zero or above them.
    Chunks,
    /// The jitter of the slots is not between zero and one half.
    Schedule,
}

impl Timing {
    /// The values of a real network.
    pub const fn production() -> Self {
        Self {
            block_ms: 6_000,
            join_ms: 60_000,
            delta_ms: 3_000,
            finality_ms: 12_000,
            flip_ms: 480_000,
            commit_ms: 120_000,
            commit_blocks: 10,
            window_ms: 86_400_000,
            tail_ms: 600_000,
            chunk_timeout_ms: 20_000,
            grace_blocks: 600,
            demand_blocks: 2_400,
            attestors: 10,
            min_active: 7,
            chunks: 100,
            proved: 32,
            clock_tolerance_ms: 30_000,
            pool_factor: 3,
            min_age: 50,
            schedule: Schedule::Uniform,
        }
    }

    /// The values of a developer's machine: a whole challenge in half a minute.
    pub const fn development() -> Self {
        Self {
            block_ms: 500,
            join_ms: 1_500,
            delta_ms: 200,
            finality_ms: 0,
            flip_ms: 5_000,
            commit_ms: 2_000,
            commit_blocks: 4,
            window_ms: 15_000,
            tail_ms: 3_000,
            chunk_timeout_ms: 1_000,
            grace_blocks: 12,
            demand_blocks: 12,
            attestors: 5,
            min_active: 4,
            chunks: 100,
            proved: 32,
            clock_tolerance_ms: 2_000,
            pool_factor: 1,
            min_age: 1,
            schedule: Schedule::Uniform,
        }
    }

    /// Refuses values with which no challenge could succeed.
    pub fn check(&self) -> Result<(), TimingFault> {
        let durations = [self.join_ms, self.finality_ms, self.clock_tolerance_ms];
        let positive = [
            self.block_ms,
            self.delta_ms,
            self.flip_ms,
            self.commit_ms,
            self.window_ms,
            self.tail_ms,
            self.chunk_timeout_ms,
        ];
        let blocks = [
            self.commit_blocks,
            self.grace_blocks,
            self.demand_blocks,
            self.pool_factor,
            self.min_age,
        ];
        let in_range = durations.iter().all(|ms| *ms <= MAX_MS)
            && positive.iter().all(|ms| (1..=MAX_MS).contains(ms))
            && blocks.iter().all(|count| (1..=MAX_BLOCKS).contains(count));
        if !in_range {
            return Err(TimingFault::OutOfRange);
        }
        if !(1..=MAX_ATTESTORS).contains(&self.attestors)
            || !(1..=self.attestors).contains(&self.min_active)
        {
            return Err(TimingFault::Roster);
        }
        if !(1..=MAX_CHUNKS).contains(&self.chunks) || !(1..=self.chunks).contains(&self.proved) {
            return Err(TimingFault::Chunks);
        }
        if !self.schedule.is_valid() {
            return Err(TimingFault::Schedule);
        }
        if self.flip_ms < self.join_ms + 12 * self.delta_ms + 2 * self.block_ms {
            return Err(TimingFault::FlipTooShort);
        }
        if self.tail_ms < self.chunk_timeout_ms {
            return Err(TimingFault::TailTooShort);
        }
        let commit_ms = self
            .commit_ms
            .max(u64::from(self.commit_blocks) * self.block_ms);
        // One block each until F, C and R are reached, and two until the first moment.
        let moments_from = self.flip_ms + commit_ms + 5 * self.block_ms;
        if self.window_ms < moments_from + self.tail_ms + MIN_AUDIT_MS {
            return Err(TimingFault::WindowTooShort);
        }
        Ok(())
    }

    /// Tlo of a challenge that started at `t0` and was anchored (challenge.md §3.1).
    pub const fn moments_from(&self, t0: u64) -> u64 {
        t0.saturating_add(self.flip_ms)
            .saturating_add(2 * self.block_ms)
    }

    /// Tlo of a challenge whose R was fixed by the fallback in a block with this timestamp
    /// (challenge.md §3.1).
    pub const fn moments_from_fallback(&self, fixed_ms: u64) -> u64 {
        fixed_ms.saturating_add(2 * self.block_ms)
    }

    /// When the attestors of a challenge that started at `t0` audit, if their moments begin at
    /// `moments_from` (challenge.md §3.1).
    pub const fn window(&self, t0: u64, moments_from: u64) -> Window {
        let end = t0
            .saturating_add(self.window_ms)
            .saturating_sub(self.tail_ms);
        Window {
            start: moments_from,
            width: end.saturating_sub(moments_from),
        }
    }

    /// The durations that the coinflip's attempts follow from.
    pub const fn durations(&self) -> Durations {
        Durations {
            block_ms: self.block_ms,
            join_ms: self.join_ms,
            delta_ms: self.delta_ms,
            finality_ms: self.finality_ms,
            flip_ms: self.flip_ms,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::production()
    }
}
