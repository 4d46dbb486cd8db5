//! What every store promises, asked of each of them.

use std::ops::Range;

use shipmate::store::{Change, Direction, MAX_VALUE, MemoryStore, SledStore, Store, StoreError};
use tempfile::tempdir;

fn on_each(promise: fn(&dyn Store)) {
    promise(&MemoryStore::default());
    let folder = tempdir().unwrap();
    promise(&SledStore::open(folder.path()).unwrap().0);
}

fn put(key: &str, value: &str) -> Change {
    (key.into(), Some(value.into()))
}

fn keys(store: &dyn Store, range: Range<&str>, direction: Direction, limit: usize) -> Vec<String> {
    let rows = store.scan(range.start.into()..range.end.into(), direction, limit).unwrap();
    rows.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
}

#[test]
fn a_write_puts_changes_and_removes() {
    on_each(|store| {
        assert_eq!(store.get(b"a"), Ok(None));
        store.write(vec![put("a", "1"), put("b", "")], b"").unwrap();
        assert_eq!(store.get(b"a"), Ok(Some(b"1".to_vec())));
        assert_eq!(store.get(b"b"), Ok(Some(Vec::new())));
        store.write(vec![put("a", "2"), ("b".into(), None), ("never".into(), None)], b"").unwrap();
        assert_eq!((store.get(b"a"), store.get(b"b")), (Ok(Some(b"2".to_vec())), Ok(None)));
    });
}

#[test]
fn a_scan_is_in_the_order_of_keys_and_leaves_its_end_out() {
    on_each(|store| {
        store.write(["c", "a", "bb", "b", "d"].map(|key| put(key, key)).into(), b"").unwrap();
        assert_eq!(keys(store, "a".."d", Direction::Forward, 9), ["a", "b", "bb", "c"]);
        assert_eq!(keys(store, "a".."d", Direction::Backward, 9), ["c", "bb", "b", "a"]);
        assert_eq!(keys(store, "b".."z", Direction::Forward, 2), ["b", "bb"]);
        assert_eq!(keys(store, "a".."c", Direction::Backward, 1), ["bb"]);
        assert_eq!(keys(store, "x".."z", Direction::Forward, 9), [""; 0]);
        assert_eq!(keys(store, "d".."a", Direction::Forward, 9), [""; 0]);
    });
}

#[test]
fn a_row_that_is_too_long_is_refused_with_its_whole_write() {
    on_each(|store| {
        let long = "x".repeat(MAX_VALUE + 1);
        assert_eq!(store.write(vec![put("a", "1"), put("b", &long)], b""), Err(StoreError::TooLong(MAX_VALUE + 1)));
        assert_eq!(store.get(b"a"), Ok(None));
        store.write(vec![put("b", &long[1..])], b"").unwrap();
    });
}

#[test]
fn many_rows_in_one_write_are_all_there() {
    on_each(|store| {
        let keys: Vec<String> = (0..5000).map(|n| format!("{n:05}")).collect();
        store.write(keys.iter().map(|key| put(key, &"x".repeat(400))).collect(), b"").unwrap();
        assert_eq!(store.scan(Vec::new()..vec![255], Direction::Forward, usize::MAX).unwrap().len(), 5000);
        assert_eq!(store.scan(Vec::new()..vec![255], Direction::Backward, 1).unwrap()[0].0, b"04999");
    });
}
