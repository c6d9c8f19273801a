//! Points in time and spans as the session store counts them: whole milliseconds.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A point in time, in milliseconds since 1970.
///
/// The store never reads a clock: whoever calls it passes the time in, so that a test can have any
/// time it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(i64);

impl Stamp {
    /// The wall clock's time.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// `millis` milliseconds after 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This time plus `span`.
    #[must_use]
    pub fn after(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.millis()))
    }

    /// This time less `span`.
    #[must_use]
    pub fn before(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.millis()))
    }

    /// How long ago `earlier` was; nothing if it is yet to come.
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0).max(0))
    }
}

/// A length of time, in milliseconds, written `30s`, `5m`, `1h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(i64);

impl Span {
    /// `seconds` seconds.
    pub const fn seconds(seconds: i64) -> Self {
        Self(seconds * 1000)
    }

    /// `millis` milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Its length in milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Its length as the standard library counts it.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0.unsigned_abs())
    }
}

impl fmt::Display for Span {
    /// The two largest units that are not zero: `6d 23h`, `59m`, `12s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0 / 1000;
        let mut written = 0;
        for (unit, seconds) in UNITS {
            let count = rest / seconds;
            rest %= seconds;
            if count > 0 && written < 2 {
                let gap = if written > 0 { " " } else { "" };
                write!(f, "{gap}{count}{unit}")?;
                written += 1;
            } else if written > 0 {
                break;
            }
        }
        if written == 0 { f.write_str("0s") } else { Ok(()) }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is no length of time; write 30s, 5m, 1h or 7d");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &text[digits.len()..];
        let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
        // `parse` alone would take a sign.
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(expected());
        }
        let count: i64 = digits.parse().map_err(|_| expected())?;
        let seconds = count.checked_mul(*seconds).filter(|s| *s <= LONGEST).ok_or_else(|| {
            format!("`{text}` is too long; ten years ({}d) is the most", LONGEST / 86_400)
        })?;
        if seconds == 0 {
            return Err(format!("`{text}` is no time at all; write 30s, 5m, 1h or 7d"));
        }
        Ok(Self::seconds(seconds))
    }
}

const UNITS: [(&str, i64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
const LONGEST: i64 = 3650 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_written() {
        let read = |text: &str| text.parse::<Span>().map(|s| s.millis() / 1000);
        assert_eq!(read("30s"), Ok(30));
        assert_eq!(read("5m"), Ok(300));
        assert_eq!(read("1h"), Ok(3600));
        assert_eq!(read("7d"), Ok(604_800));
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for text in ["", "7", "d", "+7d", "-1h", "7 d", "1w", "0s", "99999999999d", "1h30m", "é"] {
            let said = text.parse::<Span>().expect_err(text);
            assert!(said.contains("7d") || said.contains("3650d"), "{said}");
        }
    }

    #[test]
    fn spans_are_shown_by_their_two_largest_units() {
        let shown = |seconds| Span::seconds(seconds).to_string();
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(59), "59s");
        assert_eq!(shown(3600), "1h");
        assert_eq!(shown(604_799), "6d 23h");
        assert_eq!(shown(86_461), "1d");
    }
}
