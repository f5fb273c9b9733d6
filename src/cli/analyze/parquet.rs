//! Rows from Parquet: the columns side by side, a batch at a time, without building rows of the whole file.

use super::{
    row::{Column, Field, Fields, checked, places},
    tally::Tally,
};
use ::parquet::{
    basic::{ConvertedType, LogicalType, TimeUnit, Type},
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{BoolType, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type, Int96Type},
    errors::ParquetError,
    file::{
        metadata::ParquetMetaData,
        reader::{FileReader as _, RowGroupReader},
        serialized_reader::SerializedFileReader,
    },
    schema::types::ColumnDescriptor,
};
use anyhow::{Result, anyhow, bail};
use indicatif::ProgressBar;
use std::fs::File;

/// Rows that are taken out of every column at once.
const BATCH: usize = 8192;
const MS_PER_DAY: i64 = 86_400_000;

/// Counts every row of a Parquet file.
///
/// # Errors
/// What stands in the way of reading it at all, or of going on.
pub(super) fn read(file: File, bar: &ProgressBar, tally: &mut Tally) -> Result<()> {
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    let wanted = columns(reader.metadata())?;
    let (mut at, mut bytes) = (0, 0);
    for index in 0..reader.num_row_groups() {
        let group = reader.get_row_group(index).map_err(unreadable)?;
        let size = u64::try_from(group.metadata().compressed_size()).unwrap_or(0);
        let rows = u64::try_from(group.metadata().num_rows()).unwrap_or(0);
        let before = at;
        let read = group_rows(&*group, &wanted, rows, |fields| {
            at += 1;
            if at % (BATCH as u64) == 0 {
                bar.set_position(bytes + size * (at - before) / rows.max(1));
            }
            tally.take(checked(at, fields))
        });
        read?;
        bytes += size;
    }
    Ok(())
}

/// The columns that are read, in the order of [`Column::ALL`].
type Wanted = [Option<(usize, Meaning)>; Column::ALL.len()];

fn columns(metadata: &ParquetMetaData) -> Result<Wanted> {
    let schema = metadata.file_metadata().schema_descr();
    // A nested field is not a column, even when its last name is that of one.
    let flat = |column: &ColumnDescriptor| column.path().parts().len() == 1 && column.max_rep_level() == 0;
    let names = schema
        .columns()
        .iter()
        .map(|column| if flat(column) { column.name() } else { "(nested)" });
    let places = places(names).map_err(|wrong| anyhow!("columns {wrong}"))?;
    let mut wanted = Wanted::default();
    for ((column, place), wanted) in Column::ALL.into_iter().zip(places).zip(&mut wanted) {
        let Some(place) = place else { continue };
        let descriptor = schema.column(place);
        let Some(meaning) = meaning(column, &descriptor) else {
            bail!(
                "column `{}` is of type {}, but must be {}",
                column.name(),
                type_name(&descriptor),
                allowed(column)
            );
        };
        *wanted = Some((place, meaning));
    }
    Ok(wanted)
}

fn type_name(column: &ColumnDescriptor) -> String {
    match (column.logical_type_ref(), column.converted_type()) {
        (Some(logical), _) => format!("{} ({logical:?})", column.physical_type()),
        (None, ConvertedType::NONE) => column.physical_type().to_string(),
        (None, converted) => format!("{} ({converted})", column.physical_type()),
    }
}

fn allowed(column: Column) -> &'static str {
    match column {
        Column::Unit | Column::Variant | Column::Metric => "a string or a whole number",
        Column::Value | Column::Covariate => "DOUBLE, FLOAT, INT64, INT32 or BOOLEAN, and no decimal or time",
        Column::Time => "a timestamp, a date, an RFC 3339 string, or seconds or milliseconds since 1970",
    }
}

/// What the numbers of a column stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    AsWritten,
    Unsigned,
    Milliseconds,
    Microseconds,
    Nanoseconds,
    Days,
}

/// What a column's type means there; none where it cannot be used.
fn meaning(column: Column, of: &ColumnDescriptor) -> Option<Meaning> {
    let meaning = match (of.logical_type_ref(), of.converted_type()) {
        (Some(LogicalType::Timestamp(time)), _) => match time.unit {
            TimeUnit::MILLIS => Meaning::Milliseconds,
            TimeUnit::MICROS => Meaning::Microseconds,
            TimeUnit::NANOS => Meaning::Nanoseconds,
        },
        (_, ConvertedType::TIMESTAMP_MILLIS) => Meaning::Milliseconds,
        (_, ConvertedType::TIMESTAMP_MICROS) => Meaning::Microseconds,
        (Some(LogicalType::Date), _) | (_, ConvertedType::DATE) => Meaning::Days,
        (Some(LogicalType::Integer(integer)), _) if !integer.is_signed => Meaning::Unsigned,
        (
            _,
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64,
        ) => Meaning::Unsigned,
        (
            None | Some(LogicalType::String | LogicalType::Enum | LogicalType::Integer(_)),
            ConvertedType::NONE
            | ConvertedType::UTF8
            | ConvertedType::ENUM
            | ConvertedType::INT_8
            | ConvertedType::INT_16
            | ConvertedType::INT_32
            | ConvertedType::INT_64,
        ) => Meaning::AsWritten,
        _ => return None,
    };
    let number = matches!(meaning, Meaning::AsWritten | Meaning::Unsigned);
    let fits = match (column, of.physical_type()) {
        (_, Type::FIXED_LEN_BYTE_ARRAY) => false,
        (Column::Time, Type::BOOLEAN) => false,
        (Column::Time, _) => true,
        (Column::Unit | Column::Variant | Column::Metric, physical) => {
            number
                && matches!(
                    physical,
                    Type::BYTE_ARRAY | Type::INT32 | Type::INT64 | Type::BOOLEAN
                )
        }
        (Column::Value | Column::Covariate, physical) => {
            number && !matches!(physical, Type::BYTE_ARRAY | Type::INT96)
        }
    };
    fits.then_some(meaning)
}

fn group_rows(
    group: &dyn RowGroupReader,
    wanted: &Wanted,
    rows: u64,
    mut row: impl FnMut(&Fields<'_>) -> Result<()>,
) -> Result<()> {
    let mut sources: Vec<(usize, Source)> = Vec::with_capacity(Column::ALL.len());
    for (index, column) in wanted.iter().enumerate() {
        if let Some((place, meaning)) = *column {
            let nullable = group.metadata().schema_descr().column(place).max_def_level();
            let reader = group.get_column_reader(place).map_err(unreadable)?;
            sources.push((index, Source::new(reader, meaning, nullable)?));
        }
    }
    let mut done = 0;
    while done < rows {
        let mut read = BATCH;
        for (_, source) in &mut sources {
            let found = source.fill()?;
            // Columns of one group have as many rows each, and so have their batches.
            if found == 0 || (read != BATCH && found != read) {
                bail!("is damaged: columns of one row group differ in length");
            }
            read = found;
        }
        let mut columns: Vec<(usize, Vec<Field<'_>>)> = Vec::with_capacity(sources.len());
        for (index, source) in &sources {
            columns.push((*index, source.fields(read)?));
        }
        let mut fields = [Field::Absent; Column::ALL.len()];
        for at in 0..read {
            for (index, column) in &columns {
                fields[*index] = column[at];
            }
            row(&fields)?;
        }
        done += read as u64;
    }
    Ok(())
}

/// A column being read, with its present batch.
struct Source {
    meaning: Meaning,
    /// The definition level of a value that is there; 0 where every value is.
    there: i16,
    levels: Vec<i16>,
    batch: Batch,
}

enum Batch {
    Truth(Typed<BoolType>),
    Int32(Typed<Int32Type>),
    Int64(Typed<Int64Type>),
    Int96(Typed<Int96Type>),
    Float(Typed<FloatType>),
    Double(Typed<DoubleType>),
    Bytes(Typed<ByteArrayType>),
}

struct Typed<T: DataType> {
    reader: ColumnReaderImpl<T>,
    values: Vec<T::T>,
}

impl<T: DataType> Typed<T> {
    fn new(reader: ColumnReaderImpl<T>) -> Self {
        let values = Vec::with_capacity(BATCH);
        Self { reader, values }
    }

    fn fill(&mut self, levels: &mut Vec<i16>) -> Result<usize> {
        self.values.clear();
        levels.clear();
        let read = self
            .reader
            .read_records(BATCH, Some(levels), None, &mut self.values);
        read.map(|(records, ..)| records).map_err(unreadable)
    }
}

impl Source {
    fn new(reader: ColumnReader, meaning: Meaning, there: i16) -> Result<Self> {
        let batch = match reader {
            ColumnReader::BoolColumnReader(reader) => Batch::Truth(Typed::new(reader)),
            ColumnReader::Int32ColumnReader(reader) => Batch::Int32(Typed::new(reader)),
            ColumnReader::Int64ColumnReader(reader) => Batch::Int64(Typed::new(reader)),
            ColumnReader::Int96ColumnReader(reader) => Batch::Int96(Typed::new(reader)),
            ColumnReader::FloatColumnReader(reader) => Batch::Float(Typed::new(reader)),
            ColumnReader::DoubleColumnReader(reader) => Batch::Double(Typed::new(reader)),
            ColumnReader::ByteArrayColumnReader(reader) => Batch::Bytes(Typed::new(reader)),
            ColumnReader::FixedLenByteArrayColumnReader(_) => bail!("has a column of an unknown type"),
        };
        Ok(Self {
            meaning,
            there,
            levels: Vec::with_capacity(BATCH),
            batch,
        })
    }

    /// Reads the next batch and says how many rows it has.
    fn fill(&mut self) -> Result<usize> {
        let levels = &mut self.levels;
        match &mut self.batch {
            Batch::Truth(typed) => typed.fill(levels),
            Batch::Int32(typed) => typed.fill(levels),
            Batch::Int64(typed) => typed.fill(levels),
            Batch::Int96(typed) => typed.fill(levels),
            Batch::Float(typed) => typed.fill(levels),
            Batch::Double(typed) => typed.fill(levels),
            Batch::Bytes(typed) => typed.fill(levels),
        }
    }

    /// The batch, with what is not there.
    fn fields(&self, rows: usize) -> Result<Vec<Field<'_>>> {
        let meaning = self.meaning;
        match &self.batch {
            Batch::Truth(typed) => self.spread(rows, &typed.values, |value| Field::Truth(*value)),
            Batch::Int32(typed) => self.spread(rows, &typed.values, |value| match meaning {
                Meaning::Days => Field::Moment(i64::from(*value) * MS_PER_DAY),
                Meaning::Unsigned => Field::Whole(value.cast_unsigned().into()),
                _ => Field::Whole((*value).into()),
            }),
            Batch::Int64(typed) => self.spread(rows, &typed.values, |value| match meaning {
                Meaning::Milliseconds => Field::Moment(*value),
                Meaning::Microseconds => Field::Moment(value.div_euclid(1000)),
                Meaning::Nanoseconds => Field::Moment(value.div_euclid(1_000_000)),
                Meaning::Unsigned => Field::Whole(value.cast_unsigned().into()),
                _ => Field::Whole((*value).into()),
            }),
            Batch::Int96(typed) => self.spread(rows, &typed.values, |value| Field::Moment(value.to_millis())),
            Batch::Float(typed) => self.spread(rows, &typed.values, |value| Field::Number((*value).into())),
            Batch::Double(typed) => self.spread(rows, &typed.values, |value| Field::Number(*value)),
            Batch::Bytes(typed) => self.spread(rows, &typed.values, |value| Field::Text(value.data())),
        }
    }

    fn spread<'b, T>(
        &'b self,
        rows: usize,
        values: &'b [T],
        field: impl Fn(&'b T) -> Field<'b>,
    ) -> Result<Vec<Field<'b>>> {
        let mut values = values.iter();
        let mut next = || values.next().map(&field);
        let fields: Option<Vec<_>> = if self.there == 0 {
            (0..rows).map(|_| next()).collect()
        } else {
            let levels = self.levels.iter().take(rows);
            levels
                .map(|level| {
                    if *level < self.there {
                        Some(Field::Absent)
                    } else {
                        next()
                    }
                })
                .collect()
        };
        fields
            .filter(|fields| fields.len() == rows)
            .ok_or_else(|| anyhow!("is damaged: a column has fewer values than rows"))
    }
}

fn unreadable(error: ParquetError) -> anyhow::Error {
    match error {
        ParquetError::NYI(what) => anyhow!("cannot read this Parquet file: {what}"),
        ParquetError::General(what) if what.contains("Disabled feature") => {
            anyhow!("is compressed in a way this program does not read ({what}): use zstd, snappy or gzip")
        }
        other => anyhow!("is damaged, or no Parquet file: {other}"),
    }
}
