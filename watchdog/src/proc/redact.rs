//! A command line that may be shown: what ran, and no secret.
//!
//! Responsible for dropping values of secret-looking options and variables, credentials in URLs and long random
//! strings, for making the rest printable, and for the length. It errs towards dropping: a lost test name is a
//! nuisance, a leaked token an incident. It does not know which programs exist.
//!
//! Invariant: what stands behind a secret-looking name never appears, not even in part; no control character, no
//! bidirectional override and no line break appears.

/// Longest command line shown, in characters.
pub const COMMAND_CHARS: usize = 200;

/// Longest word that is shown; a longer one is told by its length.
const WORD_BYTES: usize = 1024;
/// Words that are shown at most.
const WORDS_SHOWN: usize = 64;
/// What stands in place of a secret.
const DROPPED: &str = "***";

/// Parts of a name that make its value a secret, wherever they stand in it.
const SECRET_STEMS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "sessionid",
    "sessid",
    "authcode",
    "mnemonic",
];
/// Whole parts of a name (`DB_PASS`, `--auth`) that do.
const SECRET_PARTS: &[&str] = &[
    "pass",
    "pwd",
    "pw",
    "auth",
    "authorization",
    "bearer",
    "creds",
    "cookie",
    "jwt",
    "dsn",
    "pat",
    "key",
    "webhook",
    "sig",
    "signature",
    "otp",
    "totp",
    "hotp",
    "mfa",
    "tfa",
    "2fa",
    "pin",
    "pincode",
    "cvv",
    "cvc",
    "sid",
    "csrf",
    "xsrf",
];
/// Ways to write "password" shorter, without vowels and doubled letters: `pswd`, `passwd`, `psword`.
const PASSWORD_SKELETONS: &[&str] = &["psw", "pswd", "pswrd", "pwd", "pwrd", "psphrs"];
/// Names, or parts of them, that only sound like one.
const HARMLESS: &[&str] = &[
    "bypass",
    "compass",
    "passed",
    "passenv",
    "passes",
    "passing",
    "passive",
    "passthrough",
    "passthru",
    "passwithnotests",
    "pinmemory",
];
/// Beginnings of well-known tokens; what follows in the same run of letters is dropped with them.
const TOKEN_PREFIXES: &[&str] = &[
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "sk-",
    "sk_live_",
    "sk_test_",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "AKIA",
    "ASIA",
    "eyJ",
    "npm_",
    "pypi-",
    "hf_",
    "AIza",
];
/// Letters behind such a beginning that make it a token and no word.
const TOKEN_REST: usize = 12;
/// Shortest run of letters and digits that is judged by how random it looks.
const RANDOM_RUN: usize = 20;
/// Shortest run when `/` may be a letter of base64 and no separator of a path.
const RANDOM_RUN_WITH_SLASH: usize = 32;

/// Redacts a command line: the program by its base name, then its words, cut at [`COMMAND_CHARS`].
///
/// `truncated` says that the last word is only a part of itself; it is not shown then.
#[must_use]
pub fn command(words: &[&[u8]], truncated: bool) -> String {
    let mut shown = String::new();
    let mut value_follows = false;
    // `curl -u name:secret`
    let mut login_follows = false;
    let mut words = words.iter().copied().enumerate().peekable();
    while let Some((at, word)) = words.next() {
        if at > 0 {
            shown.push(' ');
        }
        if at >= WORDS_SHOWN || shown.chars().count() > COMMAND_CHARS || (truncated && words.peek().is_none())
        {
            shown.push('…');
            break;
        }
        if word.len() > WORD_BYTES {
            shown.push_str(&format!("[{} bytes]", word.len()));
            value_follows = false;
            continue;
        }
        let word = if at == 0 { program(word) } else { word };
        let text = plain(word, WORD_BYTES);
        if value_follows {
            shown.push_str(DROPPED);
            // a value may look like an option; and an option whose value was left out may be next
            (value_follows, login_follows) = (names_secret_option(&text), names_login(&text));
            continue;
        }
        if login_follows && text.contains(':') {
            shown.push_str(DROPPED);
            (value_follows, login_follows) = (false, false);
            continue;
        }
        login_follows = names_login(&text);
        let (redacted, follows) = word_of(&text);
        shown.push_str(&redacted);
        value_follows = follows;
    }
    cut(&shown, COMMAND_CHARS)
}

/// A program without its folders. A process may write its whole line into its first word (setproctitle), and a slash
/// in there may be part of a secret: only what looks like a path loses its beginning.
fn program(word: &[u8]) -> &[u8] {
    let end = word.iter().position(u8::is_ascii_whitespace).unwrap_or(word.len());
    let path = word.get(..end).unwrap_or(word);
    if path.iter().any(|byte| b"=:@".contains(byte)) {
        return word;
    }
    let folders = path.len() - super::shape::basename(path).len();
    word.get(folders..).unwrap_or(word)
}

/// Bytes as one printable line of at most `chars` characters: control characters, line breaks and invisible
/// direction marks become blanks, what is no UTF-8 becomes U+FFFD.
#[must_use]
pub fn plain(bytes: &[u8], chars: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let clean: String =
        text.chars().take(chars + 1).map(|letter| if hidden(letter) { ' ' } else { letter }).collect();
    cut(&clean, chars)
}

fn hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{00ad}' | '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn cut(text: &str, chars: usize) -> String {
    let mut letters = text.chars();
    let kept: String = letters.by_ref().take(chars).collect();
    if letters.next().is_none() {
        return kept;
    }
    let mut kept: String = kept.chars().take(chars.saturating_sub(1)).collect();
    kept.push('…');
    kept
}

/// One word of the command line, which may hold blanks (`sh -c "…"`). Also: whether the next word is a secret.
fn word_of(text: &str) -> (String, bool) {
    let mut shown = String::new();
    let mut value_follows = false;
    for (at, token) in text.split(' ').enumerate() {
        if at > 0 {
            shown.push(' ');
        }
        if token.is_empty() {
            continue;
        }
        if value_follows {
            shown.push_str(DROPPED);
            value_follows = names_secret_option(token);
            // a quoted value may hold blanks: where it ends is the shell's business, so nothing more is shown
            if opens_more(token) {
                return (shown, false);
            }
            continue;
        }
        let (redacted, rest_is_secret) = token_of(token);
        shown.push_str(&redacted);
        if rest_is_secret {
            return (shown, false);
        }
        value_follows = names_secret_option(token);
    }
    (shown, value_follows)
}

/// One token without blanks. Also: whether everything behind it in the same word is part of the secret.
fn token_of(token: &str) -> (String, bool) {
    let mut text = without_credentials(token);
    let mut rest_is_secret = false;
    if let Some((at, delimiter)) = secret_assignment(&text) {
        let value = text.get(at + 1..).unwrap_or_default();
        // `Authorization: Bearer x` goes on; `KEY="a b"` does, too
        rest_is_secret = delimiter == ':' || opens_more(value);
        text.truncate(at + 1);
        text = without_random(&text);
        text.push_str(DROPPED);
    } else {
        text = without_random(&text);
    }
    (text, rest_is_secret)
}

/// A value that may go on behind a blank: quoted, escaped, or computed by a shell.
fn opens_more(value: &str) -> bool {
    value.contains(['"', '\'', '\\', '`', '(', '{', '['])
}

/// An option whose value is `name:secret`.
fn names_login(text: &str) -> bool {
    matches!(text, "-u" | "--user" | "-U" | "--proxy-user")
}

/// `--api-key`, `-token`; not with `=`, and never a plain word.
fn names_secret_option(token: &str) -> bool {
    let token = token.trim_matches(['"', '\'', ',', '(', '[', '{']);
    token.starts_with('-') && !token.contains('=') && is_secret_name(token)
        || token.to_ascii_lowercase().ends_with("bearer")
        || token.to_ascii_lowercase().ends_with("basic") && token.len() <= 7
}

/// The first `=` or `:` behind a secret-looking name.
fn secret_assignment(text: &str) -> Option<(usize, char)> {
    let bytes = text.as_bytes();
    text.char_indices().find(|(at, letter)| {
        let at = *at;
        match letter {
            '=' => {}
            // `a.py::test` is a test, `tests/x.py:12` a place
            ':' if bytes.get(at + 1) != Some(&b':') && (at == 0 || bytes.get(at - 1) != Some(&b':')) => {}
            _ => return false,
        }
        text.get(..at).is_some_and(|before| {
            let before = before.trim_end_matches(['"', '\'', '\\', ':', '+', '?', ']', ')']);
            let start = before
                .rfind(|letter: char| !(letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.')))
                .map_or(0, |at| {
                    at + before.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
                });
            before.get(start..).is_some_and(is_secret_name)
                && !(*letter == ':' && is_place(before, text.get(at + 1..).unwrap_or_default()))
        })
    })
}

/// A line of a source file: `tests/test_token.py:12`.
fn is_place(file: &str, line: &str) -> bool {
    let digits = line.split(':').next().unwrap_or_default();
    file.ends_with(".py") && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a variable, option or field of this name holds a secret.
fn is_secret_name(name: &str) -> bool {
    let mut parts: Vec<String> = vec![String::new()];
    let mut before_lower = false;
    for letter in name.chars() {
        let boundary = !letter.is_alphanumeric();
        if boundary || (letter.is_uppercase() && before_lower) {
            parts.push(String::new());
        }
        before_lower = letter.is_lowercase() || letter.is_ascii_digit();
        if !boundary && let Some(part) = parts.last_mut() {
            part.extend(letter.to_lowercase());
        }
    }
    let whole = parts.concat();
    if HARMLESS.contains(&whole.as_str()) {
        return false;
    }
    SECRET_STEMS.iter().any(|stem| whole.contains(stem))
        || SECRET_PARTS.contains(&whole.as_str())
        || parts.iter().any(|part| {
            let part = part.trim_end_matches(|letter: char| letter.is_ascii_digit());
            !HARMLESS.contains(&part)
                && (SECRET_PARTS.contains(&part)
                    || part.starts_with("pass")
                    || part.ends_with("pass")
                    || PASSWORD_SKELETONS.contains(&skeleton(part).as_str())
                    || part.strip_suffix('s').is_some_and(|one| SECRET_PARTS.contains(&one)))
        })
}

/// A word without vowels and doubled letters.
fn skeleton(word: &str) -> String {
    let mut letters: Vec<char> = word.chars().filter(|letter| !"aeiou".contains(*letter)).collect();
    letters.dedup();
    letters.into_iter().collect()
}

/// `scheme://user:secret@host`, and `user:secret@host` without a scheme: everything before the last `@` goes.
fn without_credentials(token: &str) -> String {
    let Some(at) = token.rfind('@') else { return token.to_owned() };
    let (before, behind) = token.split_at(at);
    if let Some(scheme) = before.find("://") {
        let kept = before.get(..scheme + 3).unwrap_or_default();
        return format!("{kept}{DROPPED}{behind}");
    }
    match before.find(':') {
        Some(colon) if !before.contains("::") => {
            // keep what stands before the user's name, as in `--dsn=user:secret@host`
            let start =
                before.get(..colon).and_then(|user| user.rfind(['=', '"', '\'', ','])).map_or(0, |at| at + 1);
            format!("{}{DROPPED}{behind}", before.get(..start).unwrap_or_default())
        }
        Some(_) | None => token.to_owned(),
    }
}

/// Drops known tokens and long random strings.
fn without_random(text: &str) -> String {
    let slash_counts = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '/' | '=');
    let coarse = replace_runs(text, slash_counts, |run| {
        run.len() >= RANDOM_RUN_WITH_SLASH && looks_random(run, 4, 1) && mixes_cases(run) && !is_path(run)
    });
    let letters = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '_' | '-' | '~');
    replace_runs(&coarse, letters, |run| {
        known_token(run) || (run.len() >= RANDOM_RUN && (looks_random(run, 5, 2) || is_long_hex(run)))
    })
}

fn replace_runs(text: &str, belongs: impl Fn(char) -> bool, is_secret: impl Fn(&str) -> bool) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|letter| !belongs(letter)).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        shown.push_str(if is_secret(run) { DROPPED } else { run });
        let mut letters = behind.chars();
        if let Some(letter) = letters.next() {
            shown.push(letter);
        }
        rest = letters.as_str();
    }
    shown
}

fn known_token(run: &str) -> bool {
    TOKEN_PREFIXES.iter().any(|prefix| {
        run.find(prefix).is_some_and(|at| {
            let bounded = at == 0 || !run.as_bytes().get(at - 1).is_some_and(u8::is_ascii_alphanumeric);
            bounded && run.len() - at - prefix.len() >= TOKEN_REST
        })
    })
}

/// Random text changes between capitals, small letters and digits all the time; names and paths seldom do. At least
/// one change in `every` letters, and some digits among them.
fn looks_random(run: &str, every: usize, fewest_digits: usize) -> bool {
    let class = |byte: u8| match byte {
        b'0'..=b'9' => 0_u8,
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        _ => 3,
    };
    let bytes = run.as_bytes();
    let changes = bytes
        .windows(2)
        .filter(|pair| match pair {
            [first, second] => class(*first) != 3 && class(*second) != 3 && class(*first) != class(*second),
            _ => false,
        })
        .count();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = bytes.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    (digits >= fewest_digits || changes * 2 >= run.len()) && letters >= 2 && changes * every >= run.len()
}

fn mixes_cases(run: &str) -> bool {
    run.bytes().any(|byte| byte.is_ascii_lowercase()) && run.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Many short parts between slashes are a path.
fn is_path(run: &str) -> bool {
    run.split('/').all(|part| part.len() < 12)
}

/// Hashes and keys in hexadecimal; a number alone is none.
fn is_long_hex(run: &str) -> bool {
    run.len() >= 32
        && run.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        && run.bytes().any(|byte| byte.is_ascii_alphabetic())
}
