//! How much of the memory that the process may have is in use.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the system says so.
pub(crate) struct Memory {
    proc: PathBuf,
    cgroups: Vec<Cgroup>,
}

/// A cgroup that the process is in, directly or not.
struct Cgroup {
    used: PathBuf,
    limit: PathBuf,
    stat: PathBuf,
    /// In `stat`: the page cache that goes when memory is needed.
    reclaimable: &'static str,
}

impl Memory {
    /// Of this process.
    pub(crate) fn of_this_process() -> Self {
        Self::below(Path::new("/"))
    }

    /// With the system's files below a folder.
    fn below(root: &Path) -> Self {
        let proc = root.join("proc");
        let groups = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
        Self { proc, cgroups: groups.lines().flat_map(|line| cgroups(line, root)).collect() }
    }

    /// The share in use, by the bound of the snapshot, of the cgroups and of the machine, whichever is nearest.
    pub(crate) fn share(&self, bound: Option<u64>) -> f64 {
        let resident = kilobytes(&self.proc.join("self/status"), "VmRSS:");
        let own = resident.zip(bound).map(|(resident, bound)| ratio(resident, bound));
        // What others take of the machine is not this process's to give back; what is left of it is the bound.
        let left = kilobytes(&self.proc.join("meminfo"), "MemAvailable:");
        let machine = resident.zip(left).map(|(resident, left)| ratio(resident, resident.saturating_add(left)));
        let groups = self.cgroups.iter().filter_map(Cgroup::share);
        groups.chain(own).chain(machine).fold(0.0, f64::max)
    }
}

/// The cgroups of a line of `/proc/self/cgroup`: the one it names and those around it. In a container the name may be
/// one of outside: then it is the one at the top.
fn cgroups(line: &str, root: &Path) -> Vec<Cgroup> {
    let mut parts = line.splitn(3, ':');
    let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
        return Vec::new();
    };
    let (mount, used, limit, reclaimable) = match controllers {
        "" => ("sys/fs/cgroup", "memory.current", "memory.max", "inactive_file "),
        _ if controllers.split(',').any(|controller| controller == "memory") => {
            ("sys/fs/cgroup/memory", "memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file ")
        }
        _ => return Vec::new(),
    };
    let mount = root.join(mount);
    let own = mount.join(path.trim_start_matches('/'));
    let around = own.ancestors().take_while(|folder| folder.starts_with(&mount));
    let groups = around.filter(|folder| folder.join(limit).exists()).map(|folder| Cgroup {
        used: folder.join(used),
        limit: folder.join(limit),
        stat: folder.join("memory.stat"),
        reclaimable,
    });
    groups.collect()
}

impl Cgroup {
    /// The share in use; `None` without a limit, which is written as `max` or as more than there is.
    fn share(&self) -> Option<f64> {
        let limit = number(&self.limit).filter(|limit| *limit < 1 << 60)?;
        let reclaimable = field(&self.stat, self.reclaimable).unwrap_or(0);
        Some(ratio(number(&self.used)?.saturating_sub(reclaimable), limit))
    }
}

/// More than 2^53 bytes lose what nobody counts.
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number behind a name at the start of a line.
fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

fn kilobytes(path: &Path, name: &str) -> Option<u64> {
    field(path, name)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system's files in a folder of their own.
    struct System(PathBuf);

    impl System {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("outrigger-memory-{name}-{}", std::process::id()));
            let system = Self(root);
            files.iter().for_each(|(path, text)| system.write(path, text));
            system
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn percent(&self, bound: Option<u64>) -> u64 {
            (Memory::below(&self.0).share(bound) * 100.0).round() as u64
        }
    }

    impl Drop for System {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const RESIDENT: (&str, &str) = ("proc/self/status", "Name:\touts\nVmRSS:\t  100000 kB\nThreads:\t3\n");
    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal: 9900000 kB\nMemAvailable:  900000 kB\n");

    #[test]
    fn without_limits_the_machine_counts() {
        let system = System::new("machine", &[RESIDENT, MACHINE]);
        assert_eq!(system.percent(None), 10, "of what this process could have");
        assert_eq!(system.percent(Some(200_000 * 1024)), 50, "the snapshot's bound is nearer");
        assert_eq!(system.percent(Some(20_000_000 * 1024)), 10);
        system.write("proc/meminfo", "MemAvailable: 5000 kB\n");
        assert_eq!(system.percent(None), 95);
    }

    #[test]
    fn cgroups_of_version_2() {
        let group = "sys/fs/cgroup/pods/one";
        let file = |name: &str| format!("{group}/{name}");
        let system = System::new("v2", &[RESIDENT, MACHINE, ("proc/self/cgroup", "0::/pods/one\n")]);
        system.write(&file("memory.current"), "900\n");
        system.write(&file("memory.max"), "max\n");
        system.write(&file("memory.stat"), "anon 500\nfile 400\ninactive_file 300\nactive_file 100\n");
        assert_eq!(system.percent(None), 10, "no limit");
        system.write(&file("memory.max"), "1000\n");
        assert_eq!(system.percent(None), 60, "what the kernel takes back does not count");
        system.write("sys/fs/cgroup/pods/memory.current", "1900\n");
        system.write("sys/fs/cgroup/pods/memory.max", "2000\n");
        assert_eq!(system.percent(None), 95, "the one around it is nearer to its limit");
    }

    #[test]
    fn cgroups_of_version_1_and_names_of_outside() {
        let groups = "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n1:name=systemd:/y\n";
        let system = System::new("v1", &[RESIDENT, MACHINE, ("proc/self/cgroup", groups)]);
        system.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "800\n");
        system.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(system.percent(None), 10, "no limit");
        system.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n");
        assert_eq!(system.percent(None), 80);
    }

    #[test]
    fn nothing_to_be_read_is_no_pressure() {
        assert_eq!(System::new("none", &[]).percent(Some(1)), 0);
    }

    #[test]
    fn this_process() {
        let share = Memory::of_this_process().share(None);
        assert!(share > 0.0 && share.is_finite(), "{share}");
    }
}
