//! Frames out of bytes, without a connection.

use std::{fmt::Debug, mem::discriminant};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use thence_core::Failure;
use thence_reactor::net::framing::{
    ByteLines, Decoder, Encoder, FrameError, Frames, LengthPrefixed, Lines,
};

/// All frames of a stream that comes in these pieces, and its error, if it has one.
fn frames<'a, C: Decoder>(
    codec: C,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<C::Item>, Option<FrameError>) {
    let mut frames = Frames::new(codec);
    let mut seen = Vec::new();
    let mut pieces = pieces.into_iter();
    loop {
        match frames.next_frame() {
            Ok(Some(frame)) => seen.push(frame),
            Ok(None) if frames.is_finished() => return (seen, None),
            Ok(None) => match pieces.next() {
                Some(piece) => frames.push(Bytes::copy_from_slice(piece)),
                None => frames.finish(),
            },
            Err(failure) => {
                let error = failure.downcast_ref::<FrameError>().expect("its own error").clone();
                let again = frames.next_frame().err().expect("it stays the end");
                assert_eq!(again.downcast_ref(), Some(&error));
                return (seen, Some(error));
            }
        }
    }
}

fn error_of<T: Debug>(result: Result<T, Failure>) -> FrameError {
    result.unwrap_err().downcast_ref::<FrameError>().expect("its own error").clone()
}

fn strings(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| line.to_string()).collect()
}

#[test]
fn lines_end_in_one_or_two_characters_and_the_last_needs_none() {
    for (stream, expected) in [
        ("", &[][..]),
        ("\n", &[""]),
        ("a", &["a"]),
        ("a\n", &["a"]),
        ("a\r\n\r\nb\n\nc", &["a", "", "b", "", "c"]),
        ("a\rb\n", &["a\rb"]),
        ("a\r\r\n", &["a\r"]),
        ("a\r", &["a\r"]),
        ("gr\u{fc}n\n", &["gr\u{fc}n"]),
    ] {
        assert_eq!(frames(Lines::new(), [stream.as_bytes()]), (strings(expected), None));
    }
}

#[test]
fn a_line_that_is_too_long_says_the_limit_and_how_much_had_come() {
    let limit = || Lines::new().max_len(3);
    for (stream, seen, len, came) in [
        ("abc\nabcd\n", 1, Some(4), 4),
        ("abc\r\nabcdef", 1, None, 6),
        ("abcd", 0, None, 4),
        ("abc\r", 0, Some(4), 4),
    ] {
        let (lines, error) = frames(limit(), [stream.as_bytes()]);
        assert_eq!(lines.len(), seen, "{stream:?}");
        assert_eq!(error, Some(FrameError::TooLong { limit: 3, len, came }), "{stream:?}");
    }
    let text = FrameError::TooLong { limit: 3, len: None, came: 6 }.to_string();
    assert_eq!(text, "a frame has more than the 3 bytes allowed; 6 had come");
}

#[test]
fn a_line_that_is_not_utf8_is_told_and_bytes_are_bytes() {
    let stream = b"ok\ncaf\xe9 x\nlater\n";
    let (lines, error) = frames(Lines::new(), [&stream[..]]);
    assert_eq!(lines, ["ok"]);
    let line = Bytes::from_static(b"caf\xe9 x");
    let error = error.unwrap();
    assert_eq!(error, FrameError::NotUtf8 { line: line.clone(), valid: 3 });
    assert_eq!(error.to_string(), r#"a line is not UTF-8 after 3 of its 6 bytes: "caf\xe9 x""#);
    let (lines, error) = frames(ByteLines::new(), [&stream[..]]);
    assert_eq!((lines, error), (vec!["ok".into(), line, "later".into()], None));
}

#[test]
fn what_would_be_two_lines_is_not_sent_as_one() {
    let mut out = BytesMut::new();
    let mut lines = Lines::new().max_len(3);
    lines.encode("abc", &mut out).unwrap();
    lines.encode("", &mut out).unwrap();
    for injection in ["a\nb", "a\n", "a\r"] {
        assert_eq!(error_of(lines.encode(injection, &mut out)), FrameError::NotOneLine);
    }
    let long = error_of(lines.encode("abcd", &mut out));
    assert_eq!(long, FrameError::TooLong { limit: 3, len: Some(4), came: 4 });
    assert_eq!(out, "abc\n\n", "nothing of it was written");
}

#[test]
fn lengths_have_a_width_and_an_order() {
    for (codec, prefix) in [
        (LengthPrefixed::u8(), &[2][..]),
        (LengthPrefixed::u16(), &[0, 2]),
        (LengthPrefixed::u16().little_endian(), &[2, 0]),
        (LengthPrefixed::u32(), &[0, 0, 0, 2]),
        (LengthPrefixed::u32().little_endian(), &[2, 0, 0, 0]),
        (LengthPrefixed::u64(), &[0, 0, 0, 0, 0, 0, 0, 2]),
        (LengthPrefixed::u64().little_endian(), &[2, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let mut out = BytesMut::new();
        codec.clone().encode("ab", &mut out).unwrap();
        assert_eq!(out, [prefix, b"ab"].concat());
        assert_eq!(frames(codec, [&out[..]]), (vec!["ab".into()], None));
    }
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_its_bytes_come() {
    let (seen, error) =
        frames(LengthPrefixed::u32().max_len(3), [&b"\0\0\0\x03abc\0\0\0\x04a"[..]]);
    assert_eq!(seen, ["abc"]);
    let error = error.unwrap();
    assert_eq!(error, FrameError::TooLong { limit: 3, len: Some(4), came: 1 });
    assert_eq!(error.to_string(), "a frame has 4 bytes, and 3 are allowed; 1 had come");
    let huge = [0xff; 8];
    let (_, error) = frames(LengthPrefixed::u64().max_len(usize::MAX - 1), [&huge[..]]);
    assert!(matches!(error, Some(FrameError::TooLong { len: Some(u64::MAX), .. })));
    let mut out = BytesMut::new();
    let long = error_of(LengthPrefixed::u8().max_len(1000).encode(vec![0; 256], &mut out));
    assert_eq!(long, FrameError::TooLong { limit: 255, len: Some(256), came: 256 });
    assert!(out.is_empty());
}

#[test]
fn an_end_inside_a_frame_says_how_far_it_was() {
    for (stream, came, of) in [(&b"\0\x03ab"[..], 4, Some(5)), (&b"\0"[..], 1, None)] {
        let (seen, error) = frames(LengthPrefixed::u16(), [stream]);
        assert!(seen.is_empty());
        assert_eq!(error, Some(FrameError::UnexpectedEof { came, of }));
    }
    let text = FrameError::UnexpectedEof { came: 4, of: Some(5) }.to_string();
    assert_eq!(text, "the stream ended inside a frame, after 4 of 5 bytes");
    let error = std::io::Error::from(FrameError::UnexpectedEof { came: 4, of: None });
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

/// A stream that has many ends of lines, and is often not UTF-8.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => prop::sample::select(b"abc".to_vec()),
        2 => Just(b'\n'),
        1 => Just(b'\r'),
        1 => any::<u8>(),
    ];
    prop::collection::vec(byte, 0..60)
}

/// The stream in pieces of at most these lengths.
fn cut<'a>(mut stream: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for len in lengths {
        let (piece, rest) = stream.split_at((*len).min(stream.len()));
        pieces.push(piece);
        stream = rest;
    }
    pieces.push(stream);
    pieces
}

fn same<T: Debug + PartialEq>(
    a: (Vec<T>, Option<FrameError>),
    b: (Vec<T>, Option<FrameError>),
) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.0, b.0);
    // How much had come by then does depend on the pieces.
    prop_assert_eq!(a.1.as_ref().map(discriminant), b.1.as_ref().map(discriminant));
    Ok(())
}

/// The lines as somebody would find them who has all of the stream.
fn plain_lines(stream: &[u8], max: usize) -> (Vec<Bytes>, bool) {
    let mut pieces: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    let last = pieces.pop().filter(|last| !last.is_empty());
    let whole = pieces.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut lines = Vec::new();
    for line in whole.chain(last) {
        if line.len() > max {
            return (lines, true);
        }
        lines.push(Bytes::copy_from_slice(line));
    }
    (lines, false)
}

fn plain_pieces(mut stream: &[u8], max: usize) -> (Vec<Bytes>, bool) {
    let mut pieces = Vec::new();
    while let Some((len, rest)) = stream.split_first() {
        let len = usize::from(*len);
        if len > max || len > rest.len() {
            return (pieces, true);
        }
        pieces.push(Bytes::copy_from_slice(&rest[..len]));
        stream = &rest[len..];
    }
    (pieces, false)
}

proptest! {
    #[test]
    fn lines_are_the_same_however_the_stream_is_cut(
        stream in stream(),
        lengths in prop::collection::vec(0..6_usize, 0..40),
        max in 0..8_usize,
    ) {
        let codec = || ByteLines::new().max_len(max);
        let whole = frames(codec(), [&stream[..]]);
        let (lines, fails) = plain_lines(&stream, max);
        prop_assert_eq!(&whole.0, &lines);
        prop_assert_eq!(whole.1.is_some(), fails);
        same(whole, frames(codec(), cut(&stream, &lengths)))?;
        let text = || Lines::new().max_len(max);
        same(frames(text(), [&stream[..]]), frames(text(), cut(&stream, &lengths)))?;
    }

    #[test]
    fn pieces_are_the_same_however_the_stream_is_cut(
        stream in prop::collection::vec(0..6_u8, 0..60),
        lengths in prop::collection::vec(0..6_usize, 0..40),
        max in 0..6_usize,
    ) {
        let codec = || LengthPrefixed::u8().max_len(max);
        let whole = frames(codec(), [&stream[..]]);
        let (pieces, fails) = plain_pieces(&stream, max);
        prop_assert_eq!(&whole.0, &pieces);
        prop_assert_eq!(whole.1.is_some(), fails);
        same(whole, frames(codec(), cut(&stream, &lengths)))?;
    }

    #[test]
    fn what_is_written_is_read_again(
        items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
        lengths in prop::collection::vec(0..200_usize, 0..12),
        little in any::<bool>(),
    ) {
        for codec in [LengthPrefixed::u16(), LengthPrefixed::u32(), LengthPrefixed::u64()] {
            let codec = if little { codec.little_endian() } else { codec };
            let mut out = BytesMut::new();
            for item in &items {
                codec.clone().encode(item, &mut out).unwrap();
            }
            let (seen, error) = frames(codec, cut(&out, &lengths));
            prop_assert_eq!(error, None);
            prop_assert_eq!(seen, items.iter().cloned().map(Bytes::from).collect::<Vec<_>>());
        }
        let lines: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
        let mut out = BytesMut::new();
        for line in &lines {
            Lines::new().encode(line, &mut out).unwrap();
        }
        prop_assert_eq!(frames(Lines::new(), cut(&out, &lengths)), (lines, None));
    }
}
