//! What the `hidepid` option of a proc mount hides from this process.
//!
//! Pure but for the two questions of [`Caller::current`]. The rule is the kernel's own (fs/proc/base.c,
//! `has_pid_permissions`): others' processes are shown to members of the mount's `gid=` group, group 0 where none is
//! named, and to whoever may trace them; `ptraceable` knows no group. It does not look at processes: that one is hidden
//! cannot be seen.

use rustix::process::{getegid, getgroups};
use rustix::thread::{CapabilitySet, capabilities};

/// A mount that hides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hiding {
    /// The option as the mount shows it.
    pub option: String,
    /// The group that is exempt; none is under `ptraceable`.
    pub exempt_gid: Option<u32>,
}

/// What the kernel asks about whoever looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    groups: Vec<u32>,
    may_trace: bool,
}

impl Caller {
    /// This process. What cannot be asked counts as not held.
    pub(super) fn current() -> Self {
        let mut groups: Vec<u32> =
            getgroups().unwrap_or_default().into_iter().map(rustix::process::Gid::as_raw).collect();
        groups.push(getegid().as_raw());
        let may_trace =
            capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE));
        Self { groups, may_trace }
    }
}

impl Hiding {
    /// Finds the option in `self/mountinfo` by the device number of the tree, which every mount of it shares, whatever
    /// path leads there. proc_pid_mountinfo(5): the device is the third word, the super options are the last.
    #[must_use]
    pub fn find(mountinfo: &str, device: &str) -> Option<Self> {
        let line = mountinfo.lines().rfind(|line| {
            line.contains(" - proc ") && line.split(' ').nth(2).is_some_and(|dev| dev == device)
        })?;
        let options = || line.rsplit(' ').next().into_iter().flat_map(|options| options.split(','));
        let (option, mode) = options().find_map(|option| Some((option, option.strip_prefix("hidepid=")?)))?;
        let exempt_gid = match mode {
            "0" | "off" => return None,
            "4" | "ptraceable" => None,
            // a mode that this version does not know is taken for one that hides
            _ => Some(
                options().find_map(|option| option.strip_prefix("gid=")?.parse().ok()).unwrap_or_default(),
            ),
        };
        Some(Self { option: option.to_owned(), exempt_gid })
    }

    /// Whether it hides processes of others from the caller.
    pub(super) fn blinds(&self, caller: &Caller) -> bool {
        !caller.may_trace && !self.exempt_gid.is_some_and(|gid| caller.groups.contains(&gid))
    }

    /// In words, with the cure.
    #[must_use]
    pub fn words(&self) -> String {
        let cure = match self.exempt_gid {
            Some(0) => "mount it with gid=<group> and run this in that group".to_owned(),
            Some(gid) => format!("run this in group {gid}, its gid= option"),
            None => "mount it with hidepid=invisible,gid=<group> and run this in that group".to_owned(),
        };
        format!("the proc mount hides other users' processes ({}): {cure}", self.option)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(options: &str) -> String {
        format!(
            "46 44 0:21 / /proc rw,relatime - proc proc rw\n\
             65 46 0:39 / /proc rw,relatime - proc proc rw{options}\n\
             66 44 0:40 / /elsewhere rw - proc proc rw,hidepid=invisible\n"
        )
    }

    #[test]
    fn the_option_of_the_looked_at_mount_counts_and_each_mode_has_its_exempt_group() {
        let find = |options: &str| Hiding::find(&mounted(options), "0:39");
        for options in ["", ",hidepid=0", ",hidepid=off", ",gid=7"] {
            assert_eq!(find(options), None, "{options}");
        }
        for (options, option, exempt_gid) in [
            (",hidepid=invisible", "hidepid=invisible", Some(0)),
            (",gid=4321,hidepid=invisible", "hidepid=invisible", Some(4321)),
            (",hidepid=2,gid=7", "hidepid=2", Some(7)),
            (",hidepid=noaccess", "hidepid=noaccess", Some(0)),
            (",gid=7,hidepid=ptraceable", "hidepid=ptraceable", None),
            (",hidepid=4", "hidepid=4", None),
            (",hidepid=unheard-of", "hidepid=unheard-of", Some(0)),
        ] {
            assert_eq!(find(options), Some(Hiding { option: option.to_owned(), exempt_gid }), "{options}");
        }
        assert_eq!(Hiding::find(&mounted(",hidepid=2"), "0:21"), None, "another mount's option");
        assert_eq!(Hiding::find(&mounted(",hidepid=2"), "0:3"), None, "no mount of this tree");
    }

    #[test]
    fn the_group_and_the_right_to_trace_exempt_and_nothing_else_does() {
        let hiding = |exempt_gid| Hiding { option: "hidepid=invisible".to_owned(), exempt_gid };
        let caller = |groups: &[u32], may_trace| Caller { groups: groups.to_vec(), may_trace };
        for (exempt_gid, groups, may_trace, blinds) in [
            (Some(4321), &[65534][..], false, true),
            (Some(4321), &[4321, 65534], false, false),
            (Some(4321), &[0], false, true),
            (Some(4321), &[0], true, false),
            (Some(0), &[0], false, false),
            (Some(0), &[65534], false, true),
            (None, &[0, 4321], false, true),
            (None, &[65534], true, false),
        ] {
            let found = hiding(exempt_gid).blinds(&caller(groups, may_trace));
            assert_eq!(found, blinds, "{exempt_gid:?} {groups:?} {may_trace}");
        }
    }

    #[test]
    fn the_words_name_the_group_that_cures() {
        let words = |exempt_gid| Hiding { option: "hidepid=2".to_owned(), exempt_gid }.words();
        assert!(words(Some(4321)).contains("(hidepid=2): run this in group 4321"), "{}", words(Some(4321)));
        assert!(words(Some(0)).contains("mount it with gid="), "{}", words(Some(0)));
        assert!(words(None).contains("hidepid=invisible,gid="), "{}", words(None));
    }
}
