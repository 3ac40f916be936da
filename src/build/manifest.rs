//! The record published with a build: what it was made from, and its output files.
//!
//! Invariant: a manifest is written once, by the process that compiled, before the build is
//! published; it lists every file that the compiler reports to have read, with its digest.

use crate::build::fingerprint::Part;
use crate::build::fingerprint::digest_file;
use crate::build::shadowed_includes;
use crate::edge::fs;
use crate::model::build::BuildName;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use rayon::prelude::*;
use serde::Deserialize;
use serde::Serialize;

/// A file that the compiler has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Relative to the project if it is below it, else absolute.
    pub path: Utf8PathBuf,
    /// Digest of its content when it was compiled.
    pub digest: String,
}

/// A file that a run needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Relative to the build's directory.
    pub path: Utf8PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Digest of its content.
    pub digest: String,
}

/// What is known about a published build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The name it was compiled under; other names may share it.
    pub name: BuildName,
    /// The fingerprint's parts.
    pub parts: Vec<Part>,
    /// Discovered and declared inputs.
    pub inputs: Vec<Input>,
    /// Paths that did not exist and would have been read instead of an input; as in `inputs`.
    #[serde(default)]
    pub absent: Vec<Utf8PathBuf>,
    /// Outputs; the first is the artifact.
    pub outputs: Vec<Output>,
    /// When it was published, RFC 3339.
    pub made_at: String,
}

/// Whether a published build may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It may be used.
    Fit,
    /// It is complete, but was compiled from other contents: one line per difference.
    OtherInputs(Vec<String>),
    /// An output is missing or damaged.
    Damaged(String),
}

impl Manifest {
    /// Compares the manifest with the disk: every input's content, every output's size.
    ///
    /// Outputs are not read again: they are in a directory that is never written after publishing,
    /// and a compiled design may be a hundred megabytes on a file server.
    pub fn judge(&self, project_dir: &Utf8Path, build_dir: &Utf8Path) -> Judgement {
        for output in &self.outputs {
            let path = build_dir.join(&output.path);
            match fs::stamp(&path) {
                Ok(Some(stamp)) if stamp.size == output.size => {}
                Ok(Some(stamp)) => {
                    return Judgement::Damaged(format!(
                        "`{}` has {} bytes instead of {}",
                        output.path, stamp.size, output.size
                    ));
                }
                _ => return Judgement::Damaged(format!("`{}` is missing", output.path)),
            }
        }
        let mut changed: Vec<String> = self
            .inputs
            .par_iter()
            .filter_map(|input| {
                let path = project_dir.join(&input.path);
                match digest_file(&path) {
                    Ok(digest) if digest == input.digest => None,
                    Ok(_) => Some(format!("content of `{}` changed", input.path)),
                    Err(_) => Some(format!("`{}` is gone", input.path)),
                }
            })
            .collect();
        let new = shadowed_includes::appeared(project_dir, &self.absent);
        changed.extend(new.iter().map(|path| {
            format!("`{path}` is new, on the search path before a file that was read")
        }));
        if changed.is_empty() {
            Judgement::Fit
        } else {
            Judgement::OtherInputs(changed)
        }
    }
}
