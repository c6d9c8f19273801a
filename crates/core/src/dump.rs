//! What `dump` shows.

use std::fmt;

/// A head and lines below it. A line that repeats the one before it is counted instead.
pub(crate) struct Dump {
    head: String,
    lines: Vec<(String, usize)>,
}

impl Dump {
    pub(crate) fn new(head: String) -> Self {
        Self { head, lines: Vec::new() }
    }

    pub(crate) fn line(&mut self, line: String) {
        match self.lines.last_mut() {
            Some((last, times)) if *last == line => *times += 1,
            _ => self.lines.push((line, 1)),
        }
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head)?;
        for (line, times) in &self.lines {
            write!(f, "\n    {line}")?;
            if *times > 1 {
                write!(f, " x{times}")?;
            }
        }
        Ok(())
    }
}
