//! Cells of a CSV file by column name, with errors that say file, line and column.

use csv::{ReaderBuilder, StringRecord};
use std::io::Read;

/// What is wrong in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}{}: {why}", .column.map(|name| format!(", column {name}")).unwrap_or_default())]
pub struct CsvError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The column, where one is meant.
    pub column: Option<&'static str>,
    /// What is wrong.
    pub why: String,
}

/// The rows of a file.
pub(super) struct Table<R> {
    file: String,
    reader: csv::Reader<Unix<R>>,
    header: StringRecord,
}

/// One row.
pub(super) struct Row<'t> {
    file: &'t str,
    header: &'t StringRecord,
    record: StringRecord,
    line: u64,
}

/// Without carriage returns: the parser counts lines wrongly where they stand before line feeds.
struct Unix<R>(R);

impl<R: Read> Read for Unix<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let read = self.0.read(buffer)?;
            let mut kept = 0;
            for at in 0..read {
                buffer[kept] = buffer[at];
                kept += usize::from(buffer[at] != b'\r');
            }
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}

impl<R: Read> Table<R> {
    /// Reads the header and checks that every wanted column is there.
    pub(super) fn new(file: &str, input: R, wanted: &[&'static str]) -> Result<Self, CsvError> {
        let mut reader = ReaderBuilder::new().from_reader(Unix(input));
        let header = reader.headers().map_err(|error| broken(file, 1, &error))?.clone();
        for column in wanted {
            if !header.iter().any(|name| name == *column) {
                let why = "the header has no such column; is this the right file?".into();
                return Err(CsvError { file: file.into(), line: 1, column: Some(column), why });
            }
        }
        Ok(Table { file: file.into(), reader, header })
    }

    /// The next row.
    pub(super) fn next_row(&mut self) -> Result<Option<Row<'_>>, CsvError> {
        let mut record = StringRecord::new();
        let line = self.reader.position().line();
        let more = self.reader.read_record(&mut record).map_err(|error| broken(&self.file, line, &error))?;
        let line = record.position().map_or(line, csv::Position::line);
        Ok(more.then_some(Row { file: &self.file, header: &self.header, record, line }))
    }
}

impl Row<'_> {
    /// A cell; empty where the column is missing.
    pub(super) fn cell(&self, column: &'static str) -> &str {
        let position = self.header.iter().position(|name| name == column);
        position.and_then(|at| self.record.get(at)).unwrap_or_default().trim()
    }

    /// An error at a column of this row.
    pub(super) fn wrong(&self, column: &'static str, must: &str) -> CsvError {
        let why = format!("{:?} is not {must}", self.cell(column));
        CsvError { file: self.file.into(), line: self.line, column: Some(column), why }
    }

    /// A whole number.
    pub(super) fn number<N: std::str::FromStr>(&self, column: &'static str) -> Result<N, CsvError> {
        self.cell(column).parse().map_err(|_| self.wrong(column, "a whole number in range"))
    }

    /// A decimal in thousandths, exactly: at most three places.
    pub(super) fn milli(&self, column: &'static str) -> Result<u32, CsvError> {
        milli(self.cell(column)).ok_or_else(|| self.wrong(column, "a decimal with at most three places"))
    }

    /// Quoted odds in thousandths; `None` where the cell is empty.
    pub(super) fn odds(&self, column: &'static str) -> Result<Option<u32>, CsvError> {
        if self.cell(column).is_empty() {
            return Ok(None);
        }
        let milli = self.milli(column)?;
        let fits =
            (touchline_protocol::Odds::MIN_MILLI..=touchline_protocol::Odds::MAX_MILLI).contains(&milli);
        if fits { Ok(Some(milli)) } else { Err(self.wrong(column, "decimal odds from 1.001 to 10000")) }
    }
}

fn broken(file: &str, line: u64, error: &csv::Error) -> CsvError {
    let line = error.position().map_or(line, csv::Position::line);
    let why = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} cells where the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".into(),
        _ => error.to_string(),
    };
    CsvError { file: file.into(), line, column: None, why }
}

/// Parses a decimal of at most three places into thousandths, without a float in between.
fn milli(text: &str) -> Option<u32> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || places.len() > 3 || !digits(whole) || !digits(places) {
        return None;
    }
    let fraction: u32 = format!("{places:0<3}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_alike_with_and_without_carriage_returns() {
        for end in ["\n", "\r\n"] {
            let text = ["a,b", "1,2", "x,3", "4"].join(end);
            let mut table = Table::new("t.csv", text.as_bytes(), &["a"]).unwrap();
            assert!(table.next_row().unwrap().unwrap().number::<u8>("a").is_ok());
            let wrong = table.next_row().unwrap().unwrap().number::<u8>("a").unwrap_err();
            assert_eq!((wrong.line, wrong.column), (3, Some("a")), "{end:?}");
            let short = table.next_row().err().unwrap();
            assert_eq!(short.line, 4, "{end:?}");
        }
    }

    #[test]
    fn decimals_are_exact() {
        for (text, wanted) in
            [("2.35", Some(2350)), ("8", Some(8000)), ("2766.2", Some(2_766_200)), ("1.001", Some(1001))]
        {
            assert_eq!(milli(text), wanted);
        }
        for text in ["", ".5", "-1", "1.2345", "1e3", "+2", "4294968"] {
            assert_eq!(milli(text), None, "{text}");
        }
    }
}
