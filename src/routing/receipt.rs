//! What a decision signs and an outcome brings back.
//!
//! A receipt makes attribution stateless and exact across reweights, keeps unit ids out of outcomes, and keeps
//! forged outcomes from freezing (or clearing) a canary. 38 bytes, base64url: key id, experiment, epoch, arm, unit
//! hash (the bucket is its remainder), second, process, sequence number, and a SipHash-2-4 tag over all of that.

use crate::domain::id::{ArmIndex, Epoch, ExperimentKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use siphasher::sip::SipHasher24;
use std::hash::Hasher as _;

const BODY: usize = 30;
const BYTES: usize = BODY + 8;
/// Characters of a receipt.
pub const LENGTH: usize = BYTES.div_ceil(3) * 4 - (3 - BYTES % 3) % 3;

/// What a receipt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The experiment.
    pub experiment: ExperimentKey,
    /// The epoch of the assignment.
    pub epoch: Epoch,
    /// The arm.
    pub arm: ArmIndex,
    /// [`super::hash::analysis_hash`] of the unit.
    pub unit_hash: u64,
    /// Unix second of the decision.
    pub second: u32,
    /// The process that decided.
    pub process: u32,
    /// Counts decisions of the process, so that two for one unit never share a receipt.
    pub sequence: u32,
}

/// Why a receipt was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not the right length or alphabet.
    #[error("not a receipt: a receipt has {LENGTH} characters of A-Z, a-z, 0-9, - and _")]
    Malformed,
    /// Signed with a key that does not exist here.
    #[error("signed with an unknown key")]
    UnknownKey,
    /// The tag does not fit.
    #[error("the signature does not match")]
    Forged,
}

/// The keys receipts are signed and verified with; the newest signs.
#[derive(Clone, Default)]
pub struct ReceiptKeys {
    // Few: a rotation now and then. The last one signs.
    keys: Vec<(u8, SipHasher24)>,
}

impl std::fmt::Debug for ReceiptKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiptKeys")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl ReceiptKeys {
    /// From key ids and secrets, oldest first. With no key at all, nothing is signed.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = (u8, [u8; 16])>) -> Self {
        Self {
            keys: keys
                .into_iter()
                .map(|(id, secret)| (id, SipHasher24::new_with_key(&secret)))
                .collect(),
        }
    }

    /// Writes the signed text of `receipt`; none without a key.
    #[inline]
    #[must_use]
    pub fn sign(&self, receipt: &Receipt) -> Option<[u8; LENGTH]> {
        let (id, key) = self.keys.last()?;
        let mut bytes = [0; BYTES];
        bytes[0] = *id;
        bytes[1..5].copy_from_slice(&receipt.experiment.0.to_le_bytes());
        bytes[5..9].copy_from_slice(&receipt.epoch.0.to_le_bytes());
        bytes[9] = receipt.arm.0;
        bytes[10..18].copy_from_slice(&receipt.unit_hash.to_le_bytes());
        bytes[18..22].copy_from_slice(&receipt.second.to_le_bytes());
        bytes[22..26].copy_from_slice(&receipt.process.to_le_bytes());
        bytes[26..30].copy_from_slice(&receipt.sequence.to_le_bytes());
        let tag = tag(*key, &bytes[..BODY]);
        bytes[BODY..].copy_from_slice(&tag.to_le_bytes());
        let mut text = [0; LENGTH];
        // The buffer has exactly the encoded length, so this cannot fail.
        URL_SAFE_NO_PAD.encode_slice(bytes, &mut text).ok()?;
        Some(text)
    }

    /// Reads a receipt and checks its tag.
    ///
    /// # Errors
    /// [`ReceiptError`]: malformed, unknown key, or forged.
    pub fn verify(&self, text: &str) -> Result<Receipt, ReceiptError> {
        let mut bytes = [0; BYTES];
        if text.len() != LENGTH || URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(BYTES) {
            return Err(ReceiptError::Malformed);
        }
        let (_, key) = self
            .keys
            .iter()
            .rev()
            .find(|(id, _)| *id == bytes[0])
            .ok_or(ReceiptError::UnknownKey)?;
        // One comparison of two words: no byte-by-byte timing to learn from.
        if tag(*key, &bytes[..BODY]) != u64::from_le_bytes(word(&bytes, BODY)) {
            return Err(ReceiptError::Forged);
        }
        Ok(Receipt {
            experiment: ExperimentKey(u32::from_le_bytes(word(&bytes, 1))),
            epoch: Epoch(u32::from_le_bytes(word(&bytes, 5))),
            arm: ArmIndex(bytes[9]),
            unit_hash: u64::from_le_bytes(word(&bytes, 10)),
            second: u32::from_le_bytes(word(&bytes, 18)),
            process: u32::from_le_bytes(word(&bytes, 22)),
            sequence: u32::from_le_bytes(word(&bytes, 26)),
        })
    }
}

#[inline]
fn tag(mut key: SipHasher24, body: &[u8]) -> u64 {
    key.write(body);
    key.finish()
}

fn word<const N: usize>(bytes: &[u8; BYTES], at: usize) -> [u8; N] {
    let mut word = [0; N];
    word.copy_from_slice(&bytes[at..at + N]);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            experiment: ExperimentKey(7),
            epoch: Epoch(3),
            arm: ArmIndex(1),
            unit_hash: 0x0123_4567_89ab_cdef,
            second: 1_795_000_000,
            process: 0xdead_beef,
            sequence: 42,
        }
    }

    #[test]
    fn comes_back_as_it_went_and_survives_a_rotation() {
        let old = ReceiptKeys::new([(1, [1; 16])]);
        let text = String::from_utf8(old.sign(&receipt()).unwrap().to_vec()).unwrap();
        assert!(text.len() <= 80);
        let rotated = ReceiptKeys::new([(1, [1; 16]), (2, [2; 16])]);
        assert_eq!(rotated.verify(&text), Ok(receipt()));
        let new = String::from_utf8(rotated.sign(&receipt()).unwrap().to_vec()).unwrap();
        assert_ne!(new, text);
        assert_eq!(old.verify(&new), Err(ReceiptError::UnknownKey));
    }

    #[test]
    fn every_changed_character_is_refused() {
        let keys = ReceiptKeys::new([(1, [1; 16])]);
        let text = keys.sign(&receipt()).unwrap();
        for at in 0..text.len() {
            let mut changed = text;
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = std::str::from_utf8(&changed).unwrap();
            assert!(keys.verify(changed).is_err(), "{at}");
        }
        for bad in ["", "x", "é", &"A".repeat(LENGTH), &"A".repeat(LENGTH + 1)] {
            assert!(keys.verify(bad).is_err(), "{bad}");
        }
    }
}
