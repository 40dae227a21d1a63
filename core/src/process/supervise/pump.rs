//! One output stream: from the program's pipe into its file, up to the cap, and on into nothing beyond it.
//!
//! Draining never stops: a program that writes too much, or to a full disk, is cut, not blocked. Keeps count of both.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::process::record::StreamEnd;

/// Bytes read at once: a pipe's usual size.
const READ_BYTES: usize = 64 * 1024;
/// Reads in a row of one stream before the other events have their turn.
const READS_A_TURN: u32 = 16;

/// A pipe and its file.
#[derive(Debug)]
pub(super) struct Pump {
    pipe: Option<OwnedFd>,
    file: File,
    cap_bytes: u64,
    end: StreamEnd,
}

impl Pump {
    pub(super) fn new(pipe: OwnedFd, file: File, cap_bytes: u64) -> Result<Self, Errno> {
        // our end only: the program's is another open file description
        fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
        Ok(Self { pipe: Some(pipe), file, cap_bytes, end: StreamEnd::default() })
    }

    /// The pipe, while somebody may still write to it.
    pub(super) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes what is there, within one turn; whether there may be more at once.
    pub(super) fn turn(&mut self, buffer: &mut Vec<u8>) -> bool {
        buffer.resize(READ_BYTES, 0);
        for _ in 0..READS_A_TURN {
            let Some(pipe) = &self.pipe else { return false };
            match rustix::io::read(pipe, &mut buffer[..]) {
                Ok(0) => {
                    self.pipe = None;
                    return false;
                }
                Ok(read) => self.keep(buffer.get(..read).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                Err(errno) => {
                    self.end.write_error.get_or_insert(format!("read the pipe: {errno}"));
                    self.pipe = None;
                    return false;
                }
            }
        }
        true
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = usize::try_from(self.cap_bytes - self.end.kept_bytes).unwrap_or(usize::MAX);
        let (mut kept, beyond) = bytes.split_at(bytes.len().min(room));
        self.end.truncated_bytes += beyond.len() as u64;
        while !kept.is_empty() {
            match self.file.write(kept) {
                Ok(written) => {
                    self.end.kept_bytes += written as u64;
                    kept = kept.get(written..).unwrap_or_default();
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // a full disk may have room again for the next piece; the count says that there is a hole
                    self.end.truncated_bytes += kept.len() as u64;
                    self.end.write_error.get_or_insert(format!("write the file: {error}"));
                    return;
                }
            }
        }
    }

    /// Closes the pipe and gives the counts; the file is on the disk.
    pub(super) fn finish(mut self) -> StreamEnd {
        if let Err(error) = self.file.sync_data() {
            self.end.write_error.get_or_insert(format!("sync the file: {error}"));
        }
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_stream_is_cut_at_its_cap_and_drained_beyond_it() {
        let temp = tempfile::tempdir().expect("temp dir");
        let path = temp.path().join("out");
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe");
        let mut pump = Pump::new(read, File::create(&path).expect("file"), 10).expect("pump");
        let mut buffer = Vec::new();
        let mut writer = File::from(write);
        for piece in ["hello ", "wonderful ", "world"] {
            writer.write_all(piece.as_bytes()).expect("write");
            assert!(!pump.turn(&mut buffer));
        }
        assert!(pump.pipe().is_some());
        drop(writer);
        pump.turn(&mut buffer);
        assert!(pump.pipe().is_none(), "the end was seen");
        assert_eq!(pump.finish(), StreamEnd { kept_bytes: 10, truncated_bytes: 11, write_error: None });
        let mut text = String::new();
        File::open(&path).expect("open").read_to_string(&mut text).expect("read");
        assert_eq!(text, "hello wond");
    }

    #[test]
    fn a_full_disk_is_counted_and_does_not_block() {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe");
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let mut pump = Pump::new(read, full, 100).expect("pump");
        File::from(write).write_all(b"12345").expect("write");
        pump.turn(&mut Vec::new());
        let end = pump.finish();
        assert_eq!((end.kept_bytes, end.truncated_bytes), (0, 5));
        assert!(end.write_error.is_some());
    }
}
