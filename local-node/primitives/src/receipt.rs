//! The hoster's signed receipt for the chunks it served (challenge.md §3.4).

use crate::{
    hash::{concat, performance},
    head::Head,
    keys, Hash, PublicKey, Signature,
};
use alloc::vec::Vec;
use codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The only version.
pub const VERSION: u8 = 1;
/// Most bytes of a receipt, signature included (challenge.md §4).
pub const MAX_BYTES: u32 = 6 * 1024;
/// Most entries of a receipt (challenge.md §4).
pub const MAX_ENTRIES: u32 = 128;

/// Bytes in front of the entries.
const HEADER_BYTES: usize = 175;
/// Bytes of one entry.
const ENTRY_BYTES: usize = 40;
/// Bytes of the signature at the end.
const SIGNATURE_BYTES: usize = 64;

/// A chunk that was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Entry {
    /// Index of the chunk.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Hash,
}

/// The fields of a receipt (challenge.md §3.4). Times are milliseconds since 1970 by the hoster's
/// clock.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Receipt {
    /// Key of the feed.
    pub feed: Hash,
    /// The newest head whose upgrade the session was sent.
    pub head: Head,
    /// The client's Noise key on the session.
    pub client: PublicKey,
    /// `H` of the session's Noise handshake hash.
    pub session: Hash,
    /// Number of the receipt in its session, from 0.
    pub sequence: u32,
    /// End of the handshake.
    pub opened: u64,
    /// When the receipt was signed.
    pub issued: u64,
    /// Bytes of the chunks below.
    pub bytes: u64,
    /// The chunks in the order first served; that they are distinct is a rule of the report.
    pub entries: Vec<Entry>,
}

/// Why a receipt is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum ReceiptError {
    /// The version is not [`VERSION`].
    UnknownVersion,
    /// It names more than [`MAX_ENTRIES`] entries.
    TooManyEntries,
    /// Its length is not the one that its count of entries asks for.
    WrongLength,
    /// The signature is not the hoster's.
    WrongSignature,
}

impl Receipt {
    /// Reads `bytes` (body and signature) and verifies the signature by `hoster`.
    pub fn open(bytes: &[u8], hoster: &PublicKey) -> Result<Self, ReceiptError> {
        let (receipt, signature) = Self::parse(bytes)?;
        let body = &bytes[..bytes.len() - SIGNATURE_BYTES];
        if !keys::verify(hoster, &signable(body), &signature) {
            return Err(ReceiptError::WrongSignature);
        }
        Ok(receipt)
    }

    /// Reads `bytes` (body and signature) strictly, without verifying the signature. Each receipt
    /// has exactly one encoding.
    pub fn parse(bytes: &[u8]) -> Result<(Self, Signature), ReceiptError> {
        let mut input = Reader(bytes);
        if u8::from_le_bytes(input.take()?) != VERSION {
            return Err(ReceiptError::UnknownVersion);
        }
        let feed = input.take()?;
        let head = Head {
            fork: u64::from_le_bytes(input.take()?),
            length: u64::from_le_bytes(input.take()?),
            tree_hash: input.take()?,
        };
        let client = input.take()?;
        let session = input.take()?;
        let sequence = u32::from_le_bytes(input.take()?);
        let opened = u64::from_le_bytes(input.take()?);
        let issued = u64::from_le_bytes(input.take()?);
        let size = u64::from_le_bytes(input.take()?);
        let count = u16::from_le_bytes(input.take()?);
        if u32::from(count) > MAX_ENTRIES {
            return Err(ReceiptError::TooManyEntries);
        }
        if bytes.len() != HEADER_BYTES + usize::from(count) * ENTRY_BYTES + SIGNATURE_BYTES {
            return Err(ReceiptError::WrongLength);
        }
        let mut entries = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            entries.push(Entry {
                index: u64::from_le_bytes(input.take()?),
                leaf: input.take()?,
            });
        }
        let signature = input.take()?;
        let receipt = Self {
            feed,
            head,
            client,
            session,
            sequence,
            opened,
            issued,
            bytes: size,
            entries,
        };
        Ok((receipt, signature))
    }

    /// The body, as it is signed and sent. It can be read back if there are at most
    /// [`MAX_ENTRIES`].
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(HEADER_BYTES + self.entries.len() * ENTRY_BYTES);
        body.push(VERSION);
        body.extend_from_slice(&self.feed);
        body.extend_from_slice(&self.head.fork.to_le_bytes());
        body.extend_from_slice(&self.head.length.to_le_bytes());
        body.extend_from_slice(&self.head.tree_hash);
        body.extend_from_slice(&self.client);
        body.extend_from_slice(&self.session);
        body.extend_from_slice(&self.sequence.to_le_bytes());
        body.extend_from_slice(&self.opened.to_le_bytes());
        body.extend_from_slice(&self.issued.to_le_bytes());
        body.extend_from_slice(&self.bytes.to_le_bytes());
        body.extend_from_slice(&(self.entries.len() as u16).to_le_bytes());
        for entry in &self.entries {
            body.extend_from_slice(&entry.index.to_le_bytes());
            body.extend_from_slice(&entry.leaf);
        }
        body
    }

    /// The leaf hash at `index`, if the receipt has it.
    pub fn leaf(&self, index: u64) -> Option<Hash> {
        self.entries
            .iter()
            .find(|entry| entry.index == index)
            .map(|entry| entry.leaf)
    }
}

/// What the hoster signs for a receipt with this body.
pub fn signable(body: &[u8]) -> Vec<u8> {
    concat(&[&performance::RECEIPT, body])
}

/// Bytes that are not read yet.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// The next `N` bytes.
    fn take<const N: usize>(&mut self) -> Result<[u8; N], ReceiptError> {
        let (taken, rest) = self
            .0
            .split_first_chunk()
            .ok_or(ReceiptError::WrongLength)?;
        self.0 = rest;
        Ok(*taken)
    }
}
