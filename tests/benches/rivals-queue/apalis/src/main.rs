//! apalis-sqlite with WAL and `synchronous=FULL`: N jobs pushed one by one, then worked by one worker.
//! Prints seconds of both halves: `rival-apalis FILE JOBS`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use apalis::prelude::*;
use apalis_sqlite::{Config, SqliteConnectOptions, SqlitePool, SqliteStorage};
use sqlx::sqlite::{SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn job(_: u64, worked: Data<Arc<AtomicUsize>>) -> Result<(), BoxDynError> {
    worked.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

async fn done(pool: &SqlitePool) -> Result<i64, Failure> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM Jobs WHERE status = 'Done'").fetch_one(pool).await?)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let file = words.next().ok_or("which file?")?;
    let jobs: u64 = words.next().ok_or("how many jobs?")?.parse()?;
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let pool = SqlitePool::connect_with(options.clone()).await?;
    SqliteStorage::setup(&pool).await?;
    // its set-up switches durability off on the connection that it uses: those are not used again
    pool.close().await;
    let durable = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new().max_connections(2).connect_with(durable).await?;
    let mut storage: SqliteStorage<u64> = SqliteStorage::new(&pool)
        .with_config(Config::default().queue("bench"));
    let begun = Instant::now();
    for number in 0..jobs {
        storage.push(number).await?;
    }
    let enqueued = begun.elapsed();
    let worked = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let worker = WorkerBuilder::new("bench").backend(storage.poll_with_interval(Duration::from_millis(1))).data(Arc::clone(&worked)).build(job);
    let running = tokio::spawn(async move { worker.run().await.is_ok() });
    while done(&pool).await? < i64::try_from(jobs)? {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = begun.elapsed();
    running.abort();
    println!("{:.6} {:.6}", enqueued.as_secs_f64(), took.as_secs_f64());
    Ok(())
}
