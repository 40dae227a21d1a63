//! A look at the host, judged: what `scan` prints and a chat is answered.
//!
//! Responsible for the values between those who look (`cli`) and those who tell (`cli`, `notify::text`).
//! It looks at nothing and has no words of its own. Invariant: what could not be seen or asked stands
//! in it as such, so that no answer reads as "nothing there".

use crate::evidence::Evidence;
use crate::observe::{Family, Fault};
use crate::signals::OwnershipWord;

/// Everything that one look brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// What it comes to.
    pub headline: Headline,
    /// Processes that could be read.
    pub readable: u64,
    /// Processes that were listed.
    pub listed: u64,
    /// Why not all of the host can be seen.
    pub limit: Option<ViewLimit>,
    /// Why the core's word is missing; absent when it was heard, and when none is configured.
    pub unheard: Option<Unheard>,
    /// Families that block this host, and those whose owner could not be found out.
    pub families: Vec<SurveyedFamily>,
}

/// What a look comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Headline {
    /// Nothing is known against any family, but of some nobody could say whose they are.
    OwnersUnknown {
        /// So many.
        unjudged: usize,
        /// Of so many.
        matched: usize,
    },
    /// Nothing was found by somebody from whom processes are hidden.
    Hidden,
    /// Nothing was found in a pid namespace beyond which this host goes on.
    OwnNamespace {
        /// So many matched in it.
        matched: usize,
    },
    /// Nothing matched.
    NoneMatched,
    /// What matched is fine.
    AllFine {
        /// So many.
        matched: usize,
    },
    /// Some block this host.
    Found {
        /// So many.
        found: usize,
        /// Of so many.
        matched: usize,
    },
}

/// Why not all of the host can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewLimit {
    /// The process file system hides other users' processes.
    HiddenByMount {
        /// Its option.
        option: String,
    },
    /// The first process is not listed, so others are hidden, too.
    FirstHidden,
    /// Most processes cannot be read.
    Unreadable {
        /// So many can.
        readable: u64,
        /// Of so many.
        listed: u64,
    },
    /// Only the pid namespace of this program is seen.
    OwnNamespace,
}

/// Why the core's word is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unheard {
    /// It is starting.
    Starting,
    /// Its document has this version, which is not ours.
    OtherSchema(u32),
    /// It was not reached, or what it said cannot be used.
    Fault(Fault),
}

/// A family that is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct SurveyedFamily {
    /// As seen.
    pub family: Family,
    /// Whose it is.
    pub ownership: OwnershipWord,
    /// The rules that were consulted.
    pub evidence: Vec<Evidence>,
    /// Its members as a tree, a line each.
    pub tree: Vec<String>,
}

impl SurveyedFamily {
    /// Members that the tree leaves out.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.family.members.len().saturating_sub(self.tree.len())
    }
}
