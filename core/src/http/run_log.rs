//! A run's output, whole or its end, as it was written.
//!
//! Reads the file that the supervisor appends to, as far as it goes when asked; following it live
//! is for later.

use std::io::{ErrorKind, SeekFrom};

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};
use tokio_util::io::ReaderStream;

use super::{
    extract::{Parameters, Ready, Run, whole},
    problem::{Problem, ProblemKind},
    read::unknown_run,
};
use crate::process::Stream;

/// Read and sent at a time, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) async fn log(
    Ready(engine): Ready,
    Run(id): Run,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let stream = parameters.take("stream", |text| match text {
        "out" => Ok(Stream::Out),
        "err" => Ok(Stream::Err),
        _ => Err("must be out or err".to_owned()),
    });
    let tail = parameters.take("tail", |text| whole(text, 1, i64::MAX as u64));
    parameters.finish()?;
    if engine.store.run(id).await?.is_none() {
        return Err(unknown_run(id.0));
    }
    let path = engine.runs.stream_path(id, stream.unwrap_or(Stream::Out));
    let mut file = match File::open(&path).await {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let detail = format!("run {id} has no such output on this machine");
            return Err(Problem::new(ProblemKind::NoOutput, detail));
        }
        Err(error) => return Err(Problem::internal(&error)),
    };
    let length = file.metadata().await.map_err(|error| Problem::internal(&error))?.len();
    let from = tail.map_or(0, |tail| length.saturating_sub(tail));
    file.seek(SeekFrom::Start(from)).await.map_err(|error| Problem::internal(&error))?;
    // what grows meanwhile is another answer's
    let bytes = ReaderStream::with_capacity(file.take(length - from), CHUNK_BYTES);
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(bytes)).into_response())
}
