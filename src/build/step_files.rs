//! The files in a step's directory: which there are, and which of them a build means.

use crate::config::suggest::closest;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::fs;
use crate::edge::fs::EntryKind;
use crate::model::build::Build;
use crate::model::build::HdlValue;
use crate::model::build::Source;
use crate::model::step;
use crate::model::step::StepResult;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use globset::GlobBuilder;
use std::collections::BTreeMap;

/// How many files are named if the wanted one is not there.
const SHOWN_MAX: usize = 8;

/// Lists every file below a directory, relative to it and sorted.
///
/// # Errors
/// There is something else than files and folders, or a name that is not UTF-8: what a link leads
/// to could change unseen.
pub(super) fn entries(dir: &Utf8Path) -> std::result::Result<Vec<Utf8PathBuf>, Box<Diagnostic>> {
    let mut files = Vec::new();
    let mut folders = vec![Utf8PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let listing = fs::entries(&dir.join(&folder)).map_err(Diagnostic::from)?;
        for entry in listing {
            let path = folder.join(&entry.name);
            match entry.kind {
                _ if !entry.is_utf8 => return Err(strange(&path, "a name that is not UTF-8")),
                EntryKind::File => files.push(path),
                EntryKind::Dir => folders.push(path),
                EntryKind::Link => return Err(strange(&path, "a link")),
                EntryKind::Other => return Err(strange(&path, "neither a file nor a folder")),
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn strange(path: &Utf8Path, what: &str) -> Box<Diagnostic> {
    let message = format!("`{path}`, which a step wrote, is {what}");
    let problem = Diagnostic::error(Code::StepOutput, message);
    problem
        .help("write only regular files below `{OUT}`, and anything else outside of it")
        .into()
}

/// Returns the problem with an output that is not among the files that were written.
pub(super) fn missing_output(
    step: &str,
    output: &str,
    written: &[Utf8PathBuf],
) -> Option<Diagnostic> {
    if !matching(output, written.iter()).is_empty() {
        return None;
    }
    let problem = Diagnostic::error(Code::StepOutput, format!("{step} did not write `{output}`"));
    Some(with_written(problem, output, written.iter()))
}

/// Adds which files there are instead of the wanted one.
fn with_written<'a>(
    problem: Diagnostic,
    wanted: &str,
    written: impl Iterator<Item = &'a Utf8PathBuf> + Clone,
) -> Diagnostic {
    let names: Vec<String> = written
        .clone()
        .take(SHOWN_MAX)
        .map(|it| format!("`{it}`"))
        .collect();
    let more = if written.clone().count() > SHOWN_MAX {
        ", …"
    } else {
        ""
    };
    let problem = match names.as_slice() {
        [] => problem.fact("it wrote no file"),
        names => problem.fact(format!("it wrote {}{more}", names.join(", "))),
    };
    match closest(wanted, written.map(|path| path.as_str())) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem,
    }
}

/// Returns the files that a name or a pattern means; a file of exactly that name comes first.
fn matching<'a>(
    wanted: &str,
    files: impl Iterator<Item = &'a Utf8PathBuf> + Clone,
) -> Vec<&'a Utf8PathBuf> {
    if let Some(exact) = files.clone().find(|path| *path == wanted) {
        return vec![exact];
    }
    let glob = GlobBuilder::new(wanted).literal_separator(true).build();
    let Ok(matcher) = glob.map(|glob| glob.compile_matcher()) else {
        return Vec::new();
    };
    files.filter(|path| matcher.is_match(path)).collect()
}

/// Says whether a step has not written a file that a build needs.
pub(super) fn lacks(build: &Build, step: &str, result: &StepResult) -> bool {
    let sources = build.sources.iter().map(|source| &source.path);
    let mut needed = sources.chain(&build.run_files).filter_map(|path| {
        let (name, path) = step::split_marker(path.as_str())?;
        (name == step).then(|| path.trim_start_matches('/'))
    });
    let written = result.files.iter().map(|file| &file.path);
    needed.any(|wanted| matching(wanted, written.clone()).is_empty())
}

/// Returns a build with the real places of what its steps have written.
///
/// # Errors
/// A step has not written a file that is a source.
pub(super) fn with_results(build: &Build, results: BTreeMap<String, StepResult>) -> Result<Build> {
    if results.is_empty() {
        return Ok(build.clone());
    }
    let real = |text: &str| {
        step::replace_markers(text, |name| match results.get(name) {
            Some(result) => result.dir.to_string(),
            None => step::shown(&step::marker(name)),
        })
    };
    let real_path = |path: &Utf8PathBuf| Utf8PathBuf::from(real(path.as_str()));
    let mut sources: Vec<Source> = Vec::new();
    for source in build.sources.iter() {
        for path in files_of(build, "source", &source.path, &results)? {
            if sources.iter().all(|known| known.path != path) {
                sources.push(Source {
                    path,
                    ..source.clone()
                });
            }
        }
    }
    for path in &build.run_files {
        files_of(build, "file for runs", path, &results)?;
    }
    let value = |value: &HdlValue| match value {
        HdlValue::Text(text) => HdlValue::Text(real(text)),
        HdlValue::Sv(text) => HdlValue::Sv(real(text)),
        other => other.clone(),
    };
    let values = |values: &BTreeMap<String, HdlValue>| {
        let values = values.iter();
        values.map(|(name, it)| (name.clone(), value(it))).collect()
    };
    let env = build.build_env.iter();
    Ok(Build {
        sources: sources.into(),
        includes: build.includes.iter().map(real_path).collect(),
        defines: values(&build.defines),
        parameters: values(&build.parameters),
        build_args: build.build_args.iter().map(|arg| real(arg)).collect(),
        build_env: env.map(|(name, it)| (name.clone(), real(it))).collect(),
        step_results: results,
        ..build.clone()
    })
}

/// Returns the files that a source means, absolute.
fn files_of(
    build: &Build,
    what: &str,
    source: &Utf8Path,
    results: &BTreeMap<String, StepResult>,
) -> Result<Vec<Utf8PathBuf>> {
    let marked = step::split_marker(source.as_str());
    let found = marked.and_then(|(name, path)| Some((name, path, results.get(name)?)));
    let Some((name, path, result)) = found else {
        return Ok(vec![source.to_owned()]);
    };
    let wanted = path.trim_start_matches('/');
    let written = result.files.iter().map(|file| &file.path);
    let files = matching(wanted, written.clone());
    if files.is_empty() {
        let message = format!(
            "build `{}` has the {what} `{}`, which step `{name}` does not write",
            build.name,
            step::shown(source.as_str())
        );
        let problem = Diagnostic::error(Code::StepOutput, message);
        return Err(with_written(problem, wanted, written).into());
    }
    Ok(files.into_iter().map(|it| result.dir.join(it)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::step::StepFile;

    fn result(dir: &str, files: &[&str]) -> StepResult {
        let file = |path: &&str| StepFile {
            path: Utf8PathBuf::from(path),
            size: 1,
            digest: format!("digest of {path}"),
        };
        StepResult {
            is_reused: false,
            dir: Utf8PathBuf::from(dir),
            files: files.iter().map(file).collect(),
        }
    }

    #[test]
    fn patterns_and_names_below_a_step_become_the_files_that_it_has_written() {
        let mut build = Build::plain("/p", &["hdl/top.sv"]);
        let regs = step::marker("regs");
        let sources = ["/pkg.sv", "/*.sv", "/rtl/[a].sv"];
        let sources = sources.map(|name| Source::new(format!("{regs}{name}").into()));
        build.sources = sources
            .iter()
            .chain(build.sources.iter())
            .cloned()
            .collect();
        build.includes = vec![Utf8PathBuf::from(&regs)].into();
        build.build_args = vec![format!("-y{regs}/lib")];
        let rom = HdlValue::Text(format!("\"{regs}/rom.hex\""));
        build.defines = BTreeMap::from([("ROM".to_owned(), rom)]);
        let written = ["a.sv", "pkg.sv", "rom.hex", "rtl/[a].sv", "rtl/b.sv"];
        let results = BTreeMap::from([("regs".to_owned(), result("/b/out", &written))]);
        let build = with_results(&build, results).expect("all there");
        let paths: Vec<&str> = build.sources.iter().map(|it| it.path.as_str()).collect();
        let expected = [
            "/b/out/pkg.sv",
            "/b/out/a.sv",
            "/b/out/rtl/[a].sv",
            "/p/hdl/top.sv",
        ];
        assert_eq!(paths, expected, "each once, at its first place");
        assert_eq!(build.includes[0], "/b/out");
        assert_eq!(build.build_args, ["-y/b/out/lib"]);
        let rom = HdlValue::Text("\"/b/out/rom.hex\"".to_owned());
        assert_eq!(build.defines["ROM"], rom);
        let inside = build.step_of(Utf8Path::new("/b/out/rtl/b.sv"));
        assert_eq!(inside, Some(("regs", Utf8Path::new("rtl/b.sv"))));
    }

    #[test]
    fn a_file_that_a_step_did_not_write_is_named_with_those_that_it_wrote() {
        let mut build = Build::plain("/p", &[]);
        let source = format!("{}/reg.sv", step::marker("regs"));
        build.sources = [Source::new(source.into())].into_iter().collect();
        let results = BTreeMap::from([("regs".to_owned(), result("/b/out", &["regs.sv"]))]);
        let problem = with_results(&build, results)
            .expect_err("missing")
            .0
            .remove(0);
        assert_eq!(problem.code, Code::StepOutput);
        assert_eq!(
            problem.message,
            "build `top` has the source `{OUT:regs}/reg.sv`, which step `regs` does not write"
        );
        assert_eq!(problem.facts, ["it wrote `regs.sv`"]);
        assert_eq!(problem.help.as_deref(), Some("did you mean `regs.sv`?"));
        let nothing = missing_output("step `x`", "*.sv", &[]).expect("nothing there");
        assert_eq!(nothing.facts, ["it wrote no file"]);
        assert_eq!(missing_output("step `x`", "*.sv", &["a.sv".into()]), None);
    }

    #[test]
    fn links_are_refused_since_what_they_lead_to_may_change() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let dir = Utf8Path::from_path(dir.path()).expect("UTF-8");
        fs::create_dirs(&dir.join("rtl")).expect("local");
        fs::write(&dir.join("rtl/b.sv"), "").expect("local");
        fs::write(&dir.join("a.sv"), "x").expect("local");
        assert_eq!(entries(dir), Ok(vec!["a.sv".into(), "rtl/b.sv".into()]));
        fs::link(&dir.join("a.sv"), &dir.join("rtl/c.sv")).expect("local");
        let problem = entries(dir).expect_err("a link");
        assert_eq!(problem.message, "`rtl/c.sv`, which a step wrote, is a link");
    }
}
