//! Finding the programs of a PostgreSQL server, and the user to run them as.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::postgres::PostgresError;

/// The operating system user that PostgreSQL runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAs {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Whether that is another user than ours: only then are ids set and folders given away.
    pub other: bool,
}

impl RunAs {
    /// Ourselves; or when we are root, which PostgreSQL refuses, the owner of an existing data
    /// folder, else `postgres`, else `nobody`.
    ///
    /// # Errors
    /// Root on a machine with neither user.
    pub fn choose(data: &Path) -> Result<Self, PostgresError> {
        let uid = rustix::process::geteuid().as_raw();
        if uid != 0 {
            let gid = rustix::process::getegid().as_raw();
            return Ok(Self {
                uid,
                gid,
                other: false,
            });
        }
        if let Ok(owner) = std::fs::metadata(data).map(|found| (found.uid(), found.gid()))
            && owner.0 != 0
        {
            return Ok(Self {
                uid: owner.0,
                gid: owner.1,
                other: true,
            });
        }
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| find_user(&users, name))
            .map(|(uid, gid)| Self {
                uid,
                gid,
                other: true,
            })
            .ok_or(PostgresError::NoUser)
    }

    /// A command that runs as this user, from `/`, with no setting of PostgreSQL clients inherited.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if self.other {
            // Setting the user id as root drops the supplementary groups too.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Whether this user can enter `folder`, asked of the system itself.
    #[must_use]
    pub fn can_enter(&self, folder: &Path) -> bool {
        !self.other
            || self.succeeds(
                "/bin/sh",
                &[
                    "-c".as_ref(),
                    "cd -- \"$1\"".as_ref(),
                    "sh".as_ref(),
                    folder.as_os_str(),
                ],
            )
    }

    /// Whether a program runs as this user and ends well.
    #[must_use]
    pub fn succeeds(&self, program: &str, arguments: &[&std::ffi::OsStr]) -> bool {
        self.command(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

fn find_user(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        let uid: u32 = fields.nth(1)?.parse().ok()?;
        let gid: u32 = fields.next()?.parse().ok()?;
        (found && uid != 0).then_some((uid, gid))
    })
}

/// The folder of `postgres` and `initdb`, and their version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The folder.
    pub folder: PathBuf,
    /// Major version, 15 or above.
    pub major: u32,
}

impl Binaries {
    /// The path of one program.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Finds a server: in `pg_bin` alone if given, else in PATH, the usual folders and the cache.
///
/// DSQL speaks PostgreSQL 16, so 16 goes first, then 15, then newer ones. A data folder that is
/// there already decides: only its own version can open it (`existing`).
///
/// # Errors
/// None found, with what to do about it.
pub fn find(
    pg_bin: Option<&Path>,
    dir: &Path,
    existing: Option<u32>,
    run_as: &RunAs,
) -> Result<Binaries, PostgresError> {
    let folders = match pg_bin {
        Some(folder) => vec![folder.to_owned()],
        None => candidates(dir),
    };
    let mut found: Vec<Binaries> = Vec::new();
    for folder in folders {
        let Ok(folder) = folder.canonicalize() else {
            continue;
        };
        if found.iter().any(|known| known.folder == folder) {
            continue;
        }
        if let Some(major) = version(&folder, run_as).filter(|major| *major >= 15) {
            found.push(Binaries { folder, major });
        }
    }
    choose(found, existing, pg_bin)
}

fn choose(
    mut found: Vec<Binaries>,
    existing: Option<u32>,
    pg_bin: Option<&Path>,
) -> Result<Binaries, PostgresError> {
    if found.is_empty() {
        return Err(PostgresError::NoBinaries {
            pg_bin: pg_bin.map(Path::to_owned),
        });
    }
    found.sort_by_key(|binaries| preference(binaries.major));
    match existing {
        None => Ok(found.swap_remove(0)),
        Some(major) => found
            .into_iter()
            .find(|binaries| binaries.major == major)
            .ok_or(PostgresError::OtherVersion { major }),
    }
}

fn preference(major: u32) -> u32 {
    match major {
        16 => 0,
        15 => 1,
        newer => newer,
    }
}

fn candidates(dir: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| {
            std::env::split_paths(&path)
                .filter(|folder| folder.join("initdb").exists())
                .collect()
        })
        .unwrap_or_default();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|entry| entry.path().join("bin")));
    }
    for major in [16, 15, 17, 18] {
        folders.push(format!("/usr/pgsql-{major}/bin").into());
    }
    folders.push("/usr/local/pgsql/bin".into());
    let cache = |variable: &str, below: &str| {
        std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(|value| PathBuf::from(value).join(below).join("postgres-16/bin"))
    };
    folders.push(dir.join("postgres-16/bin"));
    folders.extend(cache("XDG_CACHE_HOME", "dsql-proxy"));
    folders.extend(cache("HOME", ".cache/dsql-proxy"));
    folders.push("/var/cache/dsql-proxy/postgres-16/bin".into());
    folders
}

/// The major version, asked of the program as the user who will run it: that shows at once whether
/// this user can reach it.
fn version(folder: &Path, run_as: &RunAs) -> Option<u32> {
    if !folder.join("initdb").exists() {
        return None;
    }
    let output = run_as
        .command(folder.join("postgres"))
        .arg("--version")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    parse_version(std::str::from_utf8(&output.stdout).ok()?)
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, `17beta1` and the like.
fn parse_version(text: &str) -> Option<u32> {
    let number = text.split_once("(PostgreSQL) ")?.1;
    let digits = number
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(number.len());
    number[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binaries(major: u32) -> Binaries {
        Binaries {
            folder: format!("/pg{major}").into(),
            major,
        }
    }

    #[test]
    fn sixteen_then_fifteen_then_newer() {
        let cases: &[(&[u32], Option<u32>, Option<u32>)] = &[
            (&[18, 15, 16, 17], None, Some(16)),
            (&[18, 17, 15], None, Some(15)),
            (&[18, 17], None, Some(17)),
            (&[15, 16], Some(15), Some(15)),
            (&[16], Some(15), None),
            (&[], None, None),
        ];
        for (found, existing, expected) in cases {
            let found = found.iter().copied().map(binaries).collect();
            let chosen = choose(found, *existing, None)
                .ok()
                .map(|chosen| chosen.major);
            assert_eq!(chosen, *expected);
        }
    }

    #[test]
    fn versions_are_read() {
        for (text, expected) in [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
                Some(15),
            ),
            ("postgres (PostgreSQL) 16.14\n", Some(16)),
            ("postgres (PostgreSQL) 19beta1", Some(19)),
            ("postgres (PostgreSQL) 17", Some(17)),
            ("postgres (PostgreSQL) ", None),
            ("sh: not found", None),
        ] {
            assert_eq!(parse_version(text), expected, "{text}");
        }
    }

    #[test]
    fn users_are_found_but_never_root() {
        let passwd = "root:x:0:0::/:/bin/sh\npostgres2:x:9:9::/:\nbroken\npostgres:x:101:104::/:\n";
        assert_eq!(find_user(passwd, "postgres"), Some((101, 104)));
        assert_eq!(find_user(passwd, "root"), None);
        assert_eq!(find_user(passwd, "nobody"), None);
    }
}
