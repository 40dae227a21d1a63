//! Following a run's output by reading its files from a stored offset.
//!
//! The supervisor writes, the core only reads: a restart of the core has no gap by construction. Holds no state; does
//! not split lines or characters, so the caller keeps the unfinished rest of a line.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::time::UNIX_EPOCH;

use super::run_dir::{RunDir, Stream};

/// Reads what stands behind `from`, at most `bytes`. Nothing new, and a file that is not there yet, are no bytes.
/// Blocking, of the local disk only.
///
/// # Errors
/// As reading a file.
pub fn read_from(dir: &RunDir, stream: Stream, from: u64, bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut file = match File::open(dir.stream(stream)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(from))?;
    let mut found = Vec::new();
    file.take(bytes).read_to_end(&mut found)?;
    Ok(found)
}

/// When the run last wrote something, UTC milliseconds, by the younger of its two output files. Of a run that has written
/// nothing, when they were made; before that, nothing.
///
/// # Errors
/// As looking at a file.
pub fn last_output_at_ms(dir: &RunDir) -> std::io::Result<Option<i64>> {
    let mut last = None;
    for stream in [Stream::Out, Stream::Err] {
        let modified = match std::fs::metadata(dir.stream(stream)) {
            Ok(metadata) => metadata.modified()?,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        last = last.max(i64::try_from(since.as_millis()).ok());
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_goes_on_where_it_stopped_and_takes_an_absent_file_for_no_news() {
        let temp = tempfile::tempdir().expect("temp dir");
        let dir = RunDir::at(temp.path()).expect("absolute");
        assert_eq!(read_from(&dir, Stream::Out, 0, 10).expect("absent"), b"");
        assert_eq!(last_output_at_ms(&dir).expect("absent"), None);
        std::fs::write(dir.stream(Stream::Out), "hello world").expect("write");
        assert_eq!(read_from(&dir, Stream::Out, 0, 6).expect("read"), b"hello ");
        assert_eq!(read_from(&dir, Stream::Out, 6, 100).expect("read"), b"world");
        assert_eq!(read_from(&dir, Stream::Out, 11, 100).expect("read"), b"");
        assert!(last_output_at_ms(&dir).expect("stat").is_some());
    }
}
