//! Why a family counts as owned or not: the rules that were consulted, as values.
//!
//! Responsible for the closed list, for its stored form, and for its plain English, which the log and
//! the command line show; chat asks `notify::text`, which has it in every language. It judges nothing
//! (`proc::ownership`). Invariant: nothing here makes a free sentence; [`EarlierWords`] come only out
//! of a state file that an earlier version wrote.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::observe::Lineage;

/// One rule that was consulted, with what it saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// It carries no run cookie.
    NoCookie,
    /// Its run cookie could not be read.
    CookieUnreadable,
    /// It carries a cookie, and the core was not heard.
    CookieUnheard {
        /// The cookie.
        cookie: u64,
    },
    /// It carries a cookie, and no core is configured.
    CookieUnasked {
        /// The cookie.
        cookie: u64,
    },
    /// Its run is alive.
    RunAlive {
        /// The cookie.
        cookie: u64,
        /// The run.
        run: RunName,
    },
    /// Its run has ended.
    RunEnded {
        /// The cookie.
        cookie: u64,
        /// The run.
        run: RunName,
        /// How, in the core's word, cleaned; absent when the core does not say.
        outcome: Option<String>,
    },
    /// The document does not list its cookie, and is cut.
    CookieMaybeCut {
        /// The cookie.
        cookie: u64,
        /// Runs that were left out.
        left_out: u64,
    },
    /// The document does not list its cookie, and may be older than the process.
    CookieTooYoung {
        /// The cookie.
        cookie: u64,
    },
    /// The document does not list its cookie, and who supervises it could not be looked at.
    SupervisorUnseen {
        /// The cookie.
        cookie: u64,
    },
    /// The supervisor of its run lives, and so does the run, whichever core's it is.
    SupervisorAlive {
        /// The supervisor's pid as seen here.
        pid: i32,
    },
    /// Its cookie is of no run of the time that the core lists, and no supervisor of it lives.
    CookieExpired {
        /// The cookie.
        cookie: u64,
    },
    /// Its cookie is another core's.
    CookieOfAnother {
        /// The cookie.
        cookie: u64,
    },
    /// Its cookie is another core's, and no supervisor of it lives.
    CookieUnsupervised {
        /// The cookie.
        cookie: u64,
    },
    /// Where the process tree puts it.
    Structure(Lineage),
    /// The core was not heard, so it may own this.
    MayBeTheCores,
    /// It was linked to the core once.
    LinkedToCore,
    /// It never was linked to the core.
    NeverLinked,
    /// Judged without the core, which was not heard for so long.
    CoreUnheard {
        /// Seconds.
        age_s: i64,
    },
    /// Judged by the core's last word, which already ended the run.
    EndedByLastWord {
        /// Seconds since that word.
        age_s: i64,
    },
    /// As an earlier version stored it.
    #[serde(untagged)]
    Words(EarlierWords),
}

/// A run as people know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunName {
    /// Run number.
    pub run_id: i64,
    /// Its task, cleaned; absent for runs of none.
    pub work_item: Option<String>,
}

/// An English sentence out of a state file that an earlier version wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierWords(String);

impl fmt::Display for Evidence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCookie => out.write_str("no run cookie: no run of a core started it"),
            Self::CookieUnreadable => out.write_str("run cookie could not be read"),
            Self::CookieUnheard { cookie } => write!(out, "run cookie {cookie}; the core was not heard"),
            Self::CookieUnasked { cookie } => write!(out, "run cookie {cookie}; no core was asked"),
            Self::RunAlive { cookie, run } => write!(out, "run cookie {cookie}: {run}, which is alive"),
            Self::RunEnded { cookie, run, outcome } => {
                let how = outcome.as_deref().unwrap_or("in an unknown way");
                write!(out, "run cookie {cookie}: {run}, which ended ({how})")
            }
            Self::CookieMaybeCut { cookie, left_out } => {
                write!(out, "run cookie {cookie} is not listed, but {left_out} runs are left out")
            }
            Self::CookieTooYoung { cookie } => write!(
                out,
                "run cookie {cookie} is not listed; the process is younger than the core's document"
            ),
            Self::SupervisorUnseen { cookie } => {
                write!(out, "run cookie {cookie} is not listed; who supervises it could not be looked at")
            }
            Self::SupervisorAlive { pid } => write!(out, "its supervisor {pid} lives, so its run does"),
            Self::CookieExpired { cookie } => {
                write!(out, "run cookie {cookie} is no run of the last hour, and no supervisor of it lives")
            }
            Self::CookieOfAnother { cookie } => write!(out, "run cookie {cookie} is not of this core"),
            Self::CookieUnsupervised { cookie } => {
                write!(out, "run cookie {cookie} is not of this core, and no supervisor of it lives")
            }
            Self::Structure(lineage) => lineage.fmt(out),
            Self::MayBeTheCores => out.write_str("the core was not heard, so it may own this"),
            Self::LinkedToCore => out.write_str("it was linked to the core"),
            Self::NeverLinked => out.write_str("it was never linked to the core"),
            Self::CoreUnheard { age_s } => write!(out, "core not heard for {age_s} s"),
            Self::EndedByLastWord { age_s } => {
                write!(out, "core not heard for {age_s} s; its last word already ended the run")
            }
            Self::Words(words) => words.fmt(out),
        }
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "run {}", self.run_id)?;
        self.work_item.as_deref().map_or(Ok(()), |item| write!(out, " of {item}"))
    }
}

impl fmt::Display for EarlierWords {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_stored_as_a_sentence_still_loads() {
        let stored = r#"["run cookie 7; no core was asked",{"cookie_unasked":{"cookie":7}},"no_cookie"]"#;
        let read: Vec<Evidence> = serde_json::from_str(stored).unwrap();
        let said: Vec<String> = read.iter().map(Evidence::to_string).collect();
        assert_eq!(said[0], said[1]);
        assert!(matches!(read[0], Evidence::Words(_)), "{read:?}");
        assert_eq!(read[2], Evidence::NoCookie);
        assert_eq!(serde_json::to_string(&read).unwrap(), stored);
    }
}
