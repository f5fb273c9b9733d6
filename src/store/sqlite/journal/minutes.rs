//! Counts by minute: one row per series and hour, which are read by time and deleted by age.

use super::{Journal, MinuteCursor, MinuteRow, PAGE, store_error};
use crate::store::error::StoreError;
use rusqlite::{Row, Transaction, params};

pub(super) const SCHEMA: &str = "
    CREATE TABLE minutes (id INTEGER PRIMARY KEY, experiment INTEGER NOT NULL, series INTEGER NOT NULL,
                          hour INTEGER NOT NULL, epoch INTEGER NOT NULL, arm INTEGER NOT NULL,
                          through INTEGER NOT NULL, data BLOB NOT NULL,
                          UNIQUE (experiment, series, hour, epoch, arm));
    CREATE INDEX minutes_by_hour ON minutes (hour);";

impl Journal {
    /// Visits all stored series of one hour, in no order.
    ///
    /// # Errors
    /// [`StoreError`] of the store or of the visitor.
    pub fn minutes_of(
        &self,
        hour: u32,
        mut visit: impl FnMut(MinuteRow) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT experiment, series, hour, epoch, arm, through, data FROM minutes WHERE hour = ?1",
            )
            .map_err(store_error)?;
        let mut rows = statement.query([hour]).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            visit(read(row).map_err(store_error)?)?;
        }
        Ok(())
    }

    /// Up to `limit` stored hours of a series behind a cursor, up to and with the hour `last`: by hour, epoch and
    /// arm.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn minutes(
        &self,
        (experiment, series): (u32, u32),
        after: MinuteCursor,
        last: u32,
        limit: u32,
    ) -> Result<Vec<MinuteRow>, StoreError> {
        let [hour, epoch, arm] = after.parts();
        let rows = || {
            let mut statement = self.connection.prepare_cached(
                "SELECT experiment, series, hour, epoch, arm, through, data FROM minutes
                 WHERE experiment = ?1 AND series = ?2 AND (hour, epoch, arm) > (?3, ?4, ?5) AND hour <= ?6
                 ORDER BY hour, epoch, arm LIMIT ?7",
            )?;
            let rows =
                statement.query_map(params![experiment, series, hour, epoch, arm, last, limit], read)?;
            rows.collect::<rusqlite::Result<_>>()
        };
        rows().map_err(store_error)
    }

    /// Whether there are minutes older than an hour.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn has_minutes_before(&self, hour: u32) -> Result<bool, StoreError> {
        self.connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM minutes WHERE hour < ?1)")
            .and_then(|mut statement| statement.query_row([hour], |row| row.get(0)))
            .map_err(store_error)
    }
}

/// Inserts or replaces; says about how many pages that were.
pub(super) fn write(transaction: &Transaction<'_>, rows: &[MinuteRow]) -> rusqlite::Result<usize> {
    let mut pages = 0;
    for row in rows {
        transaction
            .prepare_cached(
                "INSERT INTO minutes (experiment, series, hour, epoch, arm, through, data)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (experiment, series, hour, epoch, arm)
                 DO UPDATE SET through = excluded.through, data = excluded.data",
            )?
            .execute(params![
                row.experiment,
                row.series,
                row.hour,
                row.epoch,
                row.arm,
                row.through.cast_signed(),
                row.data
            ])?;
        pages += 2 + row.data.len() / PAGE;
    }
    Ok(pages)
}

/// Deletes up to `limit` of what is older than an hour, the oldest first.
pub(super) fn delete(transaction: &Transaction<'_>, before: u32, limit: u32) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM minutes WHERE id IN (SELECT id FROM minutes WHERE hour < ?1 ORDER BY hour LIMIT ?2)",
        )?
        .execute(params![before, limit])?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<MinuteRow> {
    let through: i64 = row.get(5)?;
    Ok(MinuteRow {
        experiment: row.get(0)?,
        series: row.get(1)?,
        hour: row.get(2)?,
        epoch: row.get(3)?,
        arm: row.get(4)?,
        through: through.unsigned_abs(),
        data: row.get(6)?,
    })
}
