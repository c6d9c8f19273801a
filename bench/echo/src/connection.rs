//! One connection of the load.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Bytes between one mark of the message's number and the next.
const BLOCK: usize = 64;

/// A connection with at most one message under way.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    /// In each block its place, the connection's number and the message's: an answer that is old,
    /// another connection's or out of order differs.
    message: Vec<u8>,
    number: u32,
    /// How much of the message the kernel has taken.
    sent: usize,
    /// How much of it came back.
    received: usize,
    /// Answers in this run.
    pub answered: u64,
}

impl Connection {
    /// Connects to a server.
    ///
    /// # Errors
    ///
    /// The server is not there.
    pub fn open(address: SocketAddr, number: u32, length: usize) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut message = vec![0; length];
        for (place, block) in message.chunks_exact_mut(BLOCK).enumerate() {
            let fill = place.wrapping_mul(31).wrapping_add(number as usize);
            block.fill(fill as u8);
            block[4..8].copy_from_slice(&number.to_le_bytes());
            block[8..12].copy_from_slice(&(place as u32).to_le_bytes());
        }
        let (sent, received) = (length, length);
        Ok(Self { socket, message, number: 0, sent, received, answered: 0 })
    }

    /// What epoll has to be told of.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Sends the next message, or as much of it as the kernel takes.
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub fn send(&mut self) -> io::Result<()> {
        self.number = self.number.wrapping_add(1);
        for block in self.message.chunks_exact_mut(BLOCK) {
            block[..4].copy_from_slice(&self.number.to_le_bytes());
        }
        (self.sent, self.received) = (0, 0);
        self.send_rest()
    }

    /// Sends and takes what can be, by way of a buffer, and says whether that made the answer whole.
    ///
    /// # Errors
    ///
    /// An answer that is not what was sent, or a connection that broke.
    pub fn advance(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        if self.received == self.message.len() {
            return Ok(false);
        }
        self.send_rest()?;
        while self.received < self.message.len() {
            let expected = &self.message[self.received..];
            let most = expected.len().min(buffer.len());
            let count = match self.socket.read(&mut buffer[..most]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            if buffer[..count] != expected[..count] {
                return Err(io::Error::other("an answer is not what was sent"));
            }
            self.received += count;
        }
        self.answered += 1;
        Ok(true)
    }

    fn send_rest(&mut self) -> io::Result<()> {
        while self.sent < self.message.len() {
            match self.socket.write(&self.message[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A connection with a message under way, and the server's end of it.
    fn sent(length: usize) -> (Connection, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut connection = Connection::open(listener.local_addr().unwrap(), 7, length).unwrap();
        connection.send().unwrap();
        (connection, listener.accept().unwrap().0)
    }

    /// Advances until there is an answer or an error.
    fn answer(connection: &mut Connection) -> io::Result<()> {
        let mut buffer = [0; 5_000];
        while !connection.advance(&mut buffer)? {
            std::thread::yield_now();
        }
        Ok(())
    }

    #[test]
    fn a_message_larger_than_the_kernels_buffers_goes_and_comes_in_parts() {
        const LENGTH: usize = 8 << 20;
        let (mut connection, mut server) = sent(LENGTH);
        assert!(connection.sent < LENGTH);
        let echo = std::thread::spawn(move || {
            let mut message = vec![0; LENGTH];
            server.read_exact(&mut message).unwrap();
            server.write_all(&message).unwrap();
        });
        answer(&mut connection).unwrap();
        echo.join().unwrap();
        assert_eq!(connection.answered, 1);
        assert!(!connection.advance(&mut [0]).unwrap(), "it was answered before");
    }

    #[test]
    fn blocks_that_changed_places_are_refused() {
        let (mut connection, mut server) = sent(2 * BLOCK);
        let mut message = [0; 2 * BLOCK];
        server.read_exact(&mut message).unwrap();
        message.rotate_left(BLOCK);
        server.write_all(&message).unwrap();
        let error = answer(&mut connection).unwrap_err();
        assert_eq!(error.to_string(), "an answer is not what was sent");
    }

    #[test]
    fn an_old_answer_is_refused() {
        let (mut connection, mut server) = sent(BLOCK);
        let mut message = [0; BLOCK];
        server.read_exact(&mut message).unwrap();
        server.write_all(&message).unwrap();
        answer(&mut connection).unwrap();
        connection.send().unwrap();
        server.write_all(&message).unwrap();
        let error = answer(&mut connection).unwrap_err();
        assert_eq!(error.to_string(), "an answer is not what was sent");
    }

    #[test]
    fn a_server_that_hangs_up_is_an_error() {
        let (mut connection, mut server) = sent(BLOCK);
        server.read_exact(&mut [0; BLOCK]).unwrap();
        drop(server);
        let error = answer(&mut connection).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}
