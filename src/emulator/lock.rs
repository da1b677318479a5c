//! One process at a time on a state folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A locked state folder; free again when dropped or when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the folder is not ours.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{0} is in use by another dsql-proxy: stop that one, or give another --dir")]
    Busy(PathBuf),
    /// The folder or the lock file could not be made.
    #[error("{path}: {cause}")]
    File {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl Lock {
    /// Makes `dir` if it is not there, and locks it.
    ///
    /// # Errors
    /// Another process holds it, or the system refuses.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let error = |path: &Path| {
            let path = path.to_owned();
            move |cause| LockError::File { path, cause }
        };
        std::fs::create_dir_all(dir).map_err(error(dir))?;
        let path = dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(error(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Busy(dir.to_owned())),
            Err(TryLockError::Error(cause)) => Err(error(&path)(cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("a/b");
        let first = Lock::take(&inside).unwrap();
        assert!(matches!(Lock::take(&inside), Err(LockError::Busy(_))));
        drop(first);
        assert!(Lock::take(&inside).is_ok());
    }
}
