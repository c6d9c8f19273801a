//! Where the session store lies.

use std::{
    env,
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::exit::Trouble;

/// A store as `--store` names it: a path, or `sqlite:path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(pub PathBuf);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("sqlite:").unwrap_or(text);
        if path.is_empty() || path.contains("://") || path == ":memory:" {
            return Err("expected a file, as a path or as sqlite:path".into());
        }
        Ok(Self(PathBuf::from(path)))
    }
}

/// The environment that decides where the state of a program lies.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `$STATE_DIRECTORY`: systemd's, made and owned for this program alone.
    pub state_directory: Option<PathBuf>,
    /// `$XDG_STATE_HOME`: for every program of a user.
    pub xdg_state_home: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
}

impl Surroundings {
    /// The process' own.
    pub fn read() -> Self {
        let path = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            state_directory: path("STATE_DIRECTORY"),
            xdg_state_home: path("XDG_STATE_HOME"),
            home: path("HOME"),
        }
    }

    /// The store when none is named.
    ///
    /// # Errors
    /// When nothing says where this user's state lies.
    pub fn default_store(&self) -> Result<PathBuf, Trouble> {
        // systemd may list several, separated by colons; a relative path is to be ignored (XDG).
        let own = self.state_directory.as_deref().map(first_of_list);
        let xdg = self.xdg_state_home.as_deref().filter(|path| path.is_absolute());
        let folder = own
            .or_else(|| xdg.map(|path| path.join(FOLDER)))
            .or_else(|| self.plain_folder())
            .ok_or_else(|| {
                Trouble::new(
                    "nothing says where sessions should be kept",
                    "$STATE_DIRECTORY, $XDG_STATE_HOME or $HOME",
                    "set one of them, or name the file with --store",
                )
            })?;
        Ok(folder.join(FILE))
    }

    /// Whether a command without `--store`, in a shell of this user, finds the store at `path`.
    pub fn is_plain(&self, path: &Path) -> bool {
        self.plain_folder().is_some_and(|folder| folder.join(FILE) == path)
    }

    /// `path` with `~` for the home folder.
    pub fn shown(&self, path: &Path) -> String {
        match self.home.as_deref().and_then(|home| path.strip_prefix(home).ok()) {
            Some(rest) => format!("~/{}", rest.display()),
            None => path.display().to_string(),
        }
    }

    fn plain_folder(&self) -> Option<PathBuf> {
        self.home.as_deref().map(|home| home.join(".local/state").join(FOLDER))
    }
}

/// Makes the folder of the default store, for its owner only.
///
/// # Errors
/// When it cannot be made.
pub fn make_folder(store: &Path) -> Result<(), Trouble> {
    let Some(folder) = store.parent() else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        Trouble::new(
            format_args!("the folder {} cannot be made: {error}", folder.display()),
            "a folder for the session store that this user can write to",
            "name the store with --store",
        )
    })
}

fn first_of_list(paths: &Path) -> PathBuf {
    env::split_paths(paths).next().unwrap_or_else(|| paths.to_owned())
}

const FOLDER: &str = "thence-gate";
const FILE: &str = "sessions.db";

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(own: Option<&str>, xdg: Option<&str>, home: Option<&str>) -> Surroundings {
        let path = |text: Option<&str>| text.map(PathBuf::from);
        Surroundings { state_directory: path(own), xdg_state_home: path(xdg), home: path(home) }
    }

    #[test]
    fn the_most_specific_of_the_environment_decides() {
        let store = |own, xdg, home| surroundings(own, xdg, home).default_store().ok();
        let is = |text| Some(PathBuf::from(text));
        assert_eq!(store(Some("/s:/t"), Some("/x"), Some("/h")), is("/s/sessions.db"));
        assert_eq!(store(None, Some("/x"), Some("/h")), is("/x/thence-gate/sessions.db"));
        let plain = is("/h/.local/state/thence-gate/sessions.db");
        assert_eq!(store(None, Some("relative"), Some("/h")), plain);
        assert_eq!(store(None, None, Some("/h")), plain);
        assert_eq!(store(None, None, None), None);
    }

    #[test]
    fn a_path_at_home_is_shown_with_a_tilde() {
        let here = surroundings(None, None, Some("/home/me"));
        let plain = here.default_store().unwrap();
        assert!(here.is_plain(&plain));
        assert_eq!(here.shown(&plain), "~/.local/state/thence-gate/sessions.db");
        assert_eq!(here.shown(Path::new("/home/meow/x")), "/home/meow/x");
        assert!(!here.is_plain(Path::new("/x/thence-gate/sessions.db")));
    }

    #[test]
    fn a_store_is_a_path_with_or_without_its_kind() {
        let read = |text: &str| text.parse::<Place>().map(|place| place.0);
        assert_eq!(read("sqlite:/a/b.db"), Ok(PathBuf::from("/a/b.db")));
        assert_eq!(read("b.db"), Ok(PathBuf::from("b.db")));
        for bad in ["", "sqlite:", "postgres://h/d", "sqlite::memory:"] {
            assert!(read(bad).unwrap_err().contains("sqlite:path"), "{bad}");
        }
    }
}
