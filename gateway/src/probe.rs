//! Asking others, once and with a deadline. Blocks, so it is for before the loop runs.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::{address::Upstream, exit::Trouble};

/// A connection to the upstream, and its address.
///
/// # Errors
/// When it has no address, or accepts no connection within `patience`.
pub fn reach(to: &Upstream, patience: Duration) -> Result<(TcpStream, SocketAddr), Trouble> {
    let address = to.resolve()?;
    match TcpStream::connect_timeout(&address, patience) {
        Ok(stream) => Ok((stream, address)),
        Err(error) => Err(Trouble::new(
            format_args!("--to {to}: {error}"),
            format_args!("an application that accepts connections on {address}"),
            "start the application first, or check the address",
        )),
    }
}

/// Sends a request without a body and reads the status of its answer.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when no answer comes within `patience`,
/// [`io::ErrorKind::InvalidData`] when what comes is no HTTP, and those of the connection.
pub fn status(mut stream: TcpStream, head: &str, patience: Duration) -> io::Result<u16> {
    let deadline = Instant::now() + patience;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(head.as_bytes())?;
    let mut line = [0; "HTTP/1.1 200".len()];
    let mut read = 0;
    while read < line.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut line[read..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if !line.starts_with(&b"HTTP/1."[..read.min(7)]) {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let status = std::str::from_utf8(&line[9..]).ok().and_then(|text| text.parse().ok());
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    fn asked_of(answer: &'static [u8], closes: bool) -> io::Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 64]);
            // Whoever has heard enough hangs up.
            let _ = answer.iter().try_for_each(|byte| stream.write_all(&[*byte]));
            (!closes).then_some(stream)
        });
        let patience = Duration::from_millis(if closes { 20_000 } else { 50 });
        let status =
            status(TcpStream::connect(address).unwrap(), "HEAD / HTTP/1.1\r\n\r\n", patience);
        drop(server.join().unwrap());
        status
    }

    #[test]
    fn the_status_is_read_however_it_is_cut() {
        assert_eq!(asked_of(b"HTTP/1.1 204 No Content\r\n\r\n", true).unwrap(), 204);
        assert_eq!(asked_of(b"HTTP/1.0 404 \r\n", true).unwrap(), 404);
    }

    #[test]
    fn what_is_no_http_is_told_apart_from_silence() {
        let kind = |answer, closes| asked_of(answer, closes).unwrap_err().kind();
        assert_eq!(kind(b"SSH-2.0-x\r\n", true), io::ErrorKind::InvalidData);
        assert_eq!(kind(b"HTTP/1.1 abc\r\n", true), io::ErrorKind::InvalidData);
        assert_eq!(kind(b"HTTP/1.1", true), io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(b"HTTP/1.1", false), io::ErrorKind::TimedOut);
    }
}
