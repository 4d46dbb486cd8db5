//! The kept stores of earlier schemas (`tests/data/stores`): whatever an earlier shipmate wrote can be read for ever.

mod maker;
mod told;

use std::path::{Path, PathBuf};

/// The file with what the store's own version told of it.
const TOLD: &str = "told.txt";

fn folder_of(schema: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/stores/schema-{schema}"))
}
