//! Whether a path stays behind what a template puts before it (rule 51).
//!
//! Servers do not agree on what a path says: some decode twice, take `\` for `/`, drop `;parameters`
//! before they look for `..`, or read a `/` that is written in more bytes than UTF-8 allows. So a
//! path is read here in every one of these ways at once, and only asked whether one of them steps
//! out. Nothing is rewritten: what passes is forwarded as it came.

/// Whether no server reads a step up, or a border between segments that is not written as `/`, in
/// `path`.
pub fn stays_behind(path: &str) -> bool {
    path.split('/').all(|segment| {
        let decoded = Decoded::of(segment);
        !decoded.has_any(b"/\\") && !decoded.is_step_up()
    })
}

/// Whether some server reads the end of the path in it, and so loses what a template puts behind.
pub fn ends_early(path: &str) -> bool {
    path.split('/').any(|segment| Decoded::of(segment).has_any(b"?#\0"))
}

/// Whether `text` is one segment wherever it is decoded, and the same one.
pub fn is_one_segment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte);
    !text.is_empty() && text.bytes().all(plain) && text != "." && text != ".."
}

/// A segment after every decoding that changes it.
///
/// Each byte is taken once: whatever it completes is replaced by what it says, which may complete
/// more. So the cost is that of the segment's length, however often `%` itself is encoded in it.
struct Decoded(Vec<u8>);

impl Decoded {
    fn of(segment: &str) -> Self {
        let mut decoded = Self(Vec::with_capacity(segment.len()));
        for byte in segment.bytes() {
            decoded.0.push(byte);
            while decoded.reduce() {}
        }
        decoded
    }

    /// Replaces what stands at the end by the byte it says, if it says another.
    fn reduce(&mut self) -> bool {
        let Some((length, byte)) = self.escape().or_else(|| self.overlong()) else {
            return false;
        };
        self.0.truncate(self.0.len() - length);
        self.0.push(byte);
        true
    }

    /// `%2e`, and `%u002e` as old servers of Microsoft's read it.
    fn escape(&self) -> Option<(usize, u8)> {
        let digits = |text: &[u8]| {
            text.iter()
                .try_fold(0_u32, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
        };
        match &*self.0 {
            [.., b'%', high, low] => Some((3, digits(&[*high, *low])?.try_into().ok()?)),
            [.., b'%', b'u' | b'U', a, b, c, d] => {
                Some((6, digits(&[*a, *b, *c, *d])?.try_into().ok()?))
            }
            _ => None,
        }
    }

    /// An ASCII character in two to six bytes. UTF-8 forbids it (RFC 3629, 3); readers that do not
    /// check have let people out of their folders.
    fn overlong(&self) -> Option<(usize, u8)> {
        if let [.., lead @ (0xC0 | 0xC1), next @ 0x80..=0xBF] = &*self.0 {
            return Some((2, (lead & 1) << 6 | next & 0x3F));
        }
        for length in 3..=6 {
            let (lead, continuations) = self.0.len().checked_sub(length).and_then(|at| {
                let (lead, continuations) = self.0[at..].split_first()?;
                Some((*lead, continuations))
            })?;
            if !continuations.iter().all(|byte| byte & 0xC0 == 0x80) {
                return None;
            }
            // As many ones as there are bytes, and no bit of the value.
            let empty_lead = 0xFF_u8 << (8 - length);
            let (last, rest) = continuations.split_last()?;
            let (next, zeros) = rest.split_last()?;
            let is_ascii = zeros.iter().all(|byte| *byte == 0x80) && *next & 0x3E == 0;
            if lead == empty_lead && is_ascii {
                return Some((length, (next & 1) << 6 | last & 0x3F));
            }
        }
        None
    }

    fn has_any(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|byte| bytes.contains(byte))
    }

    /// `..`, also with parameters behind it, at what some servers take for the end of the path, and
    /// with what some trim or leave out.
    fn is_step_up(&self) -> bool {
        let name = self.0.split(|byte| b";?#\0".contains(byte)).next().unwrap_or_default();
        let mut seen = name.iter().filter(|byte| byte.is_ascii_graphic());
        seen.next() == Some(&b'.') && seen.next() == Some(&b'.') && seen.next().is_none()
    }
}

#[cfg(test)]
mod tests;
