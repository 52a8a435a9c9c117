//! Tables for terminals: aligned columns, a rule under the head, nothing else.

/// Which edge of its column a cell keeps to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Align {
    /// Text.
    #[default]
    Left,
    /// Figures.
    Right,
}

/// A table of text: give it columns, then rows.
///
/// ```
/// use peregrine_report::table::Table;
/// let mut table = Table::new().left("stage").right("count");
/// table.row(["decode", "1,234"]);
/// assert_eq!(table.to_text(80), "stage   count\n------  -----\ndecode  1,234\n");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Table {
    heads: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

/// Between two columns.
const GAP: &str = "  ";
/// A cut cell ends with this.
const CUT: char = '…';
/// Narrower than this no column is cut.
const COLUMN_WIDTH_MIN: usize = 8;

impl Table {
    /// A table without columns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column of text.
    #[must_use]
    pub fn left(mut self, head: &str) -> Self {
        self.heads.push((head.to_owned(), Align::Left));
        self
    }

    /// Adds a column of figures.
    #[must_use]
    pub fn right(mut self, head: &str) -> Self {
        self.heads.push((head.to_owned(), Align::Right));
        self
    }

    /// Adds a row. Missing cells are empty; cells beyond the last column are left out.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) -> &mut Self {
        let mut row: Vec<String> = cells.into_iter().map(|cell| one_line(&cell.into())).collect();
        row.resize(self.heads.len(), String::new());
        self.rows.push(row);
        self
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines of at most `width` characters where that can be had: columns of text are cut, the widest
    /// first, down to eight characters; figures never are. Without heads (all empty) the head and its rule are left
    /// out.
    #[must_use]
    pub fn to_text(&self, width: usize) -> String {
        let widths = self.widths(width);
        let mut text = String::new();
        if self.heads.iter().any(|(head, _)| !head.is_empty()) {
            let heads: Vec<_> = self.heads.iter().map(|(head, _)| head.clone()).collect();
            let rules: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
            self.line(&mut text, &heads, &widths);
            self.line(&mut text, &rules, &widths);
        }
        for row in &self.rows {
            self.line(&mut text, row, &widths);
        }
        text
    }

    fn line(&self, text: &mut String, cells: &[String], widths: &[usize]) {
        let mut line = String::new();
        for (column, ((cell, (_, align)), width)) in cells.iter().zip(&self.heads).zip(widths).enumerate() {
            if column > 0 {
                line.push_str(GAP);
            }
            let cell = cut(cell, *width);
            match align {
                Align::Left => line.push_str(&format!("{cell:<width$}")),
                Align::Right => line.push_str(&format!("{cell:>width$}")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }

    fn widths(&self, width: usize) -> Vec<usize> {
        let natural = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| chars(cell));
            let head = self.heads.get(column).map_or(0, |(head, _)| chars(head));
            cells.fold(head, usize::max)
        };
        let mut widths: Vec<usize> = (0..self.heads.len()).map(natural).collect();
        let gaps = GAP.len().saturating_mul(widths.len().saturating_sub(1));
        loop {
            let excess = widths.iter().sum::<usize>().saturating_add(gaps).saturating_sub(width);
            let lefts = widths.iter_mut().zip(&self.heads).filter(|(_, (_, align))| *align == Align::Left);
            let widest = lefts.map(|(width, _)| width).max().filter(|width| **width > COLUMN_WIDTH_MIN);
            match widest {
                Some(widest) if excess > 0 => *widest = widest.saturating_sub(1),
                Some(_) | None => return widths,
            }
        }
    }
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

/// A cell is one line: control characters, line feeds and escape sequences among them, become spaces.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn cut(text: &str, width: usize) -> String {
    if chars(text) <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain([CUT]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new().left("file").right("messages").left("end");
        table.row(["a/very/long/path/of/a/file.itch", "1,234,567", "complete"]);
        table.row(["µ", "1", ""]);
        table
    }

    #[test]
    fn figures_stand_to_the_right_and_lines_end_where_their_text_does() {
        let lines = "\
file                              messages  end
-------------------------------  ---------  --------
a/very/long/path/of/a/file.itch  1,234,567  complete
µ                                        1
";
        assert_eq!(table().to_text(100), lines);
    }

    #[test]
    fn text_is_cut_to_the_width_and_figures_are_not() {
        let lines = "\
file       messages  end
--------  ---------  --------
a/very/…  1,234,567  complete
µ                 1
";
        assert_eq!(table().to_text(10), lines);
        assert!(table().to_text(40).lines().all(|line| line.chars().count() <= 40));
    }

    #[test]
    fn cells_cannot_break_the_table_or_drive_the_terminal() {
        let mut table = Table::new().left("").left("");
        table.row(["a\nb\x1b[31m", "c", "beyond"]);
        assert_eq!(table.to_text(80), "a b [31m  c\n");
    }

    #[test]
    fn an_empty_table_is_its_head() {
        assert_eq!(Table::new().to_text(80), "");
        assert_eq!(Table::new().left("a").to_text(80), "a\n-\n");
    }
}
