//! Which container a control group path means.
//!
//! Pure: a path in, a name out. Knows docker, containerd, podman, CRI-O, LXC and nspawn as systemd and as cgroupfs
//! name them. It asks no daemon, so the name is the container's id and never its label.

use proc_identity::CgroupLine;

/// Characters of a container id that are shown; enough for every client to accept it.
const SHOWN: usize = 12;
/// Shortest hexadecimal name that is taken for a container id.
const ID_CHARS: usize = 32;

/// The scopes' prefixes that systemd drivers write before an id.
const SCOPES: &[(&str, &str)] = &[
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
];
/// Scopes of runtimes that are used by hand, where a person chose the name.
const NAMED_SCOPES: &[(&str, &str)] =
    &[("machine-", "machine"), ("runc-", "runc"), ("crun-", "crun"), ("youki-", "youki")];

/// The container of a process, as `docker 0123456789ab`; `None` outside of any.
///
/// Of several hierarchies the deepest id wins, so that a container within a container is named by its own.
#[must_use]
pub fn of(lines: &[CgroupLine]) -> Option<String> {
    let unified = lines.iter().filter(|line| line.hierarchy == 0);
    let named = lines.iter().filter(|line| line.hierarchy != 0);
    unified.chain(named).find_map(|line| of_path(&line.path))
}

fn of_path(path: &str) -> Option<String> {
    let mut parents: Vec<&str> = Vec::new();
    let mut found = None;
    for part in path.split('/').filter(|part| !part.is_empty() && *part != "..") {
        if let Some(container) = of_part(part, &parents) {
            found = Some(container);
        }
        parents.push(part);
    }
    found
}

fn of_part(part: &str, parents: &[&str]) -> Option<String> {
    let parent = parents.last().copied().unwrap_or_default();
    // containerd with cgroupfs paths under a systemd driver: `kubepods-….slice:cri-containerd:<id>`
    let (above, part) = part.rsplit_once(':').map_or(("", part), |(above, id)| (above, id));
    if let Some((_, runtime)) = SCOPES.iter().find(|(prefix, _)| {
        prefix.strip_suffix('-').is_some_and(|name| above.rsplit(':').next() == Some(name))
    }) && is_id(part)
    {
        return Some(shown(runtime, part));
    }
    let scope = part.strip_suffix(".scope").unwrap_or(part);
    for (prefix, runtime) in SCOPES {
        // `crio-conmon-…` and `libpod-conmon-…` hold the monitor, which stands outside
        if let Some(id) = scope.strip_prefix(prefix)
            && is_id(id)
        {
            return Some(shown(runtime, id));
        }
    }
    for (prefix, runtime) in NAMED_SCOPES {
        if let Some(name) = scope.strip_prefix(prefix).filter(|_| part.ends_with(".scope")) {
            return Some(named(runtime, name));
        }
    }
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return Some(named("lxc", name));
    }
    if parent == "lxc" || parent == "lxc.payload" {
        return Some(named("lxc", part));
    }
    if let Some(machine) = part.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"))
    {
        return Some(named("machine", machine));
    }
    if !is_id(part) {
        return None;
    }
    let runtime = if parent == "docker" {
        "docker"
    } else if parent.starts_with("libpod") {
        "podman"
    } else if parents.iter().any(|above| above.starts_with("kubepods")) {
        "kubernetes"
    } else {
        "container"
    };
    Some(shown(runtime, part))
}

/// A name that a person chose, with systemd's `\x2d` read back (systemd.unit(5)).
fn named(runtime: &str, name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name;
    while let Some(at) = rest.find("\\x") {
        let (before, behind) = rest.split_at(at);
        let byte = behind.get(2..4).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.extend_from_slice(before.as_bytes());
        match byte {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(b"\\x"),
        }
        rest = behind.get(if byte.is_some() { 4.. } else { 2.. }).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    format!("{runtime} {}", super::redact::plain(&bytes, 40))
}

fn is_id(text: &str) -> bool {
    text.len() >= ID_CHARS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn shown(runtime: &str, id: &str) -> String {
    format!("{runtime} {}", id.get(..SHOWN).unwrap_or(id))
}

/// Whether the process is in a systemd service of its own, and which.
#[must_use]
pub fn service(lines: &[CgroupLine]) -> Option<&str> {
    let path = proc_identity::cgroup::unified(lines).filter(|path| *path != "/").or_else(|| {
        lines.iter().find(|line| line.controllers == "name=systemd").map(|line| line.path.as_str())
    })?;
    let unit = path.rsplit('/').next()?;
    // the manager of a user is a service, too, and what it runs without a unit of its own lives in it
    if unit.ends_with(".service") && !unit.starts_with("user@") { Some(path) } else { None }
}
