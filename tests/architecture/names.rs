//! One type name means one thing in the whole workspace.

use std::collections::BTreeMap;

use super::tree::SharedType;

/// Returns the names that several types have, each with the places of all of them.
pub(crate) fn ambiguous_names(types: &[SharedType]) -> BTreeMap<&str, Vec<&str>> {
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for shared in types {
        places.entry(&shared.name).or_default().push(&shared.place);
    }
    places.retain(|_, places| places.len() > 1);
    places
}
