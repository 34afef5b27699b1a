//! The generator behind every draw (coinflip.md §6).

use crate::{
    hash::{coinflip, hash},
    Hash,
};
use alloc::vec::Vec;
use core::num::NonZeroU64;

/// `prng(seed, label)`: block k is `H(TAG(prng) ‖ seed ‖ label ‖ k u64)`, four u64 a block
/// (coinflip.md §6).
pub struct Prng {
    seed: Hash,
    label: Hash,
    /// Number of the next block.
    next_block: u64,
    block: Hash,
    /// Bytes of `block` that are used up.
    used: usize,
}

impl Prng {
    /// A generator at its first number. `label`: ASCII, at most 32 bytes; it is one of the
    /// protocol's words, never input.
    pub fn new(seed: Hash, label: &'static str) -> Self {
        let mut padded = Hash::default();
        padded[..label.len()].copy_from_slice(label.as_bytes());
        Self {
            seed,
            label: padded,
            next_block: 0,
            block: Hash::default(),
            used: 32,
        }
    }

    /// The next u64.
    pub fn next_u64(&mut self) -> u64 {
        if self.used == self.block.len() {
            let number = self.next_block.to_le_bytes();
            self.block = hash(&[&coinflip::PRNG, &self.seed, &self.label, &number]);
            // 2^64 blocks are never drawn.
            self.next_block = self.next_block.wrapping_add(1);
            self.used = 0;
        }
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.block[self.used..self.used + 8]);
        self.used += 8;
        u64::from_le_bytes(bytes)
    }

    /// A number below `bound`, all equally likely: takes u64 until one is below
    /// 2^64 − (2^64 mod bound). At each try that is so with a chance of more than one half.
    pub fn below(&mut self, bound: NonZeroU64) -> u64 {
        let excess = (u64::MAX % bound + 1) % bound;
        loop {
            let number = self.next_u64();
            if number <= u64::MAX - excess {
                return number % bound;
            }
        }
    }

    /// A permutation of 0 … count−1: Fisher–Yates from the top.
    pub fn permutation(&mut self, count: u32) -> Vec<u32> {
        let mut numbers: Vec<u32> = (0..count).collect();
        for i in (1..count).rev() {
            let j = self.below(NonZeroU64::MIN.saturating_add(u64::from(i)));
            numbers.swap(i as usize, j as usize);
        }
        numbers
    }
}
