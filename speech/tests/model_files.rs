//! The recogniser's files: fetched once, checked always.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use std::path::Path;

use roomscribe_speech::model_files::{ModelError, Progress, VERSION, default_cache, ensure, installed};

#[test]
fn the_second_time_nothing_is_downloaded_and_nothing_hashed() {
    let cache = default_cache();
    ensure(&cache, &mut |_| ()).expect("the recogniser's files");
    let mut seen = Vec::new();
    let files = ensure(&cache, &mut |p| seen.push(p)).expect("the recogniser's files");
    assert_eq!(seen, [Progress::Ready]);
    assert!(files.library.is_file() && files.model.join("encoder_model.ort").is_file());
}

/// A second cache on the same disk, with the same files.
fn linked(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => linked(&entry.path(), &target),
            false => std::fs::hard_link(entry.path(), target).unwrap(),
        }
    }
}

#[test]
fn a_file_that_changed_after_it_was_checked_is_checked_again_and_refused() {
    let cache = default_cache();
    ensure(&cache, &mut |_| ()).expect("the recogniser's files");
    let other = tempfile::tempdir_in(&cache).unwrap();
    let root = other.path().join(format!("moonshine-voice-{VERSION}"));
    linked(&cache.join(format!("moonshine-voice-{VERSION}")), &root);
    ensure(other.path(), &mut |_| ()).expect("the same files");
    let tokenizer = root.join("moonshine_voice/assets/tiny-en/tokenizer.bin");
    std::fs::remove_file(&tokenizer).unwrap();
    std::fs::write(&tokenizer, "another model").unwrap();
    let error = ensure(other.path(), &mut |_| ()).unwrap_err();
    let ModelError::Checksum { file, folder, .. } = &error else { panic!("{error}") };
    assert!(file.ends_with("tokenizer.bin") && *folder == root, "{error}");
    assert!(error.to_string().contains("remove"), "{error}");
}

#[test]
fn a_library_that_is_not_the_pinned_one_is_refused_before_anything_is_loaded() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join(format!("moonshine-voice-{VERSION}/moonshine_voice"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("libmoonshine.so"), "not it").unwrap();
    let error = ensure(cache.path(), &mut |_| ()).unwrap_err();
    assert!(
        matches!(&error, ModelError::Checksum { file, .. } if file.ends_with("libmoonshine.so")),
        "{error}"
    );
}

#[test]
fn a_copy_without_the_recordings_is_installed_and_another_model_is_not() {
    let cache = default_cache();
    ensure(&cache, &mut |_| ()).expect("the recogniser's files");
    let image = tempfile::tempdir_in(&cache).unwrap();
    let root = image.path().join("moonshine");
    linked(&cache.join(format!("moonshine-voice-{VERSION}")), &root);
    std::fs::remove_file(root.join("moonshine_voice/assets/two_cities.wav")).unwrap();
    std::fs::remove_file(root.join("verified")).unwrap();
    let files = installed(&root).unwrap();
    assert!(files.library.starts_with(&root) && files.model.is_dir());
    assert!(!root.join("verified").exists(), "nothing is written into an image");
    let encoder = root.join("moonshine_voice/assets/tiny-en/encoder_model.ort");
    std::fs::remove_file(&encoder).unwrap();
    assert!(matches!(installed(&root).unwrap_err(), ModelError::Cache { path, .. } if path == encoder));
    std::fs::write(&encoder, "another model").unwrap();
    assert!(matches!(installed(&root).unwrap_err(), ModelError::Checksum { .. }));
}
