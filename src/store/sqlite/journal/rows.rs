//! What the journal takes and gives back: bytes with the numbers it needs to find them.

/// Bytes of a state's key.
pub const STATE_KEY: usize = 12;

/// One stored piece of the state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateRow {
    /// Which piece.
    pub key: [u8; STATE_KEY],
    /// The journal entry up to which, inclusive, it has everything.
    pub through: u64,
    /// What it holds.
    pub data: Vec<u8>,
}

/// The marks of a run of receipts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRow {
    /// Which run; below 2⁵².
    pub block: u64,
    /// Unix second of the newest receipt marked in it.
    pub newest: u32,
    /// The marks.
    pub data: Vec<u8>,
}

/// Some ids of one generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdRow {
    /// The generation.
    pub generation: u32,
    /// Its number within the generation.
    pub part: u32,
    /// Unix second at which the generation began.
    pub started: u32,
    /// The ids.
    pub data: Vec<u8>,
}

/// One hour of one series of counts by minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinuteRow {
    /// The experiment's key.
    pub experiment: u32,
    /// Which series of it.
    pub series: u32,
    /// Hours since 1970.
    pub hour: u32,
    /// The epoch.
    pub epoch: u32,
    /// The arm.
    pub arm: u8,
    /// The journal entry up to which, inclusive, it has everything.
    pub through: u64,
    /// What it holds.
    pub data: Vec<u8>,
}

/// Where the reading of a series goes on: behind this hour, epoch and arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinuteCursor {
    hour: i64,
    epoch: i64,
    arm: i64,
}

impl MinuteCursor {
    /// In front of everything from this hour on.
    #[must_use]
    pub fn from_hour(hour: u32) -> Self {
        Self {
            hour: i64::from(hour),
            epoch: -1,
            arm: -1,
        }
    }

    /// Behind a row.
    #[must_use]
    pub fn behind(row: &MinuteRow) -> Self {
        Self {
            hour: i64::from(row.hour),
            epoch: i64::from(row.epoch),
            arm: i64::from(row.arm),
        }
    }

    pub(super) fn parts(self) -> [i64; 3] {
        [self.hour, self.epoch, self.arm]
    }
}

/// One tagged outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedRow {
    /// The experiment's key.
    pub experiment: u32,
    /// The tag.
    pub tag: String,
    /// What is kept of the outcome.
    pub item: String,
}

/// Everything one commit writes.
#[derive(Debug, Default)]
pub struct Writes<'a> {
    /// The next journal entry; its number is [`super::Journal::last`] + 1.
    pub entry: Option<&'a [u8]>,
    /// States to insert or replace.
    pub states: Vec<StateRow>,
    /// Receipt marks to insert or replace.
    pub receipts: Vec<ReceiptRow>,
    /// Ids to insert or replace.
    pub ids: Vec<IdRow>,
    /// Hours of minutes to insert or replace.
    pub minutes: Vec<MinuteRow>,
    /// Tagged outcomes to add, oldest first.
    pub tagged: Vec<TaggedRow>,
    /// Entries up to this one, inclusive, are covered by states and may go.
    pub covered: u64,
    /// Receipt marks older than this Unix second may go.
    pub receipts_before: u32,
    /// Hours of minutes before this one may go.
    pub minutes_before: u32,
    /// Generations of ids before this one may go.
    pub generations_before: u32,
}
