//! What the kernel says of itself in `/proc` and `/sys`.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The files of a machine. A test has its own.
#[derive(Clone, Debug)]
pub struct System(PathBuf);

impl System {
    /// This machine's.
    pub fn of_this_machine() -> Self {
        Self::under(Path::new("/"))
    }

    /// Those below `root`.
    pub fn under(root: &Path) -> Self {
        Self(root.to_owned())
    }

    /// A file's text, if it is there and may be read.
    pub fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.0.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The first word of a file as a number.
    pub fn number<N: FromStr>(&self, path: &str) -> Option<N> {
        self.text(path)?.split_ascii_whitespace().next()?.parse().ok()
    }

    /// The value behind a name in a file such as `/proc/meminfo`.
    pub fn entry<N: FromStr>(&self, path: &str, name: &str) -> Option<N> {
        let text = self.text(path)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.split_ascii_whitespace().next()?.parse().ok()
    }

    /// The kernel's release, and its first two numbers.
    pub fn kernel(&self) -> Option<(String, (u32, u32))> {
        let release = self.text("proc/sys/kernel/osrelease")?;
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        let (major, minor) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        Some((release, (major, minor)))
    }

    /// The folders of this process' control groups that a controller's files may be in, the
    /// innermost first: those of version 2, and those of version 1.
    pub fn control_groups(&self, controller: &str) -> Vec<String> {
        let groups = self.text("proc/self/cgroup").unwrap_or_default();
        let mut folders = Vec::new();
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let mount = match controllers {
                "" => "sys/fs/cgroup".to_owned(),
                some if some.split(',').any(|one| one == controller) => {
                    format!("sys/fs/cgroup/{some}")
                }
                _ => continue,
            };
            // A bound of any group around ours holds for us too.
            for group in Path::new(path).ancestors() {
                let group = group.to_string_lossy();
                folders.push(format!("{mount}{}", group.trim_end_matches('/')));
            }
        }
        folders
    }
}

/// A folder of files with these contents.
#[cfg(test)]
pub(super) fn made_of(files: &[(&str, &str)]) -> (tempfile::TempDir, System) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let system = System::under(dir.path());
    (dir, system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_words_numbers_and_entries() {
        let (_dir, system) = made_of(&[
            ("proc/meminfo", "MemTotal:  100 kB\nMemAvailable:   42 kB\n"),
            ("proc/sys/fs/file-nr", "519\t0\t1000\n"),
            ("proc/sys/kernel/osrelease", "6.18.44-fc-v595\n"),
        ]);
        assert_eq!(system.entry::<u64>("proc/meminfo", "MemAvailable"), Some(42));
        assert_eq!(system.number::<u64>("proc/sys/fs/file-nr"), Some(519));
        assert_eq!(system.number::<u64>("proc/missing"), None);
        assert_eq!(system.kernel(), Some(("6.18.44-fc-v595".into(), (6, 18))));
    }

    #[test]
    fn a_process_is_bounded_by_its_group_and_those_around_it() {
        let (_dir, system) =
            made_of(&[("proc/self/cgroup", "4:memory:/a/b\n1:cpu,cpuacct:/\n0::/x\n")]);
        assert_eq!(
            system.control_groups("memory"),
            [
                "sys/fs/cgroup/memory/a/b",
                "sys/fs/cgroup/memory/a",
                "sys/fs/cgroup/memory",
                "sys/fs/cgroup/x",
                "sys/fs/cgroup",
            ]
        );
        assert_eq!(system.control_groups("cpu")[0], "sys/fs/cgroup/cpu,cpuacct");
    }
}
