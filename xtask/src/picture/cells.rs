//! What a terminal shows: bytes in, rows of coloured characters out. It knows what our programs and a shell send: carriage
//! return, line feed, backspace, erasing to the end of the line, and colours; every other sequence is left out. Rows that
//! scroll out at the top are gone.

use std::time::Duration;

/// How a character looks. `colour`: the eight of a terminal, by number; None: the usual one.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Look {
    /// 1 is red, 2 green, 3 yellow ...
    pub colour: Option<u8>,
    /// In bold type.
    pub is_bold: bool,
}

/// One row, and when it got what it shows.
#[derive(Default)]
pub struct Row {
    /// The characters from the left on.
    pub cells: Vec<(char, Look)>,
    /// Since the beginning.
    pub at: Duration,
}

impl Row {
    /// Its characters, without spaces at the end.
    pub fn text(&self) -> String {
        let text: String = self.cells.iter().map(|cell| cell.0).collect();
        text.trim_end().to_owned()
    }
}

/// The screen of one terminal.
pub struct Cells {
    columns: usize,
    rows_max: usize,
    /// From the top on; the cursor is in the last one.
    pub rows: Vec<Row>,
    column: usize,
    look: Look,
    /// What came of a sequence or a character so far.
    begun: Vec<u8>,
}

impl Cells {
    /// An empty screen of this size.
    pub fn new(columns: usize, rows_max: usize) -> Cells {
        Cells {
            columns,
            rows_max,
            rows: vec![Row::default()],
            column: 0,
            look: Look::default(),
            begun: Vec::new(),
        }
    }

    /// Shows what came `at` this time.
    pub fn feed(&mut self, bytes: &[u8], at: Duration) {
        for byte in bytes {
            self.begun.push(*byte);
            if self.begun[0] == b'\x1b' {
                if is_whole_sequence(&self.begun) {
                    let sequence = std::mem::take(&mut self.begun);
                    self.obey(&sequence, at);
                }
            } else if let Ok(text) = std::str::from_utf8(&self.begun) {
                let letter = text.chars().next();
                self.begun.clear();
                letter.into_iter().for_each(|letter| self.put(letter, at));
            } else if self.begun.len() > 4 {
                self.begun.clear();
            }
        }
    }

    fn put(&mut self, letter: char, at: Duration) {
        match letter {
            '\r' => self.column = 0,
            '\n' => self.next_row(),
            '\x08' => self.column = self.column.saturating_sub(1),
            letter if letter.is_control() => {}
            letter => {
                if self.column == self.columns {
                    self.next_row();
                    self.column = 0;
                }
                let (column, look) = (self.column, self.look);
                let row = self.row();
                if row.cells.len() <= column {
                    row.cells.resize(column + 1, (' ', Look::default()));
                }
                row.cells[column] = (letter, look);
                row.at = at;
                self.column += 1;
            }
        }
    }

    fn next_row(&mut self) {
        self.rows.push(Row::default());
        if self.rows.len() > self.rows_max {
            self.rows.remove(0);
        }
    }

    fn row(&mut self) -> &mut Row {
        self.rows.last_mut().expect("there is always one")
    }

    fn obey(&mut self, sequence: &[u8], at: Duration) {
        let Some(inner) = sequence.strip_prefix(b"\x1b[") else {
            return;
        };
        let inner = String::from_utf8_lossy(inner);
        let (numbers, what) = inner.split_at(inner.len() - 1);
        match (what, numbers) {
            ("K", "" | "0") => {
                let column = self.column;
                let row = self.row();
                row.cells.truncate(column);
                row.at = at;
            }
            ("m", _) => numbers
                .split(';')
                .for_each(|number| self.look = with(self.look, number.parse().unwrap_or(0))),
            _ => {}
        }
    }
}

fn is_whole_sequence(begun: &[u8]) -> bool {
    match begun {
        [_] | [_, b'[' | b']'] => false,
        [_, b'[', .., last] => (0x40..0x7f).contains(last),
        // A title, until it is ended.
        [_, b']', .., last] => *last == b'\x07',
        _ => true,
    }
}

fn with(look: Look, number: u8) -> Look {
    match number {
        0 => Look::default(),
        1 => Look {
            is_bold: true,
            ..look
        },
        22 => Look {
            is_bold: false,
            ..look
        },
        30..=37 | 90..=97 => Look {
            colour: Some(number % 10),
            ..look
        },
        39 => Look {
            colour: None,
            ..look
        },
        _ => look,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(columns: usize, rows: usize, text: &str) -> Vec<String> {
        let mut cells = Cells::new(columns, rows);
        // A byte at a time, as a pipe may give them.
        for byte in text.as_bytes() {
            cells.feed(&[*byte], Duration::ZERO);
        }
        cells.rows.iter().map(Row::text).collect()
    }

    /// A line that is drawn anew leaves nothing of the old one.
    #[test]
    fn a_status_line_is_replaced() {
        let text = "debug: 9:58 left\r\x1b[K\x1b[33mnote:\x1b[0m a\r\nnext";
        assert_eq!(shown(40, 9, text), ["note: a", "next"]);
    }

    #[test]
    fn long_rows_go_on_below_and_old_ones_out() {
        assert_eq!(shown(4, 2, "abcdef\r\ngh"), ["ef", "gh"]);
        assert_eq!(shown(4, 9, "abcd\r\ne\x08f"), ["abcd", "f"]);
    }

    #[test]
    fn colours_are_kept_and_other_sequences_left_out() {
        let mut cells = Cells::new(20, 2);
        let text = "\x1b]0;title\x07\x1b[?2004h\x1b[1;36mä\x1b[0mb";
        cells.feed(text.as_bytes(), Duration::from_millis(7));
        let cyan = Look {
            colour: Some(6),
            is_bold: true,
        };
        assert_eq!(cells.rows[0].cells, [('ä', cyan), ('b', Look::default())]);
        assert_eq!(cells.rows[0].at, Duration::from_millis(7));
    }
}
