//! The cache of parts from outside, which all clones of one user share. A part is built beside its place
//! and renamed when it is whole, by one run at a time: a run that is killed leaves nothing that could be
//! taken for a part.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Builds the part whose folder is `place`, unless it is there and `works`. `build` gets the folder to
/// build it in, which is moved afterwards: nothing in it may rely on its path.
pub(crate) fn provide(
    place: &Path,
    works: impl Fn(&Path) -> bool,
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let is_whole = || place.exists() && works(place);
    if is_whole() {
        return Ok(());
    }
    if let Some(cache) = place.parent() {
        fs::create_dir_all(cache).with_context(|| cache.display().to_string())?;
    }
    let _one_at_a_time = lock(place)?;
    if is_whole() {
        return Ok(());
    }
    let unfinished = beside(place, "unfinished");
    clear(&unfinished)?;
    fs::create_dir(&unfinished)?;
    if let Err(error) = build(&unfinished) {
        clear(&unfinished)?;
        return Err(error);
    }
    clear(place)?;
    fs::rename(&unfinished, place).with_context(|| place.display().to_string())
}

fn lock(place: &Path) -> Result<File> {
    let path = beside(place, "lock");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| path.display().to_string())?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        println!("waiting for another run that builds {}", place.display());
    }
    file.lock().with_context(|| path.display().to_string())?;
    Ok(file)
}

/// Removes a folder, if it is there.
fn clear(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| folder.display().to_string())
        }
        _ => Ok(()),
    }
}

/// A name next to that of `place`, whose version may have points in it.
fn beside(place: &Path, what: &str) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(format!(".{what}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use anyhow::bail;

    use super::*;

    /// A cache of the test's own, and the place of a part in it.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("farebox/part-1.2.3");
        (folder, place)
    }

    fn build(folder: &Path) -> Result<()> {
        Ok(fs::write(folder.join("program"), "whole")?)
    }

    #[test]
    fn a_part_is_built_once_for_all_who_ask_at_the_same_time() {
        let ((_cache, place), built) = (place(), AtomicU32::new(0));
        let ask = || {
            let count = |folder: &Path| {
                built.fetch_add(1, Ordering::Relaxed);
                build(folder)
            };
            provide(&place, |_| true, count).unwrap();
            assert_eq!(fs::read_to_string(place.join("program")).unwrap(), "whole");
        };
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(ask);
            }
        });
        assert_eq!(built.into_inner(), 1);
    }

    #[test]
    fn what_a_killed_run_left_is_no_part() {
        let (_cache, place) = place();
        let left = beside(&place, "unfinished");
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("half"), "").unwrap();
        assert!(!place.exists());
        provide(&place, |_| true, build).unwrap();
        assert!(place.join("program").exists() && !place.join("half").exists());
        assert!(!left.exists());
    }

    #[test]
    fn a_part_that_cannot_be_built_leaves_nothing() {
        let (_cache, place) = place();
        let failed = provide(&place, |_| true, |_| bail!("no network"));
        assert_eq!(failed.unwrap_err().to_string(), "no network");
        assert!(!place.exists() && !beside(&place, "unfinished").exists());
    }

    #[test]
    fn a_part_that_no_longer_works_is_built_anew() {
        let (_cache, place) = place();
        fs::create_dir_all(&place).unwrap();
        provide(&place, |place| place.join("program").exists(), build).unwrap();
        assert!(place.join("program").exists());
    }
}
