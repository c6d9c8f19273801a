//! The heads of the messages that go round here: enough of HTTP/1.1 for both of their ends.

/// Where the first head in `bytes` ends, its empty line included.
pub fn end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// The value of a field, whose name is given in lower case.
pub fn field<'h>(head: &'h [u8], name: &str) -> Option<&'h [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        if !found.eq_ignore_ascii_case(name.as_bytes()) {
            return None;
        }
        Some(value.strip_prefix(b":")?.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_whatever_its_case() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\nx-seen-account:a\r\n\r\n";
        assert_eq!(end(head), Some(head.len()));
        assert_eq!(end(&head[..head.len() - 1]), None);
        assert_eq!(field(head, "content-length"), Some(&b"64"[..]));
        assert_eq!(field(head, "x-seen-account"), Some(&b"a"[..]));
        assert_eq!(field(head, "content"), None);
    }
}
