//! The recogniser's files: fetched once, checked always.

use roomscribe_speech::model_files::{Progress, default_cache, ensure};

#[test]
fn the_second_time_nothing_is_downloaded_and_nothing_hashed() {
    let cache = default_cache();
    ensure(&cache, &mut |_| ()).expect("the recogniser's files");
    let mut seen = Vec::new();
    let files = ensure(&cache, &mut |p| seen.push(p)).expect("the recogniser's files");
    assert_eq!(seen, [Progress::Ready]);
    assert!(files.library.is_file() && files.model.join("encoder_model.ort").is_file());
}
