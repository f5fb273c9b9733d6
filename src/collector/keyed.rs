//! Maps from small numbers and from hashes, without hashing them as if a stranger had chosen them.

use crate::routing::hash;
use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

/// A map whose keys are numbers given out here.
pub(super) type KeyMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;
/// A set of values that are hashes already, or numbers.
pub(super) type KeySet<K> = HashSet<K, BuildHasherDefault<NumberHasher>>;

/// Mixes the numbers written to it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u16(&mut self, n: u16) {
        self.write_u64(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.0 = hash::mix(self.0.rotate_left(5) ^ n);
    }

    #[inline]
    fn write_u128(&mut self, n: u128) {
        self.0 = n as u64;
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u64(u64::from_ne_bytes(
            i64::try_from(n).unwrap_or_default().to_ne_bytes(),
        ));
    }
}
