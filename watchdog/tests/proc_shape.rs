//! Which command lines are a test run, and what of a command line may be shown.

#![expect(clippy::expect_used, reason = "the helpers of a test fail it")]

use orch_watchdog::proc::redact;
use orch_watchdog::proc::shape::{Match, Pattern, PatternError, Shape, find};
use proptest::prelude::*;

fn matched(patterns: &str, words: &[&str]) -> Option<Match> {
    let patterns = Pattern::parse_list(patterns).expect("patterns");
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    find(&patterns, &words, b"comm")
}

/// Words as a shell without quoting would split them; `~` stands for a blank inside a word.
fn line(text: &str) -> Vec<String> {
    text.split(' ').map(|word| word.replace('~', " ")).collect()
}

fn shape_of(text: &str) -> Option<Shape> {
    let words = line(text);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    matched("pytest", &words).map(|found| found.shape)
}

#[test]
fn a_test_run_is_recognised_by_its_structure() {
    for (text, shape) in [
        ("pytest", Shape::Program),
        ("/usr/local/bin/pytest -q tests", Shape::Program),
        ("py.test -x", Shape::Program),
        ("pytest-3 -x", Shape::Program),
        ("pytest-3.11", Shape::Program),
        ("python -m pytest", Shape::Module),
        ("/opt/venv/bin/python3.11 -m pytest -q", Shape::Module),
        ("python3.13t -mpytest", Shape::Module),
        ("pypy3 -Im pytest", Shape::Module),
        ("python -X dev -W error -u -I -B -m pytest tests", Shape::Module),
        ("python -Xdev -Werror -uB -m pytest.__main__", Shape::Module),
        ("python3 --check-hash-based-pycs always -m pytest", Shape::Module),
        ("/usr/bin/python3 /usr/local/bin/pytest -q", Shape::Script),
        ("python3 -u ./py.test", Shape::Script),
        ("python /x/site-packages/pytest/__main__.py", Shape::Script),
        ("/bin/sh /srv/tools/pytest -q", Shape::Script),
        ("uv run pytest", Shape::Program),
        ("uv run --with hypothesis -p 3.12 --frozen pytest -q", Shape::Program),
        ("uv --directory /srv/app run -- pytest", Shape::Program),
        ("uv run -m pytest", Shape::Module),
        ("uv run --extra dev python -m pytest", Shape::Module),
        ("uvx --from pytest-cov pytest", Shape::Program),
        ("uv tool run pytest", Shape::Program),
        ("poetry -C /srv/app run pytest", Shape::Program),
        ("/usr/bin/python3 /usr/bin/poetry run pytest", Shape::Program),
        ("pipenv run python -m pytest", Shape::Module),
        ("pdm run pytest", Shape::Program),
        ("hatch run test:pytest -q", Shape::Program),
        ("conda run -n ci --no-capture-output pytest", Shape::Program),
        ("coverage run -m pytest", Shape::Module),
        ("tox exec -e py313 -- pytest -q", Shape::Program),
        ("/usr/bin/python3 /usr/bin/tox -c ci/tox.ini exec -- python -m pytest", Shape::Module),
        ("valgrind --tool=memcheck -q python -m pytest", Shape::Module),
        ("gdb -q -ex run --args python3 -m pytest", Shape::Module),
        ("lldb -b -- pytest", Shape::Program),
        ("systemd-run --user --scope -p MemoryMax=2G pytest", Shape::Program),
        ("systemd-run --unit ci --scope -- python -m pytest", Shape::Module),
        ("coverage run --source src --branch -m pytest tests", Shape::Module),
        ("python -m coverage run --rcfile=x -p -m pytest", Shape::Module),
        ("/usr/bin/python3 /usr/bin/coverage run -m pytest", Shape::Module),
        ("coverage run /usr/bin/pytest", Shape::Script),
        ("python -m cProfile -o out.prof -m pytest", Shape::Module),
        ("python -m debugpy --listen 5678 --wait-for-client -m pytest", Shape::Module),
        ("timeout 60 pytest", Shape::Program),
        ("timeout -k 5 --signal=INT --foreground 10m pytest", Shape::Program),
        ("env A=B CI=1 pytest", Shape::Program),
        ("env -i -u HOME PATH=/bin python -m pytest", Shape::Module),
        ("env -S python~-m~pytest", Shape::Module),
        ("env - PATH=/bin pytest", Shape::Program),
        ("env -iu HOME pytest", Shape::Program),
        ("env -iuHOME PATH=/bin pytest", Shape::Program),
        ("env -iC /srv pytest", Shape::Program),
        ("env -vS pytest~-q", Shape::Program),
        ("env -iS -u~HOME~PATH=/bin~python~-m~pytest", Shape::Module),
        ("env --split-string=-i~pytest -x", Shape::Program),
        ("env --unset HOME -- pytest", Shape::Program),
        ("sudo -S -u ci pytest", Shape::Program),
        ("sudo -iu ci pytest", Shape::Program),
        ("sudo -Hnu ci -- pytest", Shape::Program),
        ("uv run -P requests pytest -q", Shape::Program),
        ("uv run --upgrade-package requests -m pytest", Shape::Module),
        ("python3 -m slipcover --branch --source src -m pytest", Shape::Module),
        ("python3 -m viztracer -o out.json -m pytest", Shape::Module),
        ("/usr/bin/python3 /usr/bin/kernprof -lv -m pytest", Shape::Module),
        ("/lib64/ld-linux-x86-64.so.2 --library-path /opt/lib /usr/bin/python3 -m pytest", Shape::Module),
        ("npx -p pytest-runner pytest", Shape::Program),
        ("strace -fu ci -o trace pytest", Shape::Program),
        ("stdbuf -oL pytest", Shape::Program),
        ("python3 -m pipx run pytest", Shape::Program),
        ("python3 -m poetry run -q python -m pytest", Shape::Module),
        ("python3 -m coverage run -m pytest", Shape::Module),
        ("pipx run --spec pytest==8.0 pytest -q", Shape::Program),
        ("/usr/bin/python3 /usr/bin/pipx run pytest", Shape::Program),
        ("flock -w 5 /run/ci.lock pytest -q", Shape::Program),
        ("flock -w 5 /run/ci.lock -c python~-m~pytest", Shape::Module),
        ("flock -n /run/ci.lock --command pytest~-q", Shape::Program),
        ("nice -n 10 pytest", Shape::Program),
        ("nice -19 ionice -c2 -n 7 pytest", Shape::Program),
        ("ionice -c 3 pytest", Shape::Program),
        ("taskset -c 0,1 pytest", Shape::Program),
        ("stdbuf -oL -eL pytest", Shape::Program),
        ("xvfb-run -a -s -screen~0~1x1x24 pytest", Shape::Program),
        ("tini -s -- pytest", Shape::Program),
        ("/sbin/docker-init -- /bin/sh -c pytest~-q", Shape::Program),
        ("dumb-init pytest", Shape::Program),
        ("sudo -u ci -E CI=1 pytest", Shape::Program),
        ("gosu ci pytest", Shape::Program),
        ("runuser -u ci -- pytest", Shape::Program),
        ("time -v pytest", Shape::Program),
        ("setsid -w nohup pytest", Shape::Program),
        ("sh -c pytest~-q~tests", Shape::Program),
        ("bash -lc CI=1~exec~'pytest'~\"-q\"", Shape::Program),
        ("bash -euxo pipefail -c python~-m~pytest", Shape::Module),
        ("/bin/bash --norc -c timeout~60~uv~run~pytest", Shape::Program),
        ("busybox timeout 5 pytest", Shape::Program),
        ("python3 -u -c import~sys;exec(eval(sys.stdin.readline()))", Shape::Worker),
        ("[pytest-xdist~running]~tests/test_a.py::test_b", Shape::Worker),
    ] {
        assert_eq!(shape_of(text), Some(shape), "{text}");
    }
}

#[test]
fn a_word_in_another_place_is_no_test_run() {
    for text in [
        "vim pytest.ini",
        "vim pytest",
        "grep pytest",
        "grep -r pytest src",
        "tail -f pytest.log",
        "less tests/pytest.py",
        "cat /usr/bin/pytest",
        "python pytest.py",
        "python -c import~pytest",
        "python -m pip install pytest",
        "env -iu pytest ls",
        "uv run -P pytest app.py",
        "uv run --upgrade-package pytest app.py",
        "uv run --no-binary-package pytest app.py",
        "sudo -iu pytest",
        "sudo -Hu pytest bash",
        "micromamba run -r pytest app",
        "npx -p pytest x",
        "bunx --package pytest x",
        "perl -e1 pytest",
        "perl -e 1 pytest",
        "node --eval=1 pytest",
        "bash -s pytest",
        "sh -es pytest",
        "coverage run --debug pytest app.py",
        "unshare --map-user pytest ls",
        "setpriv --euid pytest ls",
        "strace -u pytest ls",
        "env -S ls~pytest",
        "env -u pytest",
        "python -m pipx install pytest",
        "python -m http.server pytest",
        "python - pytest",
        "pip install pytest",
        "uv add pytest",
        "uv pip install pytest",
        "uv run ruff check pytest",
        "poetry add pytest",
        "coverage report -m pytest",
        "docker exec ci pytest",
        "runuser pytest -c server",
        "runuser -l pytest",
        "ssh host pytest",
        "pipx install pytest",
        "flock pytest -c make~test",
        "flock /run/ci.lock -c pytest~|~tee~log",
        "make pytest",
        "sh -c cd~x~&&~pytest",
        "sh -c a;~pytest;~b",
        "bash -c (pytest)",
        "bash -lc set~-e\npytest",
        "timeout 60 sh -c a~||~pytest",
        "sh -c pytest~|~tee~pytest.log",
        "sh script.sh pytest",
        "bash",
        "-bash",
        "xargs -n1 pytest",
        "watch pytest",
        "ptw",
        "ptw . --now",
        "tox",
        "tox -e pytest",
        "tox run -e pytest",
        "tox list exec pytest",
        "gdb pytest",
        "gdb -ex pytest",
        "gdb -p pytest",
        "lldb pytest",
        "valgrind --log-file=pytest",
        // its command is the service manager's child, and matched there
        "systemd-run --wait pytest",
        "systemd-run --unit pytest sleep 5",
        "systemd-run sleep --scope pytest",
        "timeout 60",
        "env",
        "pytest-watch",
        "pytest-xdist",
        "mypytest",
        "/srv/pytest/server",
        "node pytest-reporter.js",
        "python -X pytest",
        "python -W",
        "python -m",
        "",
    ] {
        assert_eq!(shape_of(text), None, "{text}");
    }
}

#[test]
fn other_patterns_match_by_the_same_structure() {
    assert_eq!(
        matched("jest", &["node", "/app/node_modules/.bin/jest"]).map(|it| it.shape),
        Some(Shape::Script)
    );
    assert_eq!(matched("cargo", &["timeout", "5", "cargo", "test"]).map(|it| it.shape), Some(Shape::Program));
    // a worker's bootstrap is pytest's, not everybody's
    let worker = ["python3", "-c", "import sys;exec(eval(sys.stdin.readline()))"];
    assert_eq!(matched("jest", &worker), None);
}

#[test]
fn a_regular_expression_sees_the_whole_line_and_comm_the_name_alone() {
    assert_eq!(
        matched(r"re:test_\w+ --slow", &["x", "test_a", "--slow"]).map(|it| it.shape),
        Some(Shape::Line)
    );
    assert_eq!(matched(r"re:^a{2\,3}$", &["aaa"]).map(|it| it.shape), Some(Shape::Line));
    assert_eq!(matched("comm:comm", &[]).map(|it| it.shape), Some(Shape::Comm));
    assert_eq!(matched("comm:com", &["comm"]), None);
}

#[test]
fn a_pattern_that_cannot_work_is_refused_by_name() {
    for (text, error) in [
        ("", PatternError::Empty(String::new())),
        (" , ", PatternError::Empty(" , ".to_owned())),
        ("comm:", PatternError::Empty("comm:".to_owned())),
        ("re:", PatternError::Empty("re:".to_owned())),
        ("python -m pytest", PatternError::NoName("python -m pytest".to_owned())),
        ("/usr/bin/pytest", PatternError::NoName("/usr/bin/pytest".to_owned())),
    ] {
        assert_eq!(Pattern::parse_list(text).map(|_| ()), Err(error), "{text:?}");
    }
    assert!(
        matches!(Pattern::parse_list("pytest,re:("), Err(PatternError::Regex(text, _)) if text == "re:(")
    );
    assert!(matches!(Pattern::parse_list("re:((a{99}){99}){99}"), Err(PatternError::Regex(..))));
    let texts: Vec<String> = Pattern::parse_list("pytest, re:a\\,b ,comm:x")
        .expect("a good list")
        .iter()
        .map(|pattern| pattern.text().to_owned())
        .collect();
    assert_eq!(texts, ["pytest", "re:a,b", "comm:x"]);
}

#[test]
fn the_match_says_what_it_was_reached_through() {
    let found =
        matched("pytest", &["timeout", "60", "uv", "run", "python3", "-m", "pytest"]).expect("a match");
    assert_eq!(found.words, "pytest: timeout → uv → python3 → python -m");
}

fn shown(words: &[&str]) -> String {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    redact::command(&words, false)
}

#[test]
fn what_is_no_secret_is_shown() {
    for (words, expected) in [
        (vec!["/usr/bin/python3", "-m", "pytest", "-q", "tests/"], "python3 -m pytest -q tests/"),
        (
            vec!["pytest", "tests/unit/test_token.py::TestTokens::test_refresh[a-b]"],
            "pytest tests/unit/test_token.py::TestTokens::test_refresh[a-b]",
        ),
        (
            vec!["pytest", "-n", "4", "--dist=loadfile", "-k", "not slow"],
            "pytest -n 4 --dist=loadfile -k not slow",
        ),
        (
            vec!["python3", "-u", "-c", "import sys;exec(eval(sys.stdin.readline()))"],
            "python3 -u -c import sys;exec(eval(sys.stdin.readline()))",
        ),
        (
            vec!["timeout", "60", "pytest", "--junitxml=/srv/out/result-2024.xml"],
            "timeout 60 pytest --junitxml=/srv/out/result-2024.xml",
        ),
        (vec!["pytest", "--author", "x"], "pytest --author x"),
        (vec!["pytest", "tests/test_token.py:12"], "pytest tests/test_token.py:12"),
        (vec!["pytest", "tests/test_pin.py::test_otp"], "pytest tests/test_pin.py::test_otp"),
        (vec!["pytest", "-p", "no:cacheprovider", "tests/"], "pytest -p no:cacheprovider tests/"),
        (vec!["nox", "--session", "tests-3.12"], "nox --session tests-3.12"),
        (vec!["jest", "--passWithNoTests", "src/a.test.js"], "jest --passWithNoTests src/a.test.js"),
        (vec!["x", "--bypass", "tests/a.py"], "x --bypass tests/a.py"),
        (vec!["x", "--pass-through", "tests/a.py"], "x --pass-through tests/a.py"),
        (vec!["python", "--spin=3", "pins.py"], "python --spin=3 pins.py"),
    ] {
        assert_eq!(shown(&words), expected);
    }
}

#[test]
fn a_secret_is_dropped_wherever_it_is_named() {
    for (words, expected) in [
        (vec!["pytest", "--token", "abc"], "pytest --token ***"),
        (vec!["pytest", "--token=abc"], "pytest --token=***"),
        (vec!["pytest", "--api-key", "abc", "-q"], "pytest --api-key *** -q"),
        (vec!["pytest", "--apiKey=abc"], "pytest --apiKey=***"),
        (vec!["env", "DB_PASSWORD=abc", "pytest"], "env DB_PASSWORD=*** pytest"),
        (vec!["env", "PGPASS=abc", "pytest"], "env PGPASS=*** pytest"),
        (vec!["x", "--env=MY_SECRET=abc"], "x --env=MY_SECRET=***"),
        (vec!["x", "postgres://bob:p@ss@db/app"], "x postgres://***@db/app"),
        (vec!["x", "--dsn=bob:pw@host"], "x --dsn=***"),
        (
            vec!["x", "--index-url=https://bob:pw@pypi.example/simple"],
            "x --index-url=https://***@pypi.example/simple",
        ),
        (vec!["curl", "-H", "Authorization: Bearer abc def"], "curl -H Authorization:***"),
        (vec!["x", "https://h/p?a=1&access_token=abc&b=2"], "x https://h/p?a=1&access_token=***"),
        (vec!["sh", "-c", "TOKEN=abc pytest -q"], "sh -c TOKEN=*** pytest -q"),
        (vec!["sh", "-c", "TOKEN='a b' pytest"], "sh -c TOKEN=***"),
        (vec!["sh", "-c", "pytest --password 'a b' -q"], "sh -c pytest --password ***"),
        (vec!["x", r#"{"password":"abc def"}"#], r#"x {"password":***"#),
        (vec!["x", "ghp_abcdefghijklmnopqrst"], "x ***"),
        (vec!["x", "sk-ant-abcdefghijklmnopqrst"], "x ***"),
        (vec!["x", "123456789:AAFxK3v9_abcdefGHIJK1mnop2Qrstuv3xy"], "x 123456789:***"),
        (vec!["x", "d41d8cd98f00b204e9800998ecf8427e"], "x ***"),
        // a title: the whole line in the first word, with a slash in the secret
        (vec!["--password=ab/cd"], "--password=***"),
        (vec!["/usr/bin/worker --token ab/cd -q"], "worker --token *** -q"),
        (vec!["curl", "-u", "bob:pw", "h"], "curl -u *** h"),
        (vec!["x", "--token", "--Zq-9"], "x --token ***"),
        (vec!["x", "--password", "--abcdef"], "x --password ***"),
        (vec!["x", "--password", "--token", "abc", "-q"], "x --password *** *** -q"),
        (vec!["x", "--password", "-u", "bob:pw"], "x --password *** ***"),
        (vec!["sh", "-c", "x --password --token abc -q"], "sh -c x --password *** *** -q"),
        (vec!["x", "--pswd=abcJ"], "x --pswd=***"),
        (vec!["x", "--passcode", "abcK"], "x --passcode ***"),
        (vec!["x", "--otp=abcC"], "x --otp=***"),
        (vec!["x", "--sessionid", "abcB"], "x --sessionid ***"),
        (vec!["x", "--pin", "1234abc8"], "x --pin ***"),
        (vec!["x", "token.py:12ab"], "x token.py:***"),
        (vec!["x", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"], "x ***"),
    ] {
        assert_eq!(shown(&words), expected, "{words:?}");
    }
}

#[test]
fn a_command_line_is_one_printable_line_of_bounded_length() {
    assert_eq!(shown(&["x", "a\nb\u{1b}[31mc\u{202e}d"]), "x a b [31mc d");
    let long = "z".repeat(150);
    let line = shown(&["x", &long, &long]);
    assert_eq!((line.chars().count(), line.chars().last()), (redact::COMMAND_CHARS, Some('…')));
    assert_eq!(shown(&["x", &"a".repeat(5000)]), "x [5000 bytes]");
    assert_eq!(redact::command(&[b"x", b"--flag", b"half a sec"], true), "x --flag …");
    assert_eq!(redact::command(&[], false), "");
}

fn hostile() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let word = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::sample::select(
            [
                "python3", "-m", "-c", "-uc", "sh", "bash", "-lc", "env", "-S", "A=B", "timeout", "uv",
                "run", "--", "-", "pytest", "coverage", "'", "\"", "\\", "--token", "=", "://", "@", "a:b@c",
                "hatch", ":", "flock", "sudo", "busybox", "-mX", "-W", "☃", "\u{202e}"
            ]
            .as_slice()
        )
        .prop_map(|word| word.as_bytes().to_vec()),
    ];
    prop::collection::vec(word, 0..40)
}

proptest! {
    #[test]
    fn no_command_line_breaks_matching_or_redaction(words in hostile()) {
        let patterns = Pattern::parse_list("pytest,jest,re:a.*b,comm:x").expect("patterns");
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        drop(find(&patterns, &words, b"x)\n("));
        let shown = redact::command(&words, false);
        prop_assert!(shown.chars().count() <= redact::COMMAND_CHARS);
        prop_assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }

    #[test]
    fn a_secret_in_a_known_place_never_survives(
        secret in "[A-Za-z0-9+/@:.,_~%$!#^*]{6,40}",
        place in 0..9_usize,
        before in prop::collection::vec("[a-z]{1,8}", 0..3),
    ) {
        // marked, so that a part of it is recognised and no common word is mistaken for it
        let secret = format!("Zq{secret}Zq");
        let placed: Vec<String> = match place {
            0 => vec!["--token".to_owned(), secret.clone()],
            1 => vec![format!("--client-secret={secret}")],
            2 => vec![format!("API_KEY={secret}")],
            3 => vec![format!("https://user:{}@host/x", secret)],
            4 => vec!["-H".to_owned(), format!("X-Auth-Token: {secret}")],
            5 => vec!["sh".to_owned(), "-c".to_owned(), format!("DB_PASSWORD={secret} pytest")],
            6 => vec![format!("-Dservice.password={secret}")],
            7 => vec![format!("{{\"access_key\": \"{secret}\"}}")],
            _ => vec!["sh".to_owned(), "-c".to_owned(), format!("tool --passphrase {secret} x")],
        };
        let words: Vec<&[u8]> =
            std::iter::once("prog").chain(before.iter().map(String::as_str)).chain(placed.iter().map(String::as_str)).map(str::as_bytes).collect();
        let shown = redact::command(&words, false);
        prop_assert!(!shown.contains("Zq"), "{shown}");
    }
}

/// Names for one thing, as people write them.
const SECRET_NAMES: &[&str] = &[
    "password",
    "passwd",
    "pswd",
    "psword",
    "pwd",
    "pass",
    "passcode",
    "passkey",
    "pass-phrase",
    "smtp-pass",
    "dbpass",
    "otp",
    "totp-code",
    "mfa",
    "2fa",
    "pin",
    "pin-code",
    "session-id",
    "sessionid",
    "sid",
    "csrf",
    "api-key",
    "token2",
    "auth",
    "client-secret",
    "credentials",
];

proptest! {
    /// A value may begin with dashes, like an option, and the option before it may be of any spelling.
    #[test]
    fn the_value_of_a_secret_name_never_survives_however_it_is_written(
        name in prop::sample::select(SECRET_NAMES),
        spelling in 0..4_usize,
        place in 0..6_usize,
        dashes in 0..3_usize,
        secret in "[a-z0-9=:+/@.,-]{4,24}",
        another in any::<bool>(),
    ) {
        let name = match spelling {
            0 => name.to_owned(),
            1 => name.replace('-', "_"),
            2 => name.to_uppercase().replace('-', "_"),
            _ => name.split('-').map(|part| part[..1].to_uppercase() + &part[1..]).collect(),
        };
        // capital letters mark its parts: nothing else here has any of these
        let marked: String = secret.chars().flat_map(|letter| [letter, 'Ж']).collect();
        let value = format!("{}Ж{marked}", "-".repeat(dashes));
        let mut words = vec!["prog".to_owned()];
        if another {
            words.push("--password".to_owned());
        }
        match place {
            0 => words.extend([format!("--{name}"), value]),
            1 => words.push(format!("--{name}={value}")),
            2 => words.push(format!("{name}={value}")),
            3 => words.extend([format!("-{name}"), value]),
            4 => words.extend(["sh".to_owned(), "-c".to_owned(), format!("x --{name} {value} y")]),
            _ => words.push(format!("{{\"{name}\": \"{value}\"}}")),
        }
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let shown = redact::command(&words, false);
        prop_assert!(!shown.contains('Ж'), "{shown}");
    }
}

#[test]
fn a_line_of_two_megabytes_is_matched_by_its_beginning() {
    let long = vec![b'x'; 2 * 1024 * 1024];
    let patterns = Pattern::parse_list("pytest,re:x{9}y").expect("patterns");
    assert_eq!(
        find(&patterns, &[b"python3", b"-m", b"pytest", &long], b"").map(|it| it.shape),
        Some(Shape::Module)
    );
    assert_eq!(find(&patterns, &[&long, b"y"], b""), None);
    let many: Vec<&[u8]> = std::iter::repeat_n(b"env".as_slice(), 100_000).collect();
    assert_eq!(find(&patterns, &many, b""), None);
}
