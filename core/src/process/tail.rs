//! Following a run's output by reading its files from a stored offset.
//!
//! The supervisor writes, the core only reads: a restart of the core has no gap by construction. Holds no state; does
//! not split lines or characters, so the caller keeps the unfinished rest of a line.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::time::UNIX_EPOCH;

use super::run_dir::{RunDir, Stream};

/// Reads what stands behind `from_offset`, at most `max_bytes`; gives the bytes and the next offset. Nothing new, and a
/// file that is not there yet, are no bytes. Blocking, of the local disk only.
///
/// # Errors
/// As reading a file.
pub fn tail(
    dir: &RunDir,
    stream: Stream,
    from_offset: u64,
    max_bytes: u64,
) -> std::io::Result<(Vec<u8>, u64)> {
    let mut file = match File::open(dir.stream(stream)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Vec::new(), from_offset)),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(from_offset))?;
    let mut bytes = Vec::new();
    file.take(max_bytes).read_to_end(&mut bytes)?;
    let next = from_offset + bytes.len() as u64;
    Ok((bytes, next))
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
    fn tail_goes_on_where_it_stopped_and_takes_an_absent_file_for_no_news() {
        let temp = tempfile::tempdir().expect("temp dir");
        let dir = RunDir::at(temp.path()).expect("absolute");
        assert_eq!(tail(&dir, Stream::Out, 0, 10).expect("absent"), (Vec::new(), 0));
        assert_eq!(last_output_at_ms(&dir).expect("absent"), None);
        std::fs::write(dir.stream(Stream::Out), "hello world").expect("write");
        let (first, offset) = tail(&dir, Stream::Out, 0, 6).expect("read");
        assert_eq!((first.as_slice(), offset), (&b"hello "[..], 6));
        let (second, offset) = tail(&dir, Stream::Out, offset, 100).expect("read");
        assert_eq!((second.as_slice(), offset), (&b"world"[..], 11));
        assert_eq!(tail(&dir, Stream::Out, 11, 100).expect("read"), (Vec::new(), 11));
        assert!(last_output_at_ms(&dir).expect("stat").is_some());
    }
}
