//! Files that a project's own command left in its checkout.
//!
//! Responsible for reading one without believing anything of it: the work of an agent may have put a pipe, a device, a
//! link out of the checkout or an endless file in its place. What the bytes mean is the gate's business.
//!
//! Invariant: a read ends, takes no more memory than its cap, and opens nothing outside of the checkout.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, openat, openat2, unlinkat};
use rustix::io::Errno;

/// The bytes of a regular file below `root`; in words why there are none. It may take as long as the disk takes.
pub(super) fn read_below(root: &Path, path: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
    let name = path.display();
    let directory = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| format!("open the checkout: {errno}"))?;
    // a pipe opens at once when nobody has to be there to write into it
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let opened = openat2(&directory, path, flags, Mode::empty(), within).map_err(|errno| {
        let error = std::io::Error::from(errno);
        match error.kind() {
            ErrorKind::NotFound => format!("there is no {name}"),
            ErrorKind::CrossesDevices => format!("{name} leads out of the checkout"),
            _ => format!("open {name}: {error}"),
        }
    })?;
    let file = File::from(opened);
    let found = file.metadata().map_err(|error| format!("look at {name}: {error}"))?;
    if !found.is_file() {
        return Err(format!("{name} is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| format!("read {name}: {error}"))?;
    if bytes.len() as u64 > max_bytes {
        return Err(format!("{name} is larger than {max_bytes} bytes"));
    }
    Ok(bytes)
}

/// Removes whatever stands below `root` at this path: what a command is to write must be its own. In words why it could
/// not be.
pub(super) fn clear_below(root: &Path, path: &Path) -> Result<(), String> {
    let name = path.display();
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(last) = path.file_name() else { return Err(format!("{name} names no file")) };
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // nothing is there is what is wanted
    let failed = |errno: Errno| match std::io::Error::from(errno).kind() {
        ErrorKind::NotFound => Ok(()),
        ErrorKind::CrossesDevices => Err(format!("{name} leads out of the checkout")),
        _ => Err(format!("clear {name}: {errno}")),
    };
    let directory = match openat(CWD, root, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(errno) => return failed(errno),
    };
    match openat2(&directory, above, flags, Mode::empty(), within) {
        // a link is removed, and not what it leads to
        Ok(above) => unlinkat(&above, last, AtFlags::empty()).or_else(failed),
        Err(errno) => failed(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_was_there_before_is_removed_and_nothing_outside() {
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("report.json");
        std::fs::write(&secret, "x").unwrap();
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir(at("folder")).unwrap();
        std::fs::write(at("folder/report.json"), "1").unwrap();
        symlink(&secret, at("link")).unwrap();
        symlink(outside.path(), at("door")).unwrap();
        let clear = |name: &str| clear_below(root.path(), Path::new(name));
        assert_eq!(clear("folder/report.json"), Ok(()));
        assert!(!at("folder/report.json").exists());
        assert_eq!((clear("link"), at("link").is_symlink()), (Ok(()), false));
        assert_eq!(clear("nothing"), Ok(()));
        assert_eq!(clear("nowhere/nothing"), Ok(()));
        assert!(clear("door/report.json").unwrap_err().contains("leads out"));
        assert!(clear("../report.json").unwrap_err().contains("leads out"));
        assert!(clear("folder").is_err());
        assert!(secret.exists());
    }

    #[test]
    fn only_a_regular_file_of_the_checkout_is_read_and_no_more_of_it_than_its_cap() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir(at("folder")).unwrap();
        std::fs::write(at("folder/report.json"), "12345").unwrap();
        symlink("folder/report.json", at("inner")).unwrap();
        symlink(outside.path().join("secret"), at("outer")).unwrap();
        symlink("../../../../../../etc/hostname", at("above")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        symlink("cycle", at("cycle")).unwrap();
        rustix::fs::mknodat(CWD, at("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        // larger than any memory, and no larger on the disk than its inode
        File::create(at("huge")).unwrap().set_len(1 << 40).unwrap();

        let read = |name: &str| read_below(root.path(), Path::new(name), 5);
        assert_eq!(read("folder/report.json"), Ok(b"12345".to_vec()));
        assert_eq!(read("inner"), Ok(b"12345".to_vec()));
        for (name, why) in [
            ("outer", "leads out of the checkout"),
            ("above", "leads out of the checkout"),
            ("/etc/hostname", "leads out of the checkout"),
            ("zero", "leads out of the checkout"),
            ("pipe", "is no regular file"),
            ("folder", "is no regular file"),
            ("huge", "is larger than 5 bytes"),
            ("nothing", "there is no nothing"),
        ] {
            let told = read(name).unwrap_err();
            assert!(told.contains(why), "{name}: {told}");
        }
        assert!(read("cycle").is_err());
        std::fs::write(at("folder/report.json"), "123456").unwrap();
        assert!(read("inner").unwrap_err().contains("larger"));
    }
}
