//! What a decision signs and an outcome brings back.
//!
//! A receipt makes attribution stateless and exact across reweights, keeps unit ids out of outcomes, and keeps
//! forged outcomes from freezing (or clearing) a canary. 38 bytes, base64url: key id, experiment, epoch, arm, unit
//! hash (the bucket is its remainder), second, process, sequence number, and a SipHash-2-4 tag over all of that. In
//! an experiment with segments or covariates 48 bytes: before the tag, and under it, the segments' codes and two
//! numbers of four bytes, NaN for one that is not known.

use super::profile::Profile;
use crate::domain::{
    id::{ArmIndex, Epoch, ExperimentKey},
    metric::{Covariates, MOST_COVARIATES},
    segment::SegmentCodes,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use siphasher::sip::SipHasher24;
use std::{hash::Hasher as _, ops::Deref};

const BODY: usize = 30;
const PROFILE: usize = 2 + 4 * MOST_COVARIATES;
const TAG: usize = 8;
const LARGEST: usize = BODY + PROFILE + TAG;
/// Characters of a receipt without a profile.
pub const LENGTH: usize = characters(BODY + TAG);
/// Characters of a receipt with a profile.
pub const PROFILE_LENGTH: usize = characters(LARGEST);

const fn characters(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4 - (3 - bytes % 3) % 3
}

/// What a receipt says.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    /// What the request was; none in an experiment without segments and covariates.
    pub profile: Option<Profile>,
}

/// A receipt as it is handed out: visible ASCII, without memory of its own on the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptText {
    bytes: [u8; PROFILE_LENGTH],
    length: usize,
}

impl ReceiptText {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The alphabet is ASCII, so there is always a text.
        std::str::from_utf8(self).unwrap_or_default()
    }
}

impl Deref for ReceiptText {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Why a receipt was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not the right length or alphabet.
    #[error("not a receipt: a receipt has {LENGTH} or {PROFILE_LENGTH} characters of A-Z, a-z, 0-9, - and _")]
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
    pub fn sign(&self, receipt: &Receipt) -> Option<ReceiptText> {
        let (id, key) = self.keys.last()?;
        let mut bytes = [0; LARGEST];
        bytes[0] = *id;
        bytes[1..5].copy_from_slice(&receipt.experiment.0.to_le_bytes());
        bytes[5..9].copy_from_slice(&receipt.epoch.0.to_le_bytes());
        bytes[9] = receipt.arm.0;
        bytes[10..18].copy_from_slice(&receipt.unit_hash.to_le_bytes());
        bytes[18..22].copy_from_slice(&receipt.second.to_le_bytes());
        bytes[22..26].copy_from_slice(&receipt.process.to_le_bytes());
        bytes[26..30].copy_from_slice(&receipt.sequence.to_le_bytes());
        let body = receipt.profile.as_ref().map_or(BODY, |profile| {
            write_profile(profile, &mut bytes[BODY..BODY + PROFILE]);
            BODY + PROFILE
        });
        let tag = tag(*key, &bytes[..body]);
        bytes[body..body + TAG].copy_from_slice(&tag.to_le_bytes());
        let mut text = [0; PROFILE_LENGTH];
        // The longest form fills the buffer exactly, so this cannot fail.
        let length = URL_SAFE_NO_PAD
            .encode_slice(&bytes[..body + TAG], &mut text)
            .ok()?;
        Some(ReceiptText { bytes: text, length })
    }

    /// Reads a receipt of either form and checks its tag.
    ///
    /// # Errors
    /// [`ReceiptError`]: malformed, unknown key, or forged.
    pub fn verify(&self, text: &str) -> Result<Receipt, ReceiptError> {
        let body = match text.len() {
            LENGTH => BODY,
            PROFILE_LENGTH => BODY + PROFILE,
            _ => return Err(ReceiptError::Malformed),
        };
        let mut bytes = [0; LARGEST];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(body + TAG) {
            return Err(ReceiptError::Malformed);
        }
        let (_, key) = self
            .keys
            .iter()
            .rev()
            .find(|(id, _)| *id == bytes[0])
            .ok_or(ReceiptError::UnknownKey)?;
        // One comparison of two words: no byte-by-byte timing to learn from.
        if tag(*key, &bytes[..body]) != u64::from_le_bytes(word(&bytes, body)) {
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
            profile: (body > BODY).then(|| read_profile(&bytes)),
        })
    }
}

fn write_profile(profile: &Profile, bytes: &mut [u8]) {
    let (codes, numbers) = bytes.split_at_mut(2);
    codes.copy_from_slice(&profile.segments.0.to_le_bytes());
    for (bytes, number) in numbers.chunks_exact_mut(4).zip(profile.covariates.0) {
        bytes.copy_from_slice(&number.unwrap_or(f32::NAN).to_le_bytes());
    }
}

fn read_profile(bytes: &[u8; LARGEST]) -> Profile {
    let number = |place| Some(f32::from_le_bytes(word(bytes, BODY + 2 + 4 * place)));
    Profile {
        segments: SegmentCodes(u16::from_le_bytes(word(bytes, BODY))),
        covariates: Covariates(std::array::from_fn(|place| {
            number(place).filter(|number| number.is_finite())
        })),
    }
}

#[inline]
fn tag(mut key: SipHasher24, body: &[u8]) -> u64 {
    key.write(body);
    key.finish()
}

fn word<const N: usize>(bytes: &[u8; LARGEST], at: usize) -> [u8; N] {
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
            profile: None,
        }
    }

    fn profiled() -> Receipt {
        Receipt {
            profile: Some(Profile {
                segments: SegmentCodes::default().with(0, Some(3)).with(2, None),
                covariates: Covariates([Some(-0.25), None]),
            }),
            ..receipt()
        }
    }

    #[test]
    fn comes_back_as_it_went_and_survives_a_rotation() {
        let old = ReceiptKeys::new([(1, [1; 16])]);
        let rotated = ReceiptKeys::new([(1, [1; 16]), (2, [2; 16])]);
        let blank = Receipt {
            profile: Some(Profile::default()),
            ..receipt()
        };
        for (receipt, length) in [(receipt(), 51), (profiled(), 64), (blank, 64)] {
            let text = old.sign(&receipt).unwrap();
            assert_eq!(text.as_str().len(), length);
            assert_eq!(rotated.verify(text.as_str()), Ok(receipt));
            let new = rotated.sign(&receipt).unwrap();
            assert_ne!(new, text);
            assert_eq!(old.verify(new.as_str()), Err(ReceiptError::UnknownKey));
        }
    }

    #[test]
    fn the_short_form_is_what_it_always_was() {
        let text = ReceiptKeys::new([(1, [1; 16])]).sign(&receipt()).unwrap();
        assert_eq!(
            text.as_str(),
            "AQcAAAADAAAAAe_Nq4lnRSMBwIb9au--rd4qAAAAM7TD5YJP5KI"
        );
    }

    #[test]
    fn every_changed_character_is_refused() {
        let keys = ReceiptKeys::new([(1, [1; 16])]);
        for receipt in [receipt(), profiled()] {
            let text = keys.sign(&receipt).unwrap();
            for at in 0..text.len() {
                let mut changed = text.to_vec();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                let changed = std::str::from_utf8(&changed).unwrap();
                assert!(keys.verify(changed).is_err(), "{at}");
            }
            let other = [LENGTH, PROFILE_LENGTH][usize::from(text.len() == LENGTH)];
            let padded = format!("{:A<PROFILE_LENGTH$}", text.as_str());
            assert!(
                keys.verify(&padded[..other]).is_err(),
                "the length tells the form"
            );
        }
        for length in [0, 1, LENGTH, LENGTH + 1, PROFILE_LENGTH, PROFILE_LENGTH + 1] {
            assert!(keys.verify(&"A".repeat(length)).is_err(), "{length}");
        }
        assert!(keys.verify("é").is_err());
    }
}
