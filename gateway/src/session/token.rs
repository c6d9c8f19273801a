//! The session's secret and what is made of it: cookie value, row key, public handle.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// A session's secret: 32 bytes from the operating system (S1). Only the cookie ever holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId([u8; 32]);

impl SessionId {
    /// A fresh one. A login always gets a fresh one (S15).
    ///
    /// # Errors
    /// When the operating system has no random bytes to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// What the store knows it by.
    pub fn row_key(&self) -> RowKey {
        RowKey(Sha256::digest(self.0).into())
    }
}

impl fmt::Debug for SessionId {
    /// Prints nothing of the secret: it must not end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// SHA-256 of a session's secret (S2): a stolen database opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowKey([u8; 32]);

impl RowKey {
    /// The key as the store holds it; none if it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes the store holds.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The session's public name: lists, logs and upstreams see this, never the secret.
    pub fn handle(&self) -> Handle {
        Handle(hex(&self.0[..HANDLE_BYTES]))
    }
}

/// A session's public name: 24 hexadecimal digits, the beginning of its [`RowKey`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(String);

impl Handle {
    /// `text` as a handle, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == HANDLE_BYTES * 2 && lower).then(|| Self(text.to_owned()))
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first and the last row key that it may stand for: an index finds what is between.
    pub(super) fn row_keys(&self) -> ([u8; 32], [u8; 32]) {
        let (mut first, mut last) = ([0; 32], [0xff; 32]);
        for (at, pair) in self.0.as_bytes().chunks(2).enumerate() {
            let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
            let byte = digit(pair[0]) << 4 | digit(pair[1]);
            (first[at], last[at]) = (byte, byte);
        }
        (first, last)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key that signs cookies. A value it did not sign is refused without asking the store.
#[derive(Clone)]
pub struct MacKey {
    keyed: Hmac<Sha256>,
}

impl MacKey {
    /// Bytes a key is made of.
    pub const BYTES: usize = 32;

    /// The key made of `bytes`.
    pub fn new(bytes: &[u8; Self::BYTES]) -> Self {
        // HMAC fills a short key up with zeros; doing it here leaves nothing that can fail.
        let mut block = [0; 64];
        block[..Self::BYTES].copy_from_slice(bytes);
        Self { keyed: Hmac::new(&block.into()).chain_update(PURPOSE) }
    }

    /// The cookie value for `id`: `<id>.<MAC>`, both base64url.
    pub fn seal(&self, id: &SessionId) -> String {
        let mac = self.keyed.clone().chain_update(id.0).finalize().into_bytes();
        let mut value = URL_SAFE_NO_PAD.encode(id.0);
        value.push('.');
        URL_SAFE_NO_PAD.encode_string(&mac[..MAC_BYTES], &mut value);
        value
    }

    /// The id in a cookie value, if this key signed it. Costs no store operation (S1).
    pub fn open(&self, value: &[u8]) -> Option<SessionId> {
        if value.len() != SEALED || value[ID_CHARS] != b'.' {
            return None;
        }
        let id = decode::<32>(&value[..ID_CHARS])?;
        let mac = decode::<MAC_BYTES>(&value[ID_CHARS + 1..])?;
        // Compares in constant time.
        self.keyed.clone().chain_update(id).verify_truncated_left(&mac).ok()?;
        Some(SessionId(id))
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}

/// `bytes` as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
        text
    })
}

fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    // The engine asks for room in whole groups of three bytes. It refuses padding and left-over
    // bits, so one id has one spelling.
    let mut room = [0; 33];
    let written = URL_SAFE_NO_PAD.decode_slice(text, &mut room).ok()?;
    room[..written].try_into().ok()
}

/// Keeps this use of the key apart from any later one.
const PURPOSE: &[u8] = b"thence-gate session cookie 1\n";
const MAC_BYTES: usize = 8;
const HANDLE_BYTES: usize = 12;
/// 32 bytes in base64url.
const ID_CHARS: usize = 43;
/// 43 characters, a dot, 8 bytes in base64url.
const SEALED: usize = ID_CHARS + 1 + 11;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> MacKey {
        MacKey::new(&[7; 32])
    }

    #[test]
    fn a_sealed_id_opens_with_its_key_only() {
        let id = SessionId::random().unwrap();
        let value = key().seal(&id);
        assert_eq!(value.len(), 55);
        assert_eq!(key().open(value.as_bytes()), Some(id));
        assert_eq!(MacKey::new(&[8; 32]).open(value.as_bytes()), None);
    }

    #[test]
    fn ids_do_not_repeat() {
        assert_ne!(SessionId::random().unwrap(), SessionId::random().unwrap());
    }

    #[test]
    fn one_id_has_one_spelling() {
        // 43 characters carry 258 bits: the two left over must be zero.
        let mut odd = key().seal(&SessionId([0; 32])).into_bytes();
        assert_eq!(odd[42], b'A');
        odd[42] = b'B';
        assert_eq!(key().open(&odd), None);
    }

    #[test]
    fn neither_the_secret_nor_the_key_is_printed() {
        assert_eq!(format!("{:?}{:?}", SessionId([1; 32]), key()), "SessionId(..)MacKey(..)");
    }

    #[test]
    fn a_handle_is_the_beginning_of_the_row_key() {
        let row = SessionId([1; 32]).row_key();
        let handle = row.handle();
        assert_eq!(handle.as_str().len(), 24);
        assert!(hex(row.as_bytes()).starts_with(handle.as_str()));
        assert_eq!(Handle::parse(handle.as_str()), Some(handle));
        assert_eq!(Handle::parse("ABCDEF"), None);
    }

    proptest! {
        #[test]
        fn garbage_never_opens(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(key().open(&value), None);
        }

        #[test]
        fn changing_any_byte_closes_it(at in 0usize..55, to in any::<u8>()) {
            let mut value = key().seal(&SessionId([9; 32])).into_bytes();
            prop_assume!(value[at] != to);
            value[at] = to;
            prop_assert_eq!(key().open(&value), None);
        }
    }
}
