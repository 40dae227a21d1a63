//! What Landlock takes away, by the version that the kernel speaks: a table.
//!
//! Pure. It handles rights to *change* only: reading, executing and the network stay as they were, so that `/proc`,
//! names and TLS go on. Rights of versions that this program was never run on are left out on purpose, since a right
//! that is handled and not allowed is denied.

use landlock::{ABI, Access, AccessFs, BitFlags, Scope, make_bitflags};

/// The latest version whose rights were tried; a newer kernel is asked for these.
const TRIED: ABI = ABI::V7;

/// What may be done below the one directory that may be written: no devices, pipes or symbolic links.
const BELOW_THE_DIRECTORY: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    WriteFile | Truncate | MakeReg | MakeDir | MakeSock | RemoveFile | RemoveDir | Refer
});

/// The gap of versions that cannot scope signals.
pub(super) const SIGNALS: &str = "signals can be sent";

/// Rights to change files that are taken away everywhere.
pub(super) fn denied() -> BitFlags<AccessFs> {
    AccessFs::from_write(TRIED)
}

/// Of those, what is given back below the directory.
pub(super) fn allowed() -> BitFlags<AccessFs> {
    BELOW_THE_DIRECTORY & denied()
}

/// Scopes. Abstract sockets are left out: a service manager may be told of our state through one.
pub(super) fn scoped() -> BitFlags<Scope> {
    Scope::Signal.into()
}

/// What a version of Landlock (1 is the first) does not take away, in words.
#[must_use]
pub fn gaps(abi: u8) -> Vec<&'static str> {
    let known = ABI::from(i32::from(abi));
    let missing = denied() & !AccessFs::from_all(known);
    let mut gaps = Vec::new();
    // before version 2 a rename or link into another directory is always denied, which is no gap
    if missing.contains(AccessFs::Truncate) {
        gaps.push("files elsewhere can be cut");
    }
    if missing.contains(AccessFs::IoctlDev) {
        gaps.push("devices can be controlled");
    }
    if !Scope::from_all(known).contains(Scope::Signal) {
        gaps.push(SIGNALS);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
        WriteFile | RemoveDir | RemoveFile | MakeChar | MakeDir | MakeReg | MakeSock | MakeFifo | MakeBlock | MakeSym
    });

    #[test]
    fn each_version_denies_what_it_knows_and_names_what_it_does_not() {
        let refer = FIRST | AccessFs::Refer;
        let truncate = refer | AccessFs::Truncate;
        let ioctl = truncate | AccessFs::IoctlDev;
        let (cut, control, signal) =
            ("files elsewhere can be cut", "devices can be controlled", "signals can be sent");
        let none = BitFlags::<AccessFs>::empty();
        for (abi, denies, wanted_gaps) in [
            (0, none, vec![cut, control, signal]),
            (1, FIRST, vec![cut, control, signal]),
            (2, refer, vec![cut, control, signal]),
            (3, truncate, vec![control, signal]),
            (4, truncate, vec![control, signal]),
            (5, ioctl, vec![signal]),
            (6, ioctl, vec![]),
            (7, ioctl, vec![]),
            (8, ioctl, vec![]),
            (9, ioctl, vec![]),
            (200, ioctl, vec![]),
        ] {
            assert_eq!(denied() & AccessFs::from_all(ABI::from(i32::from(abi))), denies, "version {abi}");
            assert_eq!(gaps(abi), wanted_gaps, "version {abi}");
        }
    }

    #[test]
    fn no_right_to_read_execute_or_connect_is_touched() {
        let reading = make_bitflags!(AccessFs::{Execute | ReadFile | ReadDir | ResolveUnix});
        assert!((denied() & reading).is_empty());
        assert!(!scoped().contains(Scope::AbstractUnixSocket));
    }

    #[test]
    fn below_the_directory_there_are_files_folders_and_sockets_and_nothing_stranger() {
        let stranger = make_bitflags!(AccessFs::{MakeChar | MakeBlock | MakeFifo | MakeSym | IoctlDev});
        assert!((allowed() & stranger).is_empty());
        assert_eq!(allowed() | stranger, denied());
    }
}
