//! What a process that holds secrets does to itself before anything else.
//!
//! A child of the same uid could read them in `/proc/<parent>/environ`; a process that is not dumpable is closed to it
//! (prctl(2), PR_SET_DUMPABLE), and leaves no core file. Not a defence against root.

/// Closes this process's memory and environment to other processes of the same uid. First thing in `main`; exec undoes
/// it, so each program of ours calls it for itself.
///
/// # Errors
/// As prctl(2); not on any kernel that is known.
pub fn set_not_dumpable() -> std::io::Result<()> {
    nix::sys::prctl::set_dumpable(false).map_err(std::io::Error::from)
}

/// Whether the process is closed in that way.
///
/// # Errors
/// As prctl(2).
pub fn is_dumpable() -> std::io::Result<bool> {
    nix::sys::prctl::get_dumpable().map_err(std::io::Error::from)
}
