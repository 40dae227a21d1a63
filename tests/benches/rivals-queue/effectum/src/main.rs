//! effectum as it comes (rollback journal, `synchronous=NORMAL`: each commit is synced): N jobs added one
//! by one, then worked by one worker. Prints seconds of both halves: `rival-effectum FILE JOBS`.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use effectum::{Job, JobRunner, Queue, RunningJob, Worker};

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn job(_: RunningJob, worked: Arc<AtomicUsize>) -> Result<(), std::io::Error> {
    worked.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

async fn is_idle(queue: &Queue) -> Result<bool, Failure> {
    let active = queue.num_active_jobs().await?;
    Ok(active.pending + active.running == 0)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let file = PathBuf::from(words.next().ok_or("which file?")?);
    let jobs: usize = words.next().ok_or("how many jobs?")?.parse()?;
    let queue = Queue::new(&file).await?;
    let begun = Instant::now();
    for number in 0..jobs {
        Job::builder("bench").json_payload(&number)?.add_to(&queue).await?;
    }
    let enqueued = begun.elapsed();
    let worked = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let runner = JobRunner::builder("bench", job).build();
    let worker = Worker::builder(&queue, Arc::clone(&worked)).max_concurrency(16).jobs([runner]).build().await?;
    // what is done leaves the list of the active ones
    while worked.load(Ordering::SeqCst) < jobs || !is_idle(&queue).await? {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = begun.elapsed();
    drop(worker);
    println!("{:.6} {:.6}", enqueued.as_secs_f64(), took.as_secs_f64());
    Ok(())
}
