//! Removes what only the compile itself needed: object files, and precompiled headers of some 90 MB.
//!
//! Invariant: nothing outside the attempt's directory is touched: links are not followed.

use crate::edge::fs;
use crate::edge::fs::EntryKind;
use crate::sim::simulator::Simulator;

use camino::Utf8Path;

/// Removes the intermediate files of an attempt that has ended, as far as that is possible; outputs
/// are kept whatever they are called.
pub(super) fn remove(simulator: &dyn Simulator, dir: &Utf8Path, outputs: &[impl AsRef<Utf8Path>]) {
    let Ok(entries) = fs::entries(dir) else {
        return;
    };
    for entry in entries.iter().filter(|entry| entry.is_utf8) {
        let path = dir.join(&entry.name);
        match entry.kind {
            EntryKind::Dir => remove(simulator, &path, outputs),
            EntryKind::File if simulator.is_intermediate(&path) => {
                if !outputs.iter().any(|output| path.ends_with(output.as_ref())) {
                    fs::remove(&path);
                }
            }
            EntryKind::File | EntryKind::Link | EntryKind::Other => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sim::verilator::Verilator;

    #[test]
    fn objects_and_precompiled_headers_go_and_programs_sources_and_foreign_files_stay() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(root.path()).expect("UTF-8");
        let dir = root.join("attempt");
        let elsewhere = root.join("elsewhere");
        fs::create_dirs(&dir.join("cpp/Vblock")).expect("made");
        fs::create_dirs(&elsewhere).expect("made");
        let gone = ["a.o", "a.a", "Vtop__pch.h.fast.gch", "Vblock/b.h.slow.gch"];
        let stays = ["sim", "Vtop.cpp", "Vtop__pch.h", "a.so", "a.gcno", "kept.o"];
        for name in gone.iter().chain(&stays) {
            fs::write(&dir.join("cpp").join(name), "").expect("written");
        }
        fs::write(&elsewhere.join("user.o"), "").expect("written");
        fs::link(&elsewhere, &dir.join("cpp/linked")).expect("linked");
        remove(&Verilator, &dir, &["cpp/sim", "cpp/kept.o"]);
        let is_there = |name: &&str| fs::exists(&dir.join("cpp").join(name));
        assert!(!gone.iter().any(is_there));
        assert!(stays.iter().all(is_there));
        assert!(fs::exists(&elsewhere.join("user.o")));
    }
}
