//! Whose session it is.

use std::{fmt, str::FromStr};

/// An account's id: 1 to 128 printable ASCII characters, no space.
///
/// It travels in a header field and, with `--rewrite`, in a path, so what neither can carry is
/// refused once, here. `.` and `..` are refused because no encoding keeps them from being read as
/// a step in a path (RFC 3986, 6.2.2.2: `%2E` is `.`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account(String);

impl Account {
    /// The id as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Account {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = (1..=LONGEST).contains(&text.len());
        if !fits || !text.bytes().all(|b| b.is_ascii_graphic()) || matches!(text, "." | "..") {
            return Err(format!(
                "an account id is 1 to {LONGEST} printable ASCII characters without spaces, and \
                 neither `.` nor `..`"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_what_a_header_and_a_path_can_carry() {
        for good in ["42", "a@b.example", "org/7", "...", "a%2Fb"] {
            assert_eq!(good.parse::<Account>().expect(good).as_str(), good);
        }
        for bad in ["", ".", "..", "a b", "a\nb", "a\0", "é", &"x".repeat(129)] {
            bad.parse::<Account>().expect_err(bad);
        }
    }
}
