//! Which ids outcomes were reported under: 128 bits of each, in two generations.
//!
//! A generation ends when it is full or as old as a receipt may be; then the one before it is forgotten. So an id is
//! remembered at least that long, or through at least a generation of others.

use super::{
    codec::{FormatError, Reader, Writer, length, seal, unseal},
    keyed::KeySet,
};
use crate::store::sqlite::journal::IdRow;
use std::collections::VecDeque;

const WHAT: &str = "ids";
const VERSION: u8 = 1;
/// Ids stored in one row.
const PER_ROW: usize = 4_096;

/// The ids seen lately.
#[derive(Debug)]
pub(super) struct IdMarks {
    most: usize,
    lifetime_s: u32,
    generation: u32,
    /// Unix second at which the present generation began; 0 before the first id.
    started: u32,
    present: KeySet<u128>,
    previous: KeySet<u128>,
    /// Ids that the present commit has to make durable.
    fresh: Vec<u128>,
    next_part: u32,
    /// Rows that wait to be stored; only the last one still grows.
    waiting: VecDeque<IdList>,
}

#[derive(Debug)]
struct IdList {
    generation: u32,
    part: u32,
    started: u32,
    ids: Vec<u128>,
}

impl IdMarks {
    /// At most `most` ids per generation, a positive number.
    pub(super) fn new(most: usize, lifetime_s: u32) -> Self {
        Self {
            most: most.max(1),
            lifetime_s: lifetime_s.max(1),
            generation: 1,
            started: 0,
            present: KeySet::default(),
            previous: KeySet::default(),
            fresh: Vec::new(),
            next_part: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Whether an id was seen.
    pub(super) fn contains(&self, id: u128) -> bool {
        self.present.contains(&id) || self.previous.contains(&id)
    }

    /// Marks an id; false when it was seen before.
    pub(super) fn mark(&mut self, id: u128) -> bool {
        if self.previous.contains(&id) || !self.present.insert(id) {
            return false;
        }
        self.fresh.push(id);
        true
    }

    /// The commit worked: the marks stay. `new_row` is called for each row that will have to be stored.
    pub(super) fn keep(&mut self, mut new_row: impl FnMut()) {
        for id in self.fresh.drain(..) {
            let growing = self
                .waiting
                .back_mut()
                .filter(|list| list.ids.len() < PER_ROW && list.generation == self.generation);
            match growing {
                Some(list) => list.ids.push(id),
                None => {
                    self.waiting.push_back(IdList {
                        generation: self.generation,
                        part: self.next_part,
                        started: self.started,
                        ids: vec![id],
                    });
                    self.next_part += 1;
                    new_row();
                }
            }
        }
    }

    /// The commit failed: the marks never happened.
    pub(super) fn undo(&mut self) {
        for id in self.fresh.drain(..) {
            self.present.remove(&id);
        }
    }

    /// Begins a generation when it is time; only between commits.
    pub(super) fn turn(&mut self, now: u32) {
        if self.started == 0 {
            self.started = now;
        }
        let old = now.saturating_sub(self.started) >= self.lifetime_s;
        if self.present.len() >= self.most || old {
            self.previous = std::mem::take(&mut self.present);
            self.generation += 1;
            self.started = now;
            self.next_part = 0;
        }
    }

    /// Generations before this one may be deleted.
    pub(super) fn oldest_generation(&self) -> u32 {
        self.generation.saturating_sub(1)
    }

    /// The `nth` row that waits, as it is stored.
    pub(super) fn encode(&self, nth: usize) -> Option<IdRow> {
        let list = self.waiting.get(nth)?;
        let mut data = Vec::with_capacity(list.ids.len() * 16 + 16);
        let mut out = Writer(&mut data);
        out.u8(VERSION);
        out.u32(length(list.ids.len()));
        for id in &list.ids {
            out.u128(*id);
        }
        seal(&mut data);
        Some(IdRow {
            generation: list.generation,
            part: list.part,
            started: list.started,
            data,
        })
    }

    /// Notes that the first row that waited was stored.
    pub(super) fn stored(&mut self) {
        self.waiting.pop_front();
    }

    /// Takes a stored row back; rows come in the order of their generations.
    pub(super) fn restore(&mut self, row: &IdRow) -> Result<(), FormatError> {
        let mut reader = Reader::new(WHAT, unseal(WHAT, &row.data)?);
        reader.version(VERSION)?;
        while self.generation < row.generation {
            self.previous = std::mem::take(&mut self.present);
            self.generation += 1;
            self.next_part = 0;
            if self.generation + 1 < row.generation {
                // Nothing is stored of the generations between.
                self.generation = row.generation - 1;
            }
        }
        self.started = row.started;
        self.next_part = self.next_part.max(row.part + 1);
        for _ in 0..reader.count(16)? {
            self.present.insert(reader.u128()?);
        }
        reader.end()
    }
}
