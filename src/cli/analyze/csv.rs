//! Rows from CSV: commas, a heading, quotes as in RFC 4180.

use super::{
    row::{Column, Field, Fields, Places, Problem, checked, places},
    tally::Tally,
};
use ::csv::{ByteRecord, ReaderBuilder, Trim};
use anyhow::{Context as _, Result, bail};
use std::io::Read;

/// A row over more lines than this has a quote that opens and does not close.
const MOST_LINES: u64 = 100;

/// Counts every row of a CSV text.
///
/// # Errors
/// What stands in the way of reading it at all, or of going on.
pub(super) fn read(input: impl Read, tally: &mut Tally) -> Result<()> {
    let mut reader = ReaderBuilder::new()
        .flexible(true)
        .trim(Trim::All)
        .buffer_capacity(1 << 18)
        .from_reader(input);
    let heading = reader.byte_headers().context("cannot read")?;
    if heading.iter().all(<[u8]>::is_empty) {
        bail!("is empty: expected a line with the names of the columns, such as unit,variant,metric,value");
    }
    let width = heading.len();
    let places = columns(heading)?;
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).context("cannot read")? {
        let at = record.position().map_or(0, ::csv::Position::line);
        if reader.position().line().saturating_sub(at) > MOST_LINES {
            bail!("line {at}: a quote opens and does not close within {MOST_LINES} lines");
        }
        if record.len() == width {
            tally.take(checked(at, &fields(&record, &places)))?;
        } else {
            let (detail, column) = (format!("has {} fields instead of {width}", record.len()), None);
            tally.take(Err(Problem { at, column, detail }))?;
        }
    }
    Ok(())
}

fn columns(heading: &ByteRecord) -> Result<Places> {
    let names: Option<Vec<&str>> = heading
        .iter()
        .map(|name| std::str::from_utf8(name).ok())
        .collect();
    let Some(names) = names else {
        bail!("line 1: the names of the columns are not UTF-8: save the file as UTF-8");
    };
    places(names.iter().copied()).map_err(|wrong| {
        let single = names.len() == 1 && names[0].contains([';', '\t', '|']);
        let hint = if single {
            "; columns are separated by commas"
        } else {
            ""
        };
        anyhow::anyhow!("line 1: {wrong}{hint}")
    })
}

fn fields<'a>(record: &'a ByteRecord, places: &Places) -> Fields<'a> {
    let mut fields = [Field::Absent; Column::ALL.len()];
    for (field, place) in fields.iter_mut().zip(places) {
        if let Some(bytes) = place.and_then(|place| record.get(place)) {
            *field = Field::Text(bytes);
        }
    }
    fields
}
