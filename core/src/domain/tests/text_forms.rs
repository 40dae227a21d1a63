//! Every enum has one text form: `as_str`, `parse`, `Display` and serde agree, and `ALL` is all.

use serde::{Serialize, de::DeserializeOwned};

use super::*;
use crate::domain::{
    effect::EffectKind,
    job::{JobStatus, Role},
    verdict::GateKind,
};

/// The words that serde accepts, as its refusal of another word lists them.
fn serde_words<T: DeserializeOwned + std::fmt::Debug>() -> Vec<String> {
    let refusal = serde_json::from_str::<T>("\"?\"").unwrap_err().to_string();
    let (_, list) = refusal.split_once("expected ").unwrap();
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn check<T: Copy + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned>(
    all: &[T],
    as_str: impl Fn(T) -> &'static str,
    parse: impl Fn(&str) -> Option<T>,
) {
    let words: Vec<&str> = all.iter().map(|one| as_str(*one)).collect();
    assert_eq!(words, serde_words::<T>(), "`ALL` holds every variant once, in order");
    for one in all {
        let word = as_str(*one);
        assert_eq!(parse(word), Some(*one));
        assert_eq!(serde_json::to_value(one).unwrap(), word);
        assert_eq!(parse(&word.to_uppercase()), None, "{word}");
        assert_eq!(parse(&format!(" {word}")), None, "{word}");
    }
    assert_eq!(parse(""), None);
}

fn shown<T: Copy + std::fmt::Display>(all: &[T], as_str: impl Fn(T) -> &'static str) {
    for one in all {
        assert_eq!(one.to_string(), as_str(*one));
    }
}

#[test]
fn every_enum_has_one_text_form() {
    check(&Stage::ALL, Stage::as_str, Stage::parse);
    check(&Actor::ALL, Actor::as_str, Actor::parse);
    check(&Role::ALL, Role::as_str, Role::parse);
    check(&JobStatus::ALL, JobStatus::as_str, JobStatus::parse);
    check(&EffectKind::ALL, EffectKind::as_str, EffectKind::parse);
    check(&GateKind::ALL, GateKind::as_str, GateKind::parse);
    check(&InfraClass::ALL, InfraClass::as_str, |text| {
        InfraClass::ALL.into_iter().find(|class| class.as_str() == text)
    });
    shown(&Stage::ALL, Stage::as_str);
    shown(&Actor::ALL, Actor::as_str);
    shown(&Role::ALL, Role::as_str);
    shown(&EffectKind::ALL, EffectKind::as_str);
    shown(&GateKind::ALL, GateKind::as_str);
}

#[test]
fn standings_and_verdicts_are_tagged_with_their_names() {
    let standings = [
        Standing::Moving {},
        waiting(ci()),
        Standing::Held { reason: "r".into(), retry_at_ms: 1 },
        Standing::Blocked { cause: "c".into(), way_out: "w".into() },
        Standing::Finished {},
    ];
    for standing in standings {
        assert_eq!(serde_json::to_value(&standing).unwrap()["standing"], standing.as_str());
    }
    for verdict in verdicts() {
        assert_eq!(serde_json::to_value(&verdict).unwrap()["verdict"], verdict.as_str());
        let class = serde_json::to_value(&verdict).unwrap()["class"].as_str().unwrap_or("").to_owned();
        assert_eq!(verdict.class(), class);
    }
}

#[test]
fn only_pass_and_skipped_let_through() {
    for verdict in verdicts() {
        let expected = matches!(verdict.as_str(), "pass" | "skipped");
        assert_eq!(verdict.lets_through(), expected, "{verdict:?}");
        assert!(!verdict.summary().is_empty());
    }
}
