//! The verbs that ask a running core, each one or a few calls.

use std::io::Write;

use serde_json::{Value, json};

use super::{
    Cli, Command, Failure, LeaseVerb, RunVerb, TaskVerb,
    args::{Act, AddTask},
    client::Session,
    show,
};

/// Tasks asked for at a time.
const PAGE: u32 = 500;
/// Pages read at most.
const PAGES_MAX: usize = 200;
/// A text from a file is not read beyond this, in bytes; the core takes 64 KiB.
const BODY_FILE_MAX_BYTES: u64 = 1024 * 1024;

pub(super) async fn carry_out(
    cli: &Cli,
    session: &Session,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    match &cli.command {
        Command::Task(verb) => task(cli, verb, session, out).await,
        Command::Why { key } => {
            let answer = session.get(&format!("/tasks/{}/why", segment(key))).await?;
            print(cli, &answer, out, show::why)
        }
        Command::Lease(LeaseVerb::List) => {
            let document = session.get("/queue").await?;
            let leases = json!({ "leases": document.get("leases"), "generated_at_ms": document.get("generated_at_ms") });
            print(cli, &leases, out, show::leases)
        }
        Command::Lease(LeaseVerb::Release { key, who, why }) => {
            let body = json!({ "who": session.who(who.as_ref())?, "why": why });
            let path = format!("/transition-lease/release?work_item={}", segment(key));
            let answer = session.post(&path, &body).await?;
            print(cli, &answer, out, show::outcome)
        }
        Command::Run(RunVerb::Show { id }) => {
            let answer = session.get(&format!("/runs/{id}")).await?;
            print(cli, &answer, out, show::run)
        }
        Command::Run(RunVerb::Log { id, err, tail }) => {
            let stream = if *err { "err" } else { "out" };
            let tail = tail.map(|bytes| format!("&tail={bytes}")).unwrap_or_default();
            log(session, &format!("/runs/{id}/log?stream={stream}{tail}"), out).await
        }
        Command::Healthcheck => {
            let answer = session.get("/readyz").await?;
            print(cli, &answer, out, |_, out| writeln!(out, "ready"))
        }
        Command::Serve
        | Command::Supervise { .. }
        | Command::SuperviseChild { .. }
        | Command::CheckConfig { .. }
        | Command::Backup { .. }
        | Command::Restore { .. }
        | Command::Version => Err(Failure::Usage("this verb asks no core".to_owned())),
    }
}

async fn task(
    cli: &Cli,
    verb: &TaskVerb,
    session: &Session,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    match verb {
        TaskVerb::Add(task) => {
            let body = new_task(task, session)?;
            let answer = session.post("/tasks", &body).await?;
            print(cli, &answer, out, show::added)
        }
        TaskVerb::List { stage } => {
            let answer = list(session, stage.as_deref()).await?;
            print(cli, &answer, out, show::list)
        }
        TaskVerb::Show { key, history } => {
            let answer = session.get(&format!("/tasks/{}", segment(key))).await?;
            print(cli, &answer, out, if *history { show::history } else { show::task })
        }
        TaskVerb::Approve { key, who, why, revision } => {
            let body = json!({ "who": session.who(who.as_ref())?, "why": why, "revision": revision });
            let answer = session.post(&format!("/tasks/{}/approve", segment(key)), &body).await?;
            print(cli, &answer, out, show::outcome)
        }
        TaskVerb::AcceptLanded { key, revision, who, why } => {
            let body = json!({ "who": session.who(who.as_ref())?, "why": why, "revision": revision });
            let answer = session.post(&format!("/tasks/{}/accept-landed", segment(key)), &body).await?;
            print(cli, &answer, out, show::outcome)
        }
        TaskVerb::Retry(act) => operate(cli, "retry", act, session, out).await,
        TaskVerb::Redeploy(act) => operate(cli, "redeploy", act, session, out).await,
        TaskVerb::Rollback(act) => operate(cli, "rollback", act, session, out).await,
        TaskVerb::Cancel(act) => operate(cli, "cancel", act, session, out).await,
    }
}

async fn operate(
    cli: &Cli,
    verb: &str,
    act: &Act,
    session: &Session,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let body = json!({ "who": session.who(act.who.as_ref())?, "why": act.why });
    let answer = session.post(&format!("/tasks/{}/{verb}", segment(&act.key)), &body).await?;
    print(cli, &answer, out, show::outcome)
}

fn new_task(task: &AddTask, session: &Session) -> Result<Value, Failure> {
    use std::io::Read;
    let text = match &task.body_file {
        None => task.body.clone(),
        Some(path) => {
            let mut text = String::new();
            std::fs::File::open(path)
                .and_then(|file| file.take(BODY_FILE_MAX_BYTES).read_to_string(&mut text))
                .map_err(|error| Failure::Usage(format!("read {}: {error}", path.display())))?;
            Some(text)
        }
    };
    // taking a work item in is nobody's decision: it may be a script's
    let who = session.who(task.who.as_ref()).ok();
    Ok(json!({ "key": task.key, "project": task.project, "title": task.title, "body": text, "who": who }))
}

/// All pages as one.
async fn list(session: &Session, stage: Option<&str>) -> Result<Value, Failure> {
    let mut tasks: Vec<Value> = Vec::new();
    let mut after = "0".to_owned();
    for _ in 0..PAGES_MAX {
        let stage = stage.map(|stage| format!("&stage={}", segment(stage))).unwrap_or_default();
        let mut page = session.get(&format!("/tasks?limit={PAGE}&after={after}{stage}")).await?;
        if let Some(found) = page.get_mut("tasks").and_then(Value::as_array_mut) {
            tasks.append(found);
        }
        match page.get("next_after").and_then(Value::as_str) {
            Some(next) => after = next.to_owned(),
            None => return Ok(json!({ "tasks": tasks })),
        }
    }
    Ok(json!({ "tasks": tasks, "next_after": after }))
}

async fn log(session: &Session, path: &str, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let mut response = session.open_stream(path).await?;
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) => out.write_all(&bytes)?,
            Ok(None) => break,
            Err(error) => {
                let why = crate::chain::chain(&error.without_url());
                return Err(Failure::Unreachable(format!("the output ended early: {why}")));
            }
        }
    }
    Ok(out.flush()?)
}

fn print(
    cli: &Cli,
    answer: &Value,
    out: &mut (dyn Write + Send),
    show: impl FnOnce(&Value, &mut (dyn Write + Send)) -> std::io::Result<()>,
) -> Result<(), Failure> {
    if cli.json {
        writeln!(out, "{answer:#}")?;
    } else {
        show(answer, out)?;
    }
    Ok(out.flush()?)
}

/// Text as one segment of a path or one value of a query.
fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
