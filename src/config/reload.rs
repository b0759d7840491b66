//! Noticing that the file, or a file that it names, changed.
//!
//! Editors write a new file and rename it over the old one, and Kubernetes swaps a symlink beside it; so the folder is
//! watched and not the file, and what counts is whether the text is another one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};

/// How long the folder must be quiet before the file is read: an editor's several steps are one change.
const QUIET: Duration = Duration::from_millis(100);

/// Longest wait for quiet; a folder that never rests is read all the same.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// Calls `changed` after each change near one of the files, until the runtime ends. Which files those are may change.
///
/// # Errors
/// When the folders cannot be watched; the files can still be loaded by signal and API.
pub fn watch<F: Fn() + Send + 'static>(
    mut files: watch::Receiver<Vec<PathBuf>>,
    changed: F,
) -> notify::Result<impl Future<Output = ()> + Send + use<F>> {
    let (sender, mut events) = mpsc::channel::<()>(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // A full channel says that something changed already.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = sender.try_send(());
        }
    })?;
    let mut folders = watch_folders(&mut watcher, &files.borrow_and_update(), &[])?;
    Ok(async move {
        loop {
            tokio::select! {
                event = events.recv() => if event.is_none() { return },
                // A file that was written before its folder was watched is seen by reading it once more.
                named = files.changed() => if named.is_err() { return },
            }
            let quiet = async { while let Ok(Some(())) = tokio::time::timeout(QUIET, events.recv()).await {} };
            let _ = tokio::time::timeout(QUIET_MAX, quiet).await;
            // A symlink may lead to another folder than before.
            let wanted = files.borrow_and_update().clone();
            if let Ok(now) = watch_folders(&mut watcher, &wanted, &folders) {
                folders = now;
            }
            changed();
        }
    })
}

/// Watches the folders of the files and, where one is a symlink, that of the file it leads to.
fn watch_folders(watcher: &mut RecommendedWatcher, files: &[PathBuf], had: &[PathBuf]) -> notify::Result<Vec<PathBuf>> {
    let mut wanted: Vec<PathBuf> = Vec::new();
    for folder in files.iter().flat_map(|file| folders_of(file)) {
        let is_known = |known: &PathBuf| known.canonicalize().ok() == folder.canonicalize().ok();
        if !wanted.iter().any(is_known) {
            wanted.push(folder);
        }
    }
    for folder in had.iter().filter(|folder| !wanted.contains(folder)) {
        // It may be gone already.
        let _ = watcher.unwatch(folder);
    }
    let (mut watched, mut failed) = (Vec::new(), None);
    for folder in wanted {
        match if had.contains(&folder) { Ok(()) } else { watcher.watch(&folder, RecursiveMode::NonRecursive) } {
            Ok(()) => watched.push(folder),
            Err(error) => failed = Some(error),
        }
    }
    // The folder of a file that is named and not there keeps nobody from watching the others.
    match failed {
        Some(error) if watched.is_empty() => Err(error),
        _ => Ok(watched),
    }
}

fn folders_of(file: &Path) -> Vec<PathBuf> {
    let folder_of = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let real = file.canonicalize().ok().map(|real| folder_of(&real));
    std::iter::once(folder_of(file)).chain(real).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Notify;

    async fn notices(file: &Path, change: impl FnOnce()) -> bool {
        let notify = Arc::new(Notify::new());
        let heard = Arc::clone(&notify);
        let (_names, files) = watch::channel(vec![file.to_path_buf()]);
        let task = tokio::spawn(super::watch(files, move || heard.notify_one()).unwrap());
        change();
        let noticed = tokio::time::timeout(Duration::from_secs(5), notify.notified()).await.is_ok();
        task.abort();
        noticed
    }

    #[tokio::test]
    async fn a_file_that_is_written_or_replaced_by_renaming_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dispatcher.yaml");
        std::fs::write(&file, "a").unwrap();
        assert!(notices(&file, || std::fs::write(&file, "b").unwrap()).await);
        let other = folder.path().join("dispatcher.yaml.new");
        let replace = || {
            std::fs::write(&other, "c").unwrap();
            std::fs::rename(&other, &file).unwrap();
        };
        assert!(notices(&file, replace).await);
    }

    #[tokio::test]
    async fn a_configmap_that_swaps_its_symlink_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["..one", "..two"] {
            std::fs::create_dir(folder.path().join(version)).unwrap();
            std::fs::write(folder.path().join(version).join("dispatcher.yaml"), version).unwrap();
        }
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
        link("..one", "..data");
        link("..data/dispatcher.yaml", "dispatcher.yaml");
        let file = folder.path().join("dispatcher.yaml");
        let swap = || {
            link("..two", "..data_tmp");
            std::fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).unwrap();
        };
        assert!(notices(&file, swap).await);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "..two");
    }
    #[tokio::test]
    async fn a_file_that_is_named_later_is_watched_from_then_on() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let files = folders.each_ref().map(|folder| folder.path().join("file"));
        files.iter().for_each(|file| std::fs::write(file, "a").unwrap());
        let (names, named) = watch::channel(vec![files[0].clone()]);
        let (said, mut heard) = mpsc::channel(10);
        let task = tokio::spawn(super::watch(named, move || said.try_send(()).unwrap_or_default()).unwrap());
        let nowhere = PathBuf::from("/nowhere/at/all");
        names.send(vec![files[0].clone(), nowhere, files[1].clone()]).unwrap();
        assert_eq!(heard.recv().await, Some(()), "it is read once more when it is named");
        for file in &files {
            std::fs::write(file, "b").unwrap();
            assert_eq!(tokio::time::timeout(Duration::from_secs(5), heard.recv()).await, Ok(Some(())));
        }
        task.abort();
    }
}
