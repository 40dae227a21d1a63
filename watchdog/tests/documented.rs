//! The commands that documents tell to run are commands of this program, and its image finds it by its name.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::path::PathBuf;

use clap::Parser as _;
use orch_watchdog::cli::Arguments;

fn text(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// What documents write in place of a word.
const PLACEHOLDERS: [(&str, &str); 1] = [("PID", "1")];

/// Commands in a document: between backticks, or a line of a block.
fn commands(document: &str) -> Vec<Vec<String>> {
    let pieces = document.lines().flat_map(|line| match line.contains('`') {
        true => line.split('`').skip(1).step_by(2).collect::<Vec<_>>(),
        false => vec![line],
    });
    let words = pieces.map(|piece| piece.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let of_ours = words.filter_map(|words| {
        let at = words.iter().position(|word| word == "orch-watchdog" || word == "/orch-watchdog")?;
        // prose of a line without backticks
        let is_command =
            at == 0 || ["exec", "run"].iter().any(|verb| words.iter().take(at).any(|word| word == verb));
        is_command.then(|| words.get(at..).unwrap_or_default().to_vec())
    });
    of_ours.filter(|words| words.len() > 1).collect()
}

#[test]
fn commands_of_the_documents_are_ones_that_the_program_knows() {
    for (document, at_least) in
        [("docs/runbook.md", 10), ("README.md", 2), ("LITE_SETUP.md", 3), ("docs/messages.md", 3)]
    {
        let found = commands(&text(document));
        assert!(found.len() >= at_least, "{document}: {found:?}");
        for command in found {
            let words = command.iter().map(|word| {
                PLACEHOLDERS.iter().find(|(name, _)| name == word).map_or(word.as_str(), |(_, value)| *value)
            });
            let parsed = Arguments::try_parse_from(words).map_err(|error| error.to_string());
            assert!(parsed.is_ok(), "{document}: {command:?}: {parsed:?}");
        }
    }
}

/// `docker exec NAME orch-watchdog status` found no such program.
#[test]
fn the_image_finds_the_program_by_its_name() {
    let file = text("deploy/watchdog.Dockerfile");
    let last = file.rsplit("\nFROM ").next().unwrap();
    assert!(last.starts_with("scratch\n"), "{last}");
    let copied = last
        .lines()
        .find_map(|line| line.strip_prefix("COPY --from=programs /out/orch-watchdog "))
        .expect("the program is copied");
    let folder = copied.strip_suffix("orch-watchdog").expect("under its name");
    let settings = last.lines().filter_map(|line| line.strip_prefix("ENV ")).flat_map(str::split_whitespace);
    let path = settings.filter_map(|setting| setting.strip_prefix("PATH=")).next_back().expect("a PATH");
    assert!(path.split(':').any(|place| place == folder), "{path} has no {folder}");
}
