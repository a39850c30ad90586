//! Where on this machine control groups may be made.
//!
//! Cgroup v2 is a tree in which a group either holds processes or divides its resources among children, so on a
//! delegated subtree (systemd's `Delegate=yes`) this process first steps aside into a leaf. Cgroup v1 is one tree per
//! resource, and each is used below the place where this process stands in it. On a hybrid machine the v2 tree carries
//! no resources, but its `cgroup.kill` is the best there is, so it is used for that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The leaf into which this process moves on v2.
const SERVER_LEAF: &str = "server";
/// What is limited; the first is indispensable.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
/// What is used where v1 has it: to end all of a group at once, and to count what it took. (v2 has both without asking.)
const HELPFUL: [&str; 2] = ["freezer", "cpuacct"];

/// The folders, one per tree, below which groups are made. Each exists and can be written.
pub(super) fn roots(root_name: &str) -> Result<Vec<PathBuf>, String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| unreadable(&error))?;
    let membership = fs::read_to_string("/proc/self/cgroup").map_err(|error| unreadable(&error))?;
    let trees = trees(&mounts, &membership);
    let v2 = trees.iter().find(|tree| tree.controllers.is_empty());
    if let Some(v2) = v2
        && available(&v2.own).iter().any(|name| name == "memory")
    {
        return divided(&v2.own, root_name).map(|root| vec![root]);
    }
    v1(&trees, root_name)
}

fn unreadable(error: &io::Error) -> String {
    format!("the control groups of this process cannot be read ({error}); is /proc mounted?")
}

/// One mounted tree and where this process stands in it.
#[derive(Debug, PartialEq, Eq)]
struct Tree {
    /// Its v1 controllers; none for v2.
    controllers: Vec<String>,
    own: PathBuf,
}

fn trees(mountinfo: &str, membership: &str) -> Vec<Tree> {
    mountinfo.lines().filter_map(|line| tree(line, membership)).collect()
}

fn tree(mount: &str, membership: &str) -> Option<Tree> {
    let (place, kind) = mount.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let v2 = match kind.next()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    let options = kind.nth(1).unwrap_or_default();
    let known = |name: &&str| CONTROLLERS.contains(name) || HELPFUL.contains(name);
    let controllers: Vec<&str> = if v2 { Vec::new() } else { options.split(',').filter(known).collect() };
    if !v2 && controllers.is_empty() {
        return None;
    }
    let own = membership.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        let this = if v2 { names.is_empty() } else { names.split(',').any(|name| controllers.contains(&name)) };
        this.then_some(path)
    })?;
    let below = Path::new(own).strip_prefix(root).ok()?;
    let own = if below.as_os_str().is_empty() { PathBuf::from(point) } else { Path::new(point).join(below) };
    Some(Tree { controllers: controllers.into_iter().map(str::to_owned).collect(), own })
}

fn v1(trees: &[Tree], root_name: &str) -> Result<Vec<PathBuf>, String> {
    let mut roots = Vec::new();
    let mut limits_memory = false;
    for tree in trees {
        let root = tree.own.join(root_name);
        if make(&root).is_err() {
            continue;
        }
        limits_memory |= tree.controllers.iter().any(|name| name == "memory");
        roots.push(root);
    }
    if limits_memory {
        return Ok(roots);
    }
    roots.iter().for_each(|root| drop(fs::remove_dir(root)));
    Err("no control group for memory can be made here: run the server as a systemd service with `Delegate=yes`, or as \
         root on a machine with cgroup v1"
        .to_owned())
}

/// v2: makes `own` (or its parent, when this process has stepped aside already) hand its controllers down.
fn divided(own: &Path, root_name: &str) -> Result<PathBuf, String> {
    let stepped_aside = own.file_name().is_some_and(|name| name == SERVER_LEAF);
    let base = if stepped_aside { own.parent().unwrap_or(own) } else { own };
    let refused = |error: io::Error| {
        format!(
            "the control group {} is not ours to divide ({error}): run the server as a systemd service with \
             `Delegate=yes`, or try it with `systemd-run --user --scope -p Delegate=yes`",
            base.display()
        )
    };
    // Only a real root group has no type; it may hold processes and divide at once.
    if !stepped_aside && base.join("cgroup.type").exists() {
        let leaf = base.join(SERVER_LEAF);
        make(&leaf).map_err(refused)?;
        fs::write(leaf.join("cgroup.procs"), "0").map_err(refused)?;
    }
    let root = base.join(root_name);
    let result = hand_down(base).and_then(|()| make(&root)).and_then(|()| hand_down(&root));
    if let Err(error) = result {
        if !stepped_aside {
            drop(fs::write(base.join("cgroup.procs"), "0"));
        }
        return Err(refused(error));
    }
    Ok(root)
}

fn hand_down(group: &Path) -> io::Result<()> {
    let here = available(group);
    for name in CONTROLLERS.iter().filter(|name| here.iter().any(|have| have == *name)) {
        fs::write(group.join("cgroup.subtree_control"), format!("+{name}"))?;
    }
    Ok(())
}

fn available(group: &Path) -> Vec<String> {
    let text = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

pub(super) fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_place_on_v2() {
        let mounts = "26 25 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let trees = trees(mounts, "0::/system.slice/gigalixir.service\n");
        assert_eq!(trees.len(), 1);
        assert_eq!(trees[0].own, Path::new("/sys/fs/cgroup/system.slice/gigalixir.service"));
        assert!(trees[0].controllers.is_empty());
    }

    #[test]
    fn finds_its_place_on_v1_with_joined_controllers_and_a_mount_below_the_root() {
        let mounts = "32 31 0:29 /docker/1 /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      33 31 0:30 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n\
                      34 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        let trees = trees(mounts, "4:cpu,cpuacct:/docker/1/x\n3:blkio:/\n2:memory:/a\n0::/\n");
        let own: Vec<_> = trees.iter().map(|tree| tree.own.display().to_string()).collect();
        assert_eq!(own, ["/sys/fs/cgroup/cpu,cpuacct/x", "/sys/fs/cgroup/memory/a"]);
    }

    #[test]
    fn a_delegated_group_is_divided_from_a_leaf() {
        let base = tempfile::tempdir().unwrap();
        let file = |name: &str| base.path().join(name);
        fs::write(file("cgroup.type"), "domain\n").unwrap();
        fs::write(file("cgroup.controllers"), "cpuset cpu memory pids\n").unwrap();
        let root = divided(base.path(), "apps").unwrap();
        assert_eq!(root, file("apps"));
        assert_eq!(fs::read_to_string(file("server/cgroup.procs")).unwrap(), "0", "it stepped aside");
        assert_eq!(fs::read_to_string(file("cgroup.subtree_control")).unwrap(), "+pids", "the last of three");
        // From the leaf, as a second room of the same server does.
        fs::remove_file(file("server/cgroup.procs")).unwrap();
        assert_eq!(divided(&file("server"), "builds").unwrap(), file("builds"));
        assert!(!file("server/cgroup.procs").exists(), "it need not step aside again");
        assert!(divided(&file("nowhere"), "apps").unwrap_err().contains("Delegate=yes"));
    }
}
