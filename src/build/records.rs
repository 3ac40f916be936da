//! The records of what was published under a key, for explanations.

use crate::edge::fs;

use camino::Utf8Path;
use serde::de::DeserializeOwned;

/// Reads the records below one key's directory; unfinished attempts have none.
pub(super) fn records_under<Record: DeserializeOwned>(dir: &Utf8Path) -> Vec<Record> {
    let attempts = dir.join("attempts");
    let names = fs::list(&attempts).unwrap_or_default();
    names
        .iter()
        .filter_map(|name| fs::read_if_there(&attempts.join(name).join("record.json")))
        .filter_map(|text| serde_json::from_str(&text).ok())
        .collect()
}
