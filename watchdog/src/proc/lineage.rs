//! Where the structure of the process tree puts a process: run on purpose, re-parented, entered from outside, child.
//!
//! Pure: it asks a [`Tree`] for facts and judges nothing about ownership. `ppid == 1` alone finds no orphan inside a
//! container when seen from the host, and calls live background jobs orphans; so the parent's place in its *own* pid
//! namespace decides, and who else of the line is alive is told with it.
//!
//! Invariant: what could not be read yields [`Lineage::Unknown`], never a class.

use crate::observe::{Lineage, Reaper, Unclear};

/// The main command of a container starts within this time of its init (two seconds, in milliseconds).
const MAIN_COMMAND_MS: u64 = 2_000;
/// Ancestors followed.
const DEPTH: usize = 256;

/// What the rule must know of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Pid as seen here.
    pub pid: i32,
    /// Start ticks.
    pub start_ticks: u64,
    /// Parent as seen here; 0 for an init and for a parent outside of the proc mount.
    pub ppid: i32,
    /// Group.
    pub pgid: i32,
    /// Session.
    pub sid: i32,
    /// Name, cleaned.
    pub name: String,
    /// The pid in each namespace, outermost first; `None` when `status` could not be read.
    pub ns_pids: Option<Vec<i32>>,
    /// Ended, not reaped.
    pub dead: bool,
    /// Container by control group; `None` outside of any.
    pub container: Option<String>,
}

/// Who a reaper may be besides an init.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Nothing special.
    Ordinary,
    /// The core: its own children are registered, all others are nobody's.
    Core,
    /// A supervisor of the core: whoever is its child without being registered was re-parented to it.
    Supervisor,
    /// A child that the core registered for a run.
    Registered,
}

/// Facts about processes, read when asked for.
pub trait Tree {
    /// The process, `None` when it is gone or cannot be read.
    fn node(&mut self, pid: i32) -> Option<Node>;
    /// What the core's document says about it.
    fn role(&mut self, pid: i32) -> Role;
    /// Whether this is the manager of a user's services (`systemd --user`).
    fn is_user_manager(&mut self, node: &Node) -> bool;
    /// Whether this is the oldest child of its parent in a service's control group.
    fn is_service_main(&mut self, node: &Node) -> bool;
}

/// What the host is like, seen from here.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    /// The proc mount shows the host's own pid namespace, so its pid 1 is the host's init and not a container's.
    pub host_namespace: bool,
    /// Clock ticks a second.
    pub ticks_per_second: u64,
}

/// Names of programs that adopt what their descendants leave behind, besides inits by position.
const REAPERS: &[&str] = &["tini", "dumb-init", "catatonit", "docker-init", "s6-svscan", "runit", "conmon"];

/// Classes a process.
pub fn of(tree: &mut impl Tree, pid: i32, host: Host) -> Lineage {
    let Some(node) = tree.node(pid) else {
        return Lineage::Unknown(Unclear::Process(pid));
    };
    match step(tree, &node, host) {
        Step::Settled(lineage) => lineage,
        Step::Below(parent) => below(tree, &node, parent, host),
    }
}

/// Classes a process that was first seen as a child of `before`. Who has another parent now was adopted, even where
/// structure alone would take it for started there: a container's main command, or a child. An init is excepted, since
/// container runtimes make one through a process that ends.
pub fn of_known(tree: &mut impl Tree, pid: i32, before: Option<i32>, host: Host) -> Lineage {
    let lineage = of(tree, pid, host);
    match &lineage {
        Lineage::Main | Lineage::Child { .. } => {}
        Lineage::Reparented { .. } | Lineage::ExecRoot { .. } | Lineage::Unknown(_) => return lineage,
    }
    let Some(before) = before.filter(|before| *before > 0) else { return lineage };
    let Some(node) = tree.node(pid).filter(|node| node.ppid != before) else { return lineage };
    let is_init = node.ns_pids.as_deref().and_then(<[i32]>::last) == Some(&1);
    if is_init || tree.role(pid) != Role::Ordinary {
        return lineage;
    }
    let Some(parent) = tree.node(node.ppid) else { return lineage };
    let reaper = Reaper::Heir { name: parent.name.clone(), pid: parent.pid, before };
    let leader_alive = leads_alive(tree, &node, &parent);
    Lineage::Reparented { parent_pid: parent.pid, reaper, leader_alive }
}

/// Classes what is left of a family whose topmost process ended. Everybody in it hung from that one, so whoever hangs
/// from a stranger of another session was adopted by it, even when that is no reaper that anybody would know.
pub fn of_left_over(tree: &mut impl Tree, pid: i32, members: &[i32], host: Host) -> Lineage {
    let lineage = of(tree, pid, host);
    match &lineage {
        Lineage::Main | Lineage::Child { .. } => {}
        Lineage::Reparented { .. } | Lineage::ExecRoot { .. } | Lineage::Unknown(_) => return lineage,
    }
    let Some(node) = tree.node(pid) else { return lineage };
    let is_init = node.ns_pids.as_deref().and_then(<[i32]>::last) == Some(&1);
    if is_init || members.contains(&node.ppid) || tree.role(pid) != Role::Ordinary {
        return lineage;
    }
    let Some(parent) = tree.node(node.ppid).filter(|parent| parent.sid != node.sid) else { return lineage };
    let reaper = Reaper::Adopter { name: parent.name.clone(), pid: parent.pid };
    let leader_alive = leads_alive(tree, &node, &parent);
    Lineage::Reparented { parent_pid: parent.pid, reaper, leader_alive }
}

enum Step {
    Settled(Lineage),
    /// An ordinary child of this live process.
    Below(Node),
}

/// The first of `of` that is no ordinary child decides for the whole line: a test run below an abandoned shell is
/// abandoned, one below a terminal multiplexer or below whatever else made a session for it is not.
fn below(tree: &mut impl Tree, node: &Node, parent: Node, host: Host) -> Lineage {
    let child = |root: &Node| Lineage::Child { parent_pid: node.ppid, root_name: root.name.clone() };
    let mut current = parent;
    for _ in 0..DEPTH {
        match step(tree, &current, host) {
            Step::Below(parent) => current = parent,
            Step::Settled(Lineage::Reparented { parent_pid, reaper, leader_alive: false })
                // a daemon leads its own session and was made to live below init; a left-over shell does not. Whoever
                // stands in another session than the left-over was put there by somebody in between, who lives
                if current.sid != current.pid && current.sid == node.sid =>
            {
                let (reaper, name) = (Box::new(reaper), current.name.clone());
                let reaper = Reaper::Through { reaper, name, pid: current.pid };
                return Lineage::Reparented { parent_pid, reaper, leader_alive: leads_alive(tree, node, &current) };
            }
            Step::Settled(Lineage::ExecRoot { parent_pid }) => return Lineage::ExecRoot { parent_pid },
            Step::Settled(
                Lineage::Main | Lineage::Reparented { .. } | Lineage::Child { .. } | Lineage::Unknown(_),
            ) => return child(&current),
        }
    }
    Lineage::Unknown(Unclear::Ancestors(DEPTH))
}

fn step(tree: &mut impl Tree, node: &Node, host: Host) -> Step {
    let unknown = |why| Step::Settled(Lineage::Unknown(why));
    let Some(own) = node.ns_pids.as_deref().filter(|pids| !pids.is_empty()) else {
        return unknown(Unclear::Status(node.pid));
    };
    // an init was started by whoever made its namespace
    if own.last() == Some(&1) {
        return Step::Settled(abandoned_init(tree, node, host).unwrap_or(Lineage::Main));
    }
    // what the core registered is where it belongs; a supervisor is registered by what it supervises
    if matches!(tree.role(node.pid), Role::Registered | Role::Supervisor) {
        return match tree.node(node.ppid) {
            Some(parent) => Step::Settled(Lineage::Child { parent_pid: node.ppid, root_name: parent.name }),
            None => unknown(Unclear::Parent(node.ppid)),
        };
    }
    if node.ppid == 0 {
        // its parent is outside of the namespace that we see
        return Step::Settled(Lineage::ExecRoot { parent_pid: 0 });
    }
    let Some(parent) = tree.node(node.ppid) else {
        return unknown(Unclear::Parent(node.ppid));
    };
    let Some(of_parent) = parent.ns_pids.as_deref().filter(|pids| !pids.is_empty()) else {
        return unknown(Unclear::ParentStatus(parent.pid));
    };
    if of_parent.len() < own.len() {
        return Step::Settled(Lineage::ExecRoot { parent_pid: parent.pid });
    }
    let is_init = of_parent.last() == Some(&1);
    let reaper = match tree.role(parent.pid) {
        Role::Core => Some(Reaper::Core),
        Role::Supervisor => Some(Reaper::Supervisor),
        Role::Ordinary | Role::Registered if is_init && parent.pid == 1 && host.host_namespace => {
            Some(Reaper::HostInit)
        }
        Role::Ordinary | Role::Registered if is_init => {
            Some(Reaper::NamespaceInit { name: parent.name.clone(), pid: parent.pid })
        }
        Role::Ordinary | Role::Registered if tree.is_user_manager(&parent) => {
            Some(Reaper::UserManager { pid: parent.pid })
        }
        Role::Ordinary | Role::Registered => reaper_of(node, &parent),
    };
    let Some(reaper) = reaper else { return Step::Below(parent) };
    if tree.is_service_main(node) {
        return Step::Settled(Lineage::Main);
    }
    let host_init = is_init && parent.pid == 1 && host.host_namespace;
    if host_init && is_command_of_host_init(node, &parent) {
        return Step::Settled(Lineage::Main);
    }
    let container_init = is_init && !host_init;
    let named_reaper = REAPERS.contains(&parent.name.as_str());
    if (container_init || named_reaper) && is_main_command(node, &parent, host) {
        let of_init = if container_init { abandoned_init(tree, &parent, host) } else { None };
        return Step::Settled(of_init.unwrap_or(Lineage::Main));
    }
    let leader_alive = leads_alive(tree, node, &parent);
    Step::Settled(Lineage::Reparented { parent_pid: parent.pid, reaper, leader_alive })
}

/// A reaper that is none by position: known by its name, or by what it did. A process is born into its parent's session
/// and leaves it only to lead one of its own; so whoever leads none and has a parent of another session was adopted.
/// Session 0 is one whose leader is not to be seen here, and as good as any: the one that the kernel's first process was
/// born into, or one of an outer pid namespace. Two of them cannot be told apart, and nobody is called adopted for that.
fn reaper_of(node: &Node, parent: &Node) -> Option<Reaper> {
    if REAPERS.contains(&parent.name.as_str()) {
        return Some(Reaper::Known { name: parent.name.clone(), pid: parent.pid });
    }
    let adopted = node.sid != node.pid && node.sid != parent.sid;
    adopted.then(|| Reaper::Adopter { name: parent.name.clone(), pid: parent.pid })
}

/// The init of a namespace whose maker is gone (`unshare --fork` that was killed): its parent adopted it, and no
/// container runtime gave it a control group of its own, as one does that detaches from its containers on purpose.
fn abandoned_init(tree: &mut impl Tree, init: &Node, host: Host) -> Option<Lineage> {
    let parent = tree.node(init.ppid)?;
    // the monitor of a podman or CRI-O container is its maker, and may make it without any control group
    if parent.name == "conmon" {
        return None;
    }
    let parents_init = parent.ns_pids.as_deref().and_then(<[i32]>::last) == Some(&1);
    let reaper = if parents_init && parent.pid == 1 && host.host_namespace {
        Reaper::HostInit
    } else if parents_init {
        Reaper::OuterInit { name: parent.name.clone(), pid: parent.pid }
    } else if tree.is_user_manager(&parent) {
        Reaper::UserManager { pid: parent.pid }
    } else {
        reaper_of(init, &parent)?
    };
    // a control group is inherited, a session of its own is not: runtimes make one for an init (runc and crun call
    // setsid(2)), and `unshare --fork` leaves it in its own
    let made_by_runtime =
        init.container.is_some() && init.container != parent.container && init.sid == init.pid;
    if made_by_runtime || tree.is_service_main(init) {
        return None;
    }
    let leader_alive = leads_alive(tree, init, &parent);
    Some(Lineage::Reparented { parent_pid: parent.pid, reaper, leader_alive })
}

fn is_main_command(node: &Node, init: &Node, host: Host) -> bool {
    let within = MAIN_COMMAND_MS * host.ticks_per_second / 1000;
    let in_its_session = node.sid != 0 && node.sid == init.sid;
    in_its_session || node.start_ticks.saturating_sub(init.start_ticks) <= within
}

/// A host whose first process makes no sessions, as the agents of small virtual machines do, runs its commands in its
/// own. What an ended command left there still stands in that command's group.
fn is_command_of_host_init(node: &Node, init: &Node) -> bool {
    node.sid == init.sid && (node.pgid == node.pid || node.pgid == init.pgid)
}

/// Whether the leader of the session or group lives, of this very line: older than the process, and neither itself
/// nor its reaper. A session or group that it shares with its reaper says nothing of who started it.
fn leads_alive(tree: &mut impl Tree, node: &Node, reaper: &Node) -> bool {
    [(node.sid, reaper.sid), (node.pgid, reaper.pgid)].into_iter().any(|(leader, of_reaper)| {
        leader > 1
            && leader != node.pid
            && leader != of_reaper
            && leader != reaper.pid
            && tree.role(leader) != Role::Core
            && tree.node(leader).is_some_and(|leader| {
                !leader.dead && leader.start_ticks <= node.start_ticks && leader.sid == node.sid
            })
    })
}
