//! One end of one TLS connection, without any I/O.

use std::io::{self, BufRead, Write};

use bytes::{BufMut, Bytes, BytesMut};
use rustls::{Connection, ProtocolVersion};

use super::explain::{End, explain};
use crate::net::tls::TlsVersion;

/// Turns ciphertext into plaintext and back. It keeps no more than the record it has a part of:
/// what comes out of [`incoming`](Engine::incoming) is all there is, and so is what
/// [`take_ciphertext`](Engine::take_ciphertext) gives.
#[derive(Debug)]
pub(in crate::net) struct Engine {
    session: Connection,
    /// For the other end.
    out: BytesMut,
    /// How the other end began, to say what it is when it is not TLS.
    first: Vec<u8>,
    end: End,
    peer_closed: bool,
}

impl Engine {
    pub(super) fn new(session: impl Into<Connection>, end: End) -> Self {
        let mut session = session.into();
        // The caller gives no more than it is ready to send.
        session.set_buffer_limit(None);
        let mut engine =
            Engine { session, out: BytesMut::new(), first: Vec::new(), end, peer_closed: false };
        engine.collect();
        engine
    }

    /// Takes ciphertext and appends what it says to `plaintext`. There may be something to send
    /// afterwards, also when it fails: the alert that says why.
    ///
    /// # Errors
    ///
    /// When the other end cannot be trusted or does not speak TLS. What was right before that is in
    /// `plaintext`; nothing more will come.
    pub(in crate::net) fn incoming(
        &mut self,
        ciphertext: &[u8],
        plaintext: &mut BytesMut,
    ) -> io::Result<()> {
        let missing = FIRST.saturating_sub(self.first.len()).min(ciphertext.len());
        self.first.extend_from_slice(&ciphertext[..missing]);
        let mut rest = ciphertext;
        let mut result = Ok(());
        // What comes after the other end has closed is no part of the stream.
        while result.is_ok() && !rest.is_empty() && !self.peer_closed {
            if self.session.read_tls(&mut rest)? == 0 {
                break;
            }
            result = self.session.process_new_packets().map(|state| {
                self.peer_closed = state.peer_has_closed();
            });
            let mut reader = self.session.reader();
            while let Ok(chunk @ [_, ..]) = reader.fill_buf() {
                plaintext.extend_from_slice(chunk);
                let taken = chunk.len();
                reader.consume(taken);
            }
        }
        self.collect();
        result.map_err(|error| explain(&error, &self.end, &self.first))
    }

    /// The other end sends nothing more at all.
    ///
    /// # Errors
    ///
    /// When it has not said so by TLS: anybody on the way can end a connection, so that what came
    /// may be a part of what was sent.
    pub(in crate::net) fn end_of_input(&self) -> io::Result<()> {
        let text = match (self.peer_closed, self.is_handshaking(), &self.end) {
            (true, _, _) => return Ok(()),
            (false, true, End::Client { name, .. }) => {
                format!("`{name}` hung up before the TLS handshake was done")
            }
            (false, true, End::Server { .. }) => {
                "the client hung up before the TLS handshake was done".into()
            }
            (false, false, _) => "the stream was cut off: the other end hung up without TLS's \
                                  close_notify, so that there may have been more"
                .into(),
        };
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, text))
    }

    /// Turns plaintext into ciphertext.
    ///
    /// # Errors
    ///
    /// When the connection has failed.
    pub(in crate::net) fn outgoing(&mut self, plaintext: &[u8]) -> io::Result<()> {
        self.session.writer().write_all(plaintext)?;
        self.collect();
        Ok(())
    }

    /// Says that nothing more will be sent.
    pub(in crate::net) fn close_notify(&mut self) {
        self.session.send_close_notify();
        self.collect();
    }

    /// What is to be sent.
    pub(in crate::net) fn take_ciphertext(&mut self) -> Bytes {
        std::mem::take(&mut self.out).freeze()
    }

    pub(in crate::net) fn has_ciphertext(&self) -> bool {
        !self.out.is_empty()
    }

    pub(in crate::net) fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Whether the other end has said that it sends nothing more.
    pub(in crate::net) fn peer_has_closed(&self) -> bool {
        self.peer_closed
    }

    /// The other end, in words.
    pub(in crate::net) fn peer(&self) -> String {
        match &self.end {
            End::Client { name, .. } => format!("`{name}`"),
            End::Server { .. } => "a client".into(),
        }
    }

    pub(in crate::net) fn alpn(&self) -> Option<&[u8]> {
        self.session.alpn_protocol()
    }

    /// Whom the client wanted to talk to.
    pub(in crate::net) fn server_name(&self) -> Option<&str> {
        match (&self.session, &self.end) {
            (Connection::Server(session), _) => session.server_name(),
            (Connection::Client(_), End::Client { name, .. }) => Some(name),
            (Connection::Client(_), End::Server { .. }) => None,
        }
    }

    /// In DER, the other end's own first.
    pub(in crate::net) fn peer_certificates(&self) -> Vec<Bytes> {
        let certificates = self.session.peer_certificates().unwrap_or_default();
        certificates.iter().map(|der| Bytes::copy_from_slice(der)).collect()
    }

    pub(in crate::net) fn version(&self) -> Option<TlsVersion> {
        match self.session.protocol_version()? {
            ProtocolVersion::TLSv1_2 => Some(TlsVersion::Tls12),
            ProtocolVersion::TLSv1_3 => Some(TlsVersion::Tls13),
            _ => None,
        }
    }

    fn collect(&mut self) {
        let mut out = (&mut self.out).writer();
        while self.session.wants_write() {
            self.session.write_tls(&mut out).expect("memory takes what it is given");
        }
    }
}

/// The longest name of a method, with its space, of those that are told apart.
const FIRST: usize = 8;
