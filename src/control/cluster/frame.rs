//! Frames with a checksum around the bytes that timely sends from process to process.
//!
//! `[length u32][xxh3-64 of the bytes, seeded with the frame's number][bytes]`, little endian. TCP's own
//! checksum has 16 bits and is computed anew by every box on the way; a flipped bit would become wrong rows.

use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};

use timely::communication::allocator::zero_copy::stream::Stream;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Length and checksum.
const HEADER_BYTES: usize = 12;

/// What one frame carries at most. Timely writes 64 KiB at a time, and a large message in one piece.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// A socket whose bytes travel in checked frames.
#[derive(Debug)]
pub struct Framed {
    socket: BufReader<TcpStream>,
    /// Index of the process at the other end, for messages.
    peer: usize,
    /// Bytes of the last frame that did not fit where they were read to.
    left: Vec<u8>,
    /// How many of `left` have been handed out.
    taken: usize,
    frames_read: u64,
    frames_written: u64,
}

impl Framed {
    /// Frames the bytes of a connected socket. Both ends must do so from the first byte on.
    pub fn new(socket: TcpStream, peer: usize) -> Framed {
        Framed {
            socket: BufReader::with_capacity(1 << 16, socket),
            peer,
            left: Vec::new(),
            taken: 0,
            frames_read: 0,
            frames_written: 0,
        }
    }

    fn take_left(&mut self, buffer: &mut [u8]) -> usize {
        let bytes = &self.left[self.taken..];
        let taken = bytes.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&bytes[..taken]);
        self.taken += taken;
        taken
    }

    /// Length and checksum of the next frame; `None` when the peer has closed the connection behind one.
    fn read_header(&mut self) -> io::Result<Option<(usize, u64)>> {
        loop {
            match self.socket.fill_buf() {
                Ok([]) => return Ok(None),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut header = [0; HEADER_BYTES];
        self.socket.read_exact(&mut header)?;
        let (length, sum) = header.split_at(4);
        let length = u32::from_le_bytes(length.try_into().expect("4 bytes")) as usize;
        let sum = u64::from_le_bytes(sum.try_into().expect("8 bytes"));
        if length == 0 || length > FRAME_BYTES_MAX {
            return Err(self.corrupt(format_args!("has an impossible length of {length} bytes")));
        }
        Ok(Some((length, sum)))
    }

    fn verify(&mut self, bytes: &[u8], sum: u64) -> io::Result<()> {
        if xxh3_64_with_seed(bytes, self.frames_read) != sum {
            return Err(self.corrupt(format_args!("of {} bytes does not match its checksum", bytes.len())));
        }
        self.frames_read += 1;
        Ok(())
    }

    fn corrupt(&self, what: impl std::fmt::Display) -> io::Error {
        let message = format!("corrupt data from process {}: frame {} {what}", self.peer, self.frames_read);
        io::Error::new(io::ErrorKind::InvalidData, message)
    }
}

impl Read for Framed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.taken < self.left.len() {
            return Ok(self.take_left(buffer));
        }
        let Some((length, sum)) = self.read_header()? else {
            return Ok(0);
        };
        if length <= buffer.len() {
            self.socket.read_exact(&mut buffer[..length])?;
            self.verify(&buffer[..length], sum)?;
            return Ok(length);
        }
        let mut bytes = std::mem::take(&mut self.left);
        bytes.resize(length, 0);
        self.socket.read_exact(&mut bytes)?;
        self.verify(&bytes, sum)?;
        self.left = bytes;
        self.taken = 0;
        Ok(self.take_left(buffer))
    }
}

impl Write for Framed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let bytes = &buffer[..buffer.len().min(FRAME_BYTES_MAX)];
        let length = u32::try_from(bytes.len()).expect("at most the greatest frame");
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4..].copy_from_slice(&xxh3_64_with_seed(bytes, self.frames_written).to_le_bytes());
        write_both(self.socket.get_mut(), &header, bytes)?;
        self.frames_written += 1;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.get_mut().flush()
    }
}

/// Writes header and bytes with as few calls as possible, since each would be a packet of its own.
fn write_both(socket: &mut impl Write, header: &[u8], bytes: &[u8]) -> io::Result<()> {
    let mut parts = [IoSlice::new(header), IoSlice::new(bytes)];
    let mut parts = &mut parts[..];
    while !parts.is_empty() {
        match socket.write_vectored(parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Stream for Framed {
    /// A further handle, to read with one and write with the other. Only before the first byte: a frame that
    /// has been begun belongs to one handle.
    fn try_clone(&self) -> io::Result<Framed> {
        if self.frames_read + self.frames_written > 0 || !self.socket.buffer().is_empty() {
            return Err(io::Error::other("a framed connection is cloned after its first byte"));
        }
        Ok(Framed::new(self.socket.get_ref().try_clone()?, self.peer))
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.get_ref().set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.get_ref().shutdown(how)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let dialer = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        (dialer, listener.accept().expect("accepted").0)
    }

    #[test]
    fn bytes_arrive_as_they_were_written() {
        let (one, other) = pair();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        let copy = sent.clone();
        let writer = thread::spawn(move || {
            let mut writer = Framed::new(one, 1);
            // Pieces of all sizes, and one that needs several frames.
            let mut rest = &copy[..];
            for size in [1, 2, 100, 65_536, 70_000, 2_500_000] {
                writer.write_all(&rest[..size]).expect("written");
                rest = &rest[size..];
            }
            writer.write_all(rest).expect("written");
            writer.shutdown(Shutdown::Write).expect("shut down");
        });
        let mut reader = Framed::new(other, 0);
        let mut received = Vec::new();
        let mut buffer = vec![0; 10_000];
        loop {
            match reader.read(&mut buffer).expect("read") {
                0 => break,
                read => received.extend_from_slice(&buffer[..read]),
            }
        }
        writer.join().expect("no panic");
        assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
    }

    /// Frames as they go over the wire.
    fn wire(pieces: &[&[u8]]) -> Vec<u8> {
        let (one, mut other) = pair();
        let mut writer = Framed::new(one, 1);
        pieces.iter().for_each(|piece| writer.write_all(piece).expect("written"));
        drop(writer);
        let mut bytes = Vec::new();
        other.read_to_end(&mut bytes).expect("read");
        bytes
    }

    fn read_all(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let (mut one, other) = pair();
        one.write_all(bytes).expect("written");
        drop(one);
        let mut received = Vec::new();
        Framed::new(other, 7).read_to_end(&mut received).map(|_| received)
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = wire(&[b"abc", b"defg"]);
        assert_eq!(read_all(&good).expect("good"), b"abcdefg");
        for place in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[place / 8] ^= 1 << (place % 8);
            assert!(read_all(&bad).is_err(), "bit {place}");
        }
        let mut bad = good;
        bad[HEADER_BYTES] ^= 1;
        let error = read_all(&bad).expect_err("corrupt").to_string();
        assert_eq!(error, "corrupt data from process 7: frame 0 of 3 bytes does not match its checksum");
    }

    #[test]
    fn lost_repeated_and_cut_frames_are_found() {
        let (first, both) = (wire(&[b"abc"]), wire(&[b"abc", b"def"]));
        assert!(read_all(&both[first.len()..]).is_err(), "the first frame is lost");
        assert!(read_all(&[&first[..], &first[..]].concat()).is_err(), "the first frame comes twice");
        let error = read_all(&both[..both.len() - 1]).expect_err("cut");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(
            read_all(b"HTTP/1.1 200 OK\r\n").expect_err("no frame").to_string().contains("impossible length")
        );
    }

    #[test]
    fn clones_after_the_first_byte_are_refused() {
        let (one, _other) = pair();
        let mut framed = Framed::new(one, 1);
        assert!(framed.try_clone().is_ok());
        framed.write_all(b"x").expect("written");
        assert!(framed.try_clone().is_err());
    }
}
