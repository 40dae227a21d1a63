//! Rules of reading: everything wrong is told at once, and no secret ever is.

use super::*;
use crate::{ExposeSecret, Section};
use proptest::prelude::*;

static TABLE: Table = Table {
    program: "example",
    prefix: "EX_",
    unknown: Unknown::Refuse,
    foreign: &["EX_USEC"],
    sections: &[
        Section {
            title: "One",
            keys: &[
                Key::text("EX_TEXT", "abc", "anything", "A text."),
                Key::text("EX_MAYBE", "", "anything", "A text that may be unset.").optional(),
                Key::text("EX_HOST", "", "a name", "A name found at run time.").described("the host's"),
                Key::path("EX_DIR", "./data", "A directory."),
                Key::path("EX_FILE_PATH", "", "A file.").described("x in EX_DIR"),
                Key::switch("EX_SWITCH", true, "A switch."),
                Key::integer("EX_COUNT", "4", (1, 64), "things", "A count."),
            ],
        },
        Section {
            title: "Two",
            keys: &[
                Key::seconds("EX_WAIT_S", "30", (100, 3_600_000), "A wait."),
                Key::seconds("EX_AGE_S", "", (100, 3_600_000), "An age.").optional(),
                Key::minutes("EX_LONG_MIN", "60", (100, 86_400_000), "A long wait."),
                Key::points("EX_POINTS", "0.1", (0, 1_000_000), "A tolerance."),
                Key::word("EX_WORD", "text", &["text", "json"], "A word."),
                Key::http_address("EX_URL", "http://127.0.0.1:8080", "An address."),
                Key::socket_address("EX_BIND", "127.0.0.1:0", "Where to listen."),
                Key::list("EX_LIST", "a,b", "names", Empty::Refused, "A list."),
                Key::list("EX_SCOPE", "*", "names", Empty::Allowed, "A list that may be empty."),
                Key::secret("EX_TOKEN", "A secret."),
            ],
        },
    ],
};

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Word {
    #[default]
    Text,
    Json,
}

#[derive(Debug)]
struct Example {
    text: String,
    maybe: Option<String>,
    host: String,
    dir: PathBuf,
    file: PathBuf,
    switch: bool,
    count: u8,
    wait_ms: i64,
    age_ms: Option<i64>,
    long_ms: i64,
    ppm: i64,
    word: Word,
    url: String,
    bind: SocketAddr,
    list: Vec<String>,
    scope: Vec<String>,
    token: Option<SecretString>,
}

fn load(strings: &Strings) -> Result<Loaded<Example>, Problems> {
    let mut reader = Reader::new(&TABLE, strings);
    let dir = reader.path("EX_DIR");
    let value = Example {
        text: reader.text("EX_TEXT"),
        maybe: reader.optional_text("EX_MAYBE"),
        host: reader.text_or("EX_HOST", "box", |text| Ok(text.to_owned())),
        file: reader.path_or("EX_FILE_PATH", &dir.join("x")),
        dir,
        switch: reader.switch("EX_SWITCH"),
        count: reader.integer("EX_COUNT"),
        wait_ms: reader.duration_ms("EX_WAIT_S"),
        age_ms: reader.optional_duration_ms("EX_AGE_S"),
        long_ms: reader.duration_ms("EX_LONG_MIN"),
        ppm: reader.points_ppm("EX_POINTS"),
        word: reader.word("EX_WORD", &[("text", Word::Text), ("json", Word::Json)]),
        url: reader.http_address("EX_URL"),
        bind: reader.socket_address("EX_BIND"),
        list: reader.list("EX_LIST"),
        scope: reader.list("EX_SCOPE"),
        token: reader.secret("EX_TOKEN"),
    };
    reader.finish(value)
}

fn with(pairs: &[(&str, &str)]) -> Result<Loaded<Example>, Problems> {
    load(&Strings::from_pairs(pairs.iter().copied()))
}

fn shown(pairs: &[(&str, &str)]) -> Vec<String> {
    match with(pairs) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.all().iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn an_empty_environment_gives_the_defaults() {
    let value = with(&[]).unwrap().value;
    assert_eq!(value.text, "abc");
    assert_eq!(value.maybe, None);
    assert_eq!(value.host, "box");
    assert_eq!((value.dir, value.file), (PathBuf::from("./data"), PathBuf::from("./data/x")));
    assert!(value.switch);
    assert_eq!(value.count, 4);
    assert_eq!((value.wait_ms, value.age_ms, value.long_ms), (30_000, None, 3_600_000));
    assert_eq!(value.ppm, 1_000);
    assert_eq!(value.word, Word::Text);
    assert_eq!(value.url, "http://127.0.0.1:8080");
    assert_eq!(value.bind.to_string(), "127.0.0.1:0");
    assert_eq!(value.list, ["a", "b"]);
    assert_eq!(value.scope, ["*"]);
    assert!(value.token.is_none());
}

#[test]
fn given_values_are_taken_as_they_stand() {
    let value = with(&[
        ("EX_TEXT", "\"quoted\" $HOME # no comment"),
        ("EX_MAYBE", "here"),
        ("EX_HOST", "other"),
        ("EX_FILE_PATH", "/a b/c"),
        ("EX_SWITCH", "false"),
        ("EX_COUNT", "64"),
        ("EX_WAIT_S", "0.25"),
        ("EX_AGE_S", "1.5"),
        ("EX_LONG_MIN", "0.05"),
        ("EX_POINTS", "2.5"),
        ("EX_WORD", "json"),
        ("EX_URL", "https://host/base/"),
        ("EX_BIND", "[::1]:9"),
        ("EX_LIST", "x , y"),
        ("EX_SCOPE", ""),
        ("EX_TOKEN", "s3cret"),
        ("EX_USEC", "5"),
        ("OTHER", "whatever"),
    ])
    .unwrap()
    .value;
    assert_eq!(value.text, "\"quoted\" $HOME # no comment");
    assert_eq!((value.maybe.as_deref(), value.host.as_str()), (Some("here"), "other"));
    assert_eq!(value.file, PathBuf::from("/a b/c"));
    assert!(!value.switch);
    assert_eq!((value.count, value.wait_ms, value.age_ms, value.long_ms), (64, 250, Some(1_500), 3_000));
    assert_eq!((value.ppm, value.word), (25_000, Word::Json));
    assert_eq!((value.url.as_str(), value.bind.port()), ("https://host/base", 9));
    assert_eq!(value.list, ["x", "y"]);
    assert!(value.scope.is_empty());
    assert_eq!(value.token.unwrap().expose_secret(), "s3cret");
}

#[test]
fn a_bad_value_names_key_value_and_what_is_allowed() {
    for (key, value, expected) in [
        ("EX_SWITCH", "yes", "EX_SWITCH=\"yes\": neither true nor false; allowed: true or false"),
        ("EX_SWITCH", "True", "EX_SWITCH=\"True\": neither true nor false; allowed: true or false"),
        (
            "EX_SWITCH",
            "'true'",
            "EX_SWITCH=\"'true'\": neither true nor false; quotes are taken as part of the value; \
             allowed: true or false",
        ),
        (
            "EX_SWITCH",
            "",
            "EX_SWITCH=\"\": is empty; leave it out for the default (true); allowed: true or false",
        ),
        ("EX_COUNT", "0", "EX_COUNT=\"0\": too small; allowed: a whole number of things, 1 to 64"),
        ("EX_COUNT", "65", "EX_COUNT=\"65\": too large; allowed: a whole number of things, 1 to 64"),
        (
            "EX_COUNT",
            "1.5",
            "EX_COUNT=\"1.5\": not a whole number; allowed: a whole number of things, 1 to 64",
        ),
        ("EX_COUNT", "+4", "EX_COUNT=\"+4\": not a whole number; allowed: a whole number of things, 1 to 64"),
        (
            "EX_WAIT_S",
            "0.05",
            "EX_WAIT_S=\"0.05\": too small; allowed: seconds, 0.1 to 3600, fractions allowed",
        ),
        (
            "EX_WAIT_S",
            "5m",
            "EX_WAIT_S=\"5m\": not a number such as 30 or 0.5; allowed: seconds, 0.1 to 3600, \
             fractions allowed",
        ),
        (
            "EX_POINTS",
            "100.5",
            "EX_POINTS=\"100.5\": too large; allowed: percentage points, 0 to 100, fractions allowed",
        ),
        ("EX_WORD", "jsn", "EX_WORD=\"jsn\": not a known word; did you mean json?; allowed: text or json"),
        (
            "EX_URL",
            "host:80",
            "EX_URL=\"host:80\": does not start with http:// or https://; allowed: http:// or https://, host, \
             optional port and path",
        ),
        (
            "EX_BIND",
            "localhost:80",
            "EX_BIND=\"localhost:80\": not an address with a port; allowed: address:port, such as \
             127.0.0.1:8080 or [::1]:8080",
        ),
        ("EX_LIST", "a,,b", "EX_LIST=\"a,,b\": has an empty item; allowed: a comma list of names"),
        (
            "EX_LIST",
            "",
            "EX_LIST=\"\": is empty; leave it out for the default (a,b); allowed: a comma list of names",
        ),
        ("EX_TEXT", "a\nb", "EX_TEXT: has control characters"),
    ] {
        assert_eq!(shown(&[(key, value)]), [expected], "{key}={value:?}");
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let told = shown(&[
        ("EX_SWITCH", "yes"),
        ("EX_COUNT", "many"),
        ("EX_WAIT_S", "-1"),
        ("EX_WORD", "xml"),
        ("EX_URL", "x"),
        ("EX_BIND", "x"),
        ("EX_TOKEN", "a b"),
        ("EX_SWICH", "true"),
    ]);
    assert_eq!(told.len(), 8, "{told:#?}");
    assert_eq!(told[7], "EX_SWICH: unknown key; did you mean EX_SWITCH?");
}

#[test]
fn an_unknown_key_is_refused_or_warned_of_and_never_quoted() {
    static LENIENT: Table = Table {
        program: "lenient",
        prefix: "EX_",
        unknown: Unknown::Warn,
        foreign: &["EX_USEC"],
        sections: &[],
    };
    let strings = Strings::from_pairs([("EX_TOKN", "hunter2"), ("EX_USEC", "1"), ("EXTRA", "x")]);
    let refused = load(&strings).unwrap_err().to_string();
    assert!(refused.contains("EX_TOKN: unknown key; did you mean EX_TOKEN?"), "{refused}");
    assert!(!refused.contains("hunter2"), "{refused}");
    let loaded = Reader::new(&LENIENT, &strings).finish(()).unwrap();
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["EX_TOKN: unknown key of lenient"]);
    let mut wrong = Reader::new(&LENIENT, &strings);
    wrong.refuse(Problem::of("EX_OTHER", "is wrong"));
    let all = wrong.finish(()).unwrap_err().to_string();
    assert!(all.contains("EX_OTHER: is wrong"), "{all}");
    assert!(all.contains("EX_TOKN: unknown key of lenient (a warning)"), "{all}");
}

#[test]
fn a_secret_comes_from_the_key_or_the_file_and_not_from_both() {
    let from_file = |path: &str, text: &str| {
        load(&Strings::from_pairs([("EX_TOKEN_FILE", path)]).with_file("/run/secrets/token", text))
    };
    let token = from_file("/run/secrets/token", "from-file\n").unwrap().value.token.unwrap();
    assert_eq!(token.expose_secret(), "from-file");
    let print = from_file("/run/secrets/token", "from-file").unwrap().print_env();
    assert!(print.contains("EX_TOKEN=\nEX_TOKEN_FILE=/run/secrets/token\n"), "{print}");
    for (path, text, expected) in [
        ("/run/secrets/other", "x", "EX_TOKEN_FILE: cannot be read: no such file"),
        ("/run/secrets/token", "\n", "EX_TOKEN_FILE: the file is empty"),
        (
            "/run/secrets/token",
            "two words",
            "EX_TOKEN_FILE: allowed: a secret without spaces or control characters",
        ),
    ] {
        assert_eq!(from_file(path, text).unwrap_err().all()[0].to_string(), expected);
    }
    let both = shown(&[("EX_TOKEN", "a"), ("EX_TOKEN_FILE", "/b")]);
    assert_eq!(both, ["EX_TOKEN + EX_TOKEN_FILE: both are set; set one of them"]);
    assert!(with(&[("EX_TOKEN", ""), ("EX_TOKEN_FILE", "")]).unwrap().value.token.is_none());
}

#[test]
fn a_secret_file_is_read_from_disk_up_to_its_limit() {
    let path = std::env::temp_dir().join(format!("orch-settings-secret-{}", std::process::id()));
    let load_it =
        || load(&Strings::from_pairs([("EX_TOKEN_FILE", path.to_string_lossy().into_owned())]).with_disk());
    std::fs::write(&path, "on-disk\r\n").unwrap();
    let token = load_it().unwrap().value.token.unwrap();
    std::fs::write(&path, "x".repeat(65_537)).unwrap();
    let too_large = load_it().unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(token.expose_secret(), "on-disk");
    assert!(too_large.contains("larger than 65536 bytes"), "{too_large}");
}

#[test]
fn a_file_that_a_setting_names_is_read_from_the_base_and_judged_by_its_content() {
    static BUNDLE: Table = Table {
        program: "bundle",
        prefix: "EX_",
        unknown: Unknown::Refuse,
        foreign: &[],
        sections: &[Section { title: "One", keys: &[Key::path("EX_BUNDLE", "", "A file.").optional()] }],
    };
    let load = |path: &str, max_bytes| {
        let strings = Strings::from_pairs([("EX_BUNDLE", path)]).with_file("/srv/a.pem", "abc");
        let mut reader = Reader::new(&BUNDLE, &strings);
        let size = reader.optional_file("EX_BUNDLE", Path::new("/srv"), max_bytes, |content| match content {
            b"abc" => Ok(content.len()),
            _ => Err("not abc".to_owned()),
        });
        reader.finish(size).map(|loaded| loaded.value).map_err(|problems| problems.all()[0].to_string())
    };
    assert_eq!(load("", 3), Ok(None));
    assert_eq!((load("a.pem", 3), load("/srv/a.pem", 3)), (Ok(Some(3)), Ok(Some(3))));
    let missing = r#"EX_BUNDLE="b.pem": cannot be read: no such file; allowed: a path"#;
    assert_eq!(load("b.pem", 3), Err(missing.to_owned()));

    let file = std::env::temp_dir().join(format!("orch-settings-file-{}", std::process::id()));
    std::fs::write(&file, b"\xffbc").unwrap();
    let on_disk = |max_bytes| {
        let strings = Strings::from_pairs([("EX_BUNDLE", file.to_string_lossy().into_owned())]).with_disk();
        let mut reader = Reader::new(&BUNDLE, &strings);
        let read = reader.optional_file("EX_BUNDLE", Path::new("/"), max_bytes, |content| {
            if content == b"\xffbc" { Ok(()) } else { Err("cut".to_owned()) }
        });
        reader.finish(read).map(|loaded| loaded.value).map_err(|problems| problems.to_string())
    };
    let (whole, too_large) = (on_disk(3), on_disk(2).unwrap_err());
    std::fs::remove_file(&file).unwrap();
    assert_eq!(whole, Ok(Some(())));
    assert!(too_large.contains("cannot be read: larger than 2 bytes"), "{too_large}");
}

#[test]
fn a_secret_is_shown_nowhere() {
    let secret = "hunter2-hunter2";
    let strings = Strings::from_pairs([("EX_TOKEN", secret)]);
    let loaded = load(&strings).unwrap();
    assert!(loaded.print_env().contains("EX_TOKEN=***\n"));
    for text in
        [loaded.print_env(), format!("{loaded:?}"), format!("{strings:?}"), format!("{:?}", loaded.value)]
    {
        assert!(!text.contains(secret), "{text}");
    }
    for pairs in [
        vec![("EX_TOKEN", "hunter2 hunter2")],
        vec![("EX_TOKEN", "hunter2\u{7}")],
        vec![("EX_TOKEN", "hunter2"), ("EX_TOKEN_FILE", "/nowhere")],
        // the secret itself where its file's name belongs
        vec![("EX_TOKEN_FILE", "hunter2")],
        vec![("EX_URL", "http://user:hunter2@host")],
        vec![("EX_TOKEN_", "hunter2")],
    ] {
        let problems = with(&pairs).unwrap_err();
        assert!(!problems.to_string().contains("hunter2"), "{problems}");
        assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
    }
}

#[test]
fn the_print_is_an_environment_that_reads_the_same() {
    let loaded = with(&[("EX_COUNT", "7"), ("EX_SCOPE", ""), ("EX_AGE_S", "1.5")]).unwrap();
    let print = loaded.print_env();
    assert!(print.contains("EX_HOST=box\n") && print.contains("EX_FILE_PATH=./data/x\n"), "{print}");
    let again = load(&Strings::from_pairs(print.lines().map(|line| line.split_once('=').unwrap()))).unwrap();
    assert_eq!(again.print_env(), print);
    assert_eq!((again.value.count, again.value.scope.len(), again.value.age_ms), (7, 0, Some(1_500)));
}

#[test]
fn the_example_holds_every_key_once_and_reads_as_the_defaults() {
    let text = render::example(&TABLE);
    let pairs: Vec<(&str, &str)> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once('=').unwrap())
        .collect();
    let names: Vec<&str> = pairs.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, TABLE.variables());
    let by_example = with(&pairs).unwrap();
    assert_eq!(by_example.print_env(), with(&[]).unwrap().print_env());
}

#[test]
fn a_table_and_its_reading_that_disagree_are_a_problem() {
    let strings = Strings::from_pairs([("IGNORED", "")]);
    let mut reader = Reader::new(&TABLE, &strings);
    reader.switch("EX_NOWHERE");
    reader.switch("EX_COUNT");
    reader.text("EX_MAYBE");
    reader.integer::<u8>("EX_TEXT");
    let told = reader.finish(()).unwrap_err().to_string();
    for expected in [
        "EX_NOWHERE: is read but not declared",
        "EX_COUNT: is read as another kind",
        "EX_MAYBE: is read as required but has no default",
        "EX_TEXT: is read as another kind",
        "EX_TOKEN: is declared but never read",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
}

#[test]
fn a_rule_across_keys_judges_sound_keys_only() {
    let strings = Strings::from_pairs([("EX_COUNT", "x"), ("EX_TOKEN", "a"), ("EX_TOKEN_FILE", "b")]);
    let mut reader = Reader::new(&TABLE, &strings);
    reader.integer::<u8>("EX_COUNT");
    reader.secret("EX_TOKEN");
    reader.text("EX_TEXT");
    assert!(!reader.sound(&["EX_TEXT", "EX_COUNT"]));
    assert!(!reader.sound(&["EX_TOKEN"]));
    assert!(reader.sound(&["EX_TEXT"]));
}

#[test]
fn bytes_that_are_no_text_are_a_problem_of_their_key() {
    use std::os::unix::ffi::OsStringExt;
    let strings = Strings::from_raw([("EX_TEXT", std::ffi::OsString::from_vec(vec![0xff, 0xfe]))]);
    let told = load(&strings).unwrap_err();
    assert_eq!(told.all()[0].to_string(), "EX_TEXT: is not UTF-8");
}

#[test]
fn a_long_value_is_cut_where_it_is_quoted() {
    let told = shown(&[("EX_WORD", &"é".repeat(500))]);
    assert!(told[0].starts_with("EX_WORD=\"é"), "{}", told[0]);
    assert!(told[0].chars().count() < 200, "{}", told[0]);
}

proptest! {
    #[test]
    fn no_environment_makes_it_panic(pairs in proptest::collection::vec(("EX_[A-Z_]{0,8}", ".{0,12}"), 0..8)) {
        load(&Strings::from_pairs(pairs)).ok();
    }

    #[test]
    fn a_key_that_is_set_to_anything_reads_or_is_named(index in 0..TABLE.keys().count(), text in ".{0,16}") {
        let key = TABLE.keys().nth(index).unwrap();
        if let Err(problems) = load(&Strings::from_pairs([(key.name, text)])) {
            for problem in problems.all() {
                prop_assert!(problem.key.starts_with(key.name));
            }
        }
    }
}
