//! Aligned columns for people.

use std::fmt;

/// Space between two columns.
const GAP: &str = "  ";

/// A table with a heading; columns are as wide as their widest cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    heading: Vec<String>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table. A heading that starts with `>` makes its column align to the right, as figures do.
    pub(super) fn new(headings: &[&str]) -> Self {
        Self {
            heading: headings
                .iter()
                .map(|name| name.trim_start_matches('>').to_owned())
                .collect(),
            right: headings.iter().map(|name| name.starts_with('>')).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; missing cells are empty, and control characters are made harmless.
    pub(super) fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows
            .push(cells.into_iter().map(|cell| plain(cell.as_ref())).collect());
    }

    /// Whether there is nothing but the heading.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn widths(&self) -> Vec<usize> {
        let lines = || std::iter::once(&self.heading).chain(&self.rows);
        let width = |column: usize| {
            lines()
                .filter_map(|cells| cells.get(column))
                .map(|cell| length(cell))
                .max()
        };
        (0..self.heading.len())
            .map(|column| width(column).unwrap_or(0))
            .collect()
    }
}

impl fmt::Display for Table {
    /// Every line ends with a line's end and has no space before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for cells in std::iter::once(&self.heading).chain(&self.rows) {
            let mut line = String::new();
            for (column, width) in widths.iter().enumerate() {
                let cell = cells.get(column).map_or("", String::as_str);
                let padding = " ".repeat(width - length(cell));
                let right = self.right.get(column).copied().unwrap_or(false);
                if column > 0 {
                    line.push_str(GAP);
                }
                if right {
                    line.push_str(&padding);
                }
                line.push_str(cell);
                if !right {
                    line.push_str(&padding);
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Names and values below each other, indented by two.
pub(super) fn facts(pairs: &[(&str, String)]) -> String {
    let widest = pairs.iter().map(|(name, _)| length(name)).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| {
        let padding = " ".repeat(widest - length(name));
        format!("  {name}{padding}{GAP}{}\n", plain(value))
    };
    pairs.iter().map(line).collect()
}

/// Text from elsewhere on one line: control characters, which could steer a terminal, become spaces.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Puts two spaces before every line that is not empty.
pub(super) fn indented(text: &str) -> String {
    let line = |line: &str| {
        if line.is_empty() {
            "\n".to_owned()
        } else {
            format!("  {line}\n")
        }
    };
    text.lines().map(line).collect()
}

/// The width of text in a terminal, close enough for Latin letters, dashes and arrows.
fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_have_no_trailing_space() {
        let mut table = Table::new(&["arm", ">n", "mean ± se"]);
        table.row(["control", "5,001", "71.0 % ± 0.8"]);
        table.row(["b", "12", ""]);
        table.row(["short row"]);
        assert_eq!(
            table.to_string(),
            "arm            n  mean ± se\n\
             control    5,001  71.0 % ± 0.8\n\
             b             12\n\
             short row\n"
        );
    }

    #[test]
    fn an_empty_table_is_its_heading() {
        let table = Table::new(&["a", ">b"]);
        assert!(table.is_empty());
        assert_eq!(table.to_string(), "a  b\n");
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        let mut table = Table::new(&["id"]);
        table.row(["a\u{1b}[2Jb\nc"]);
        assert_eq!(table.to_string(), "id\na [2Jb c\n");
        assert_eq!(
            facts(&[("id", "x\r".into()), ("owner", "y".into())]),
            "  id     x \n  owner  y\n"
        );
    }
}
