//! A CPU quota for one process at a time, through a cgroup v1 `cpu` controller.
//!
//! The group is made below the one this process is in, and removed again; where that is not possible, the reason is given.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

/// CPU time in each period, in microseconds: 2 %.
const QUOTA_US: u32 = 2_000;
const PERIOD_US: u32 = 100_000;

/// A cgroup whose members hardly run.
#[derive(Debug)]
pub struct Quota {
    parent: PathBuf,
    group: PathBuf,
}

impl Quota {
    /// Makes the group.
    ///
    /// # Errors
    /// Why this machine cannot, as text for a person.
    pub fn new() -> Result<Self, String> {
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(|cause| cause.to_string())?;
        let parent = controller(&mounts).ok_or("there is no cgroup v1 `cpu` controller here")?;
        let group = parent.join(format!("logboom-torture-{}", std::process::id()));
        let made = fs::create_dir(&group)
            .and_then(|()| fs::write(group.join("cpu.cfs_period_us"), PERIOD_US.to_string()))
            .and_then(|()| fs::write(group.join("cpu.cfs_quota_us"), QUOTA_US.to_string()));
        let quota = Self { parent, group };
        made.map_err(|cause| {
            format!(
                "the cgroup `{}` cannot be made: {cause}",
                quota.group.display()
            )
        })?;
        Ok(quota)
    }

    /// Starves this process; one that has just ended is no error.
    pub fn starve(&self, pid: Pid) {
        let _ = fs::write(
            self.group.join("cgroup.procs"),
            pid.as_raw_nonzero().to_string(),
        );
    }

    /// Gives all starved processes their CPU back.
    pub fn feed_all(&self) {
        for pid in fs::read_to_string(self.group.join("cgroup.procs"))
            .unwrap_or_default()
            .lines()
        {
            let _ = fs::write(self.parent.join("cgroup.procs"), pid);
        }
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        self.feed_all();
        let _ = fs::remove_dir(&self.group);
    }
}

/// The mount point of the v1 controller.
fn controller(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup" && options.split(',').any(|option| option == "cpu"))
            .then(|| Path::new(point).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_controller_is_found_among_the_mounts() {
        let mounts = "proc /proc proc rw 0 0\ncgroup /c/cpuset cgroup rw,cpuset 0 0\ncgroup /c/cpu cgroup rw,relatime,cpu,cpuacct 0 0\n";
        assert_eq!(controller(mounts), Some(PathBuf::from("/c/cpu")));
        assert_eq!(
            controller("cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"),
            None
        );
    }
}
