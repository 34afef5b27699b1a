//! The chain's randomness for development.

use codec::Encode;
use core::marker::PhantomData;
use datdot_primitives::Hash;
use frame::{
    hashing::blake2_256,
    prelude::{frame_system, BlockNumberFor, One, Saturating, Zero},
    traits::Randomness,
};

/// How many parent hashes are mixed.
const PARENTS: u32 = 8;

/// Mixes the hashes of the last eight blocks.
///
/// For development only: whoever makes a block sees its hash before publishing it, and may try
/// other contents. A network with validators needs a value that its makers cannot choose, and of
/// which the first block that could know it is known.
pub struct ParentHashes<T>(PhantomData<T>);

impl<T: frame_system::Config> Randomness<Hash, BlockNumberFor<T>> for ParentHashes<T> {
    /// The hash of the parent exists when this block begins, so this block is the first that could
    /// know the value.
    fn random(subject: &[u8]) -> (Hash, BlockNumberFor<T>) {
        let now = frame_system::Pallet::<T>::block_number();
        let mut parent = now;
        let mut hashes = alloc::vec::Vec::new();
        for _ in 0..PARENTS {
            if parent.is_zero() {
                break;
            }
            parent = parent.saturating_sub(One::one());
            hashes.push(frame_system::Pallet::<T>::block_hash(parent));
        }
        (blake2_256(&(subject, hashes).encode()), now)
    }
}
