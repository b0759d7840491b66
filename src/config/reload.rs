//! Noticing that the file changed.
//!
//! Editors write a new file and rename it over the old one, and Kubernetes swaps a symlink beside it; so the folder is
//! watched and not the file, and what counts is whether the text is another one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// How long the folder must be quiet before the file is read: an editor's several steps are one change.
const QUIET: Duration = Duration::from_millis(100);

/// Longest wait for quiet; a folder that never rests is read all the same.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// Calls `changed` after each change near the file, until the runtime ends.
///
/// # Errors
/// When the folder cannot be watched; the file can still be loaded by signal and API.
pub fn watch<F: Fn() + Send + 'static>(
    file: &Path,
    changed: F,
) -> notify::Result<impl Future<Output = ()> + Send + use<F>> {
    let (sender, mut events) = mpsc::channel::<()>(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // A full channel says that something changed already.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = sender.try_send(());
        }
    })?;
    let file = file.to_path_buf();
    let mut folders = watch_folders(&mut watcher, &file, &[])?;
    Ok(async move {
        while events.recv().await.is_some() {
            let quiet = async { while let Ok(Some(())) = tokio::time::timeout(QUIET, events.recv()).await {} };
            let _ = tokio::time::timeout(QUIET_MAX, quiet).await;
            // A symlink may lead to another folder than before.
            if let Ok(now) = watch_folders(&mut watcher, &file, &folders) {
                folders = now;
            }
            changed();
        }
    })
}

/// Watches the folder of the file and, where it is a symlink, that of the file it leads to.
fn watch_folders(watcher: &mut RecommendedWatcher, file: &Path, had: &[PathBuf]) -> notify::Result<Vec<PathBuf>> {
    let folder_of = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let mut wanted = vec![folder_of(file)];
    if let Ok(real) = file.canonicalize() {
        let real = folder_of(&real);
        if wanted[0].canonicalize().is_ok_and(|own| own != real) {
            wanted.push(real);
        }
    }
    for folder in had.iter().filter(|folder| !wanted.contains(folder)) {
        // It may be gone already.
        let _ = watcher.unwatch(folder);
    }
    for folder in wanted.iter().filter(|folder| !had.contains(folder)) {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Notify;

    async fn notices(file: &Path, change: impl FnOnce()) -> bool {
        let notify = Arc::new(Notify::new());
        let heard = Arc::clone(&notify);
        let task = tokio::spawn(watch(file, move || heard.notify_one()).unwrap());
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
}
