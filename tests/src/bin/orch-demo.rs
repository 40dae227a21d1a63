//! `make demo`: the story by itself, with a report at its end.

use orch_tests::demo;
use orch_tests::relay::Screen;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let screen = Screen::new(std::io::stdout());
    let interrupted = tokio::signal::ctrl_c();
    tokio::select! {
        told = demo::run(&screen) => match told {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                screen.say(&format!("demo: FAILED: {error:#}"));
                ExitCode::FAILURE
            }
        },
        _ = interrupted => {
            screen.say("demo: interrupted; everything it started was ended");
            ExitCode::FAILURE
        }
    }
}
