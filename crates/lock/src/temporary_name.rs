//! Names of temporary files that say which process made them, so that the files of dead processes
//! can be recognised.
//!
//! Invariant: a name counts as that of a dead process only if boot, namespaces, PID and start time
//! all say so. Boot and namespaces are stored as one hash, because they are long.

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::fs;
use cocorun_edge::machine::Machine;
use cocorun_edge::machine::ProcessIdentity;
use cocorun_edge::machine::ProcessState;
use cocorun_edge::publish::Trial;

/// Longest name that file systems accept, bytes.
const NAME_BYTES_MAX: usize = 255;
/// The part between a name's tag and its suffix.
const TEMPORARY: &str = "tmp";
/// Start of the name of a file that probes a strategy.
pub(crate) const PROBE: &str = ".cocorun-probe.";

/// Start of the names used to try whether a rename returns.
const TRIAL: &str = ".cocorun-rename.";

/// Which process made a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnerTag {
    pid: u32,
    start_ticks: u64,
    /// Identifies boot, PID namespace and time namespace; empty if these are not known.
    place: String,
}

impl OwnerTag {
    /// Makes the tag of a process.
    pub(crate) fn of(process: &ProcessIdentity) -> Self {
        // A process that cannot be compared with itself gets no place.
        let place = if process.is_comparable(process) {
            let namespaces = (process.pid_namespace, process.time_namespace);
            let text = format!("{} {namespaces:?}", process.boot_id);
            blake3::hash(text.as_bytes()).to_hex()[..12].to_owned()
        } else {
            String::new()
        };
        Self {
            pid: process.pid,
            start_ticks: process.start_ticks,
            place,
        }
    }

    /// Returns the tag with a random number, for a name.
    fn tag(&self, random: u128) -> String {
        format!(
            "{}-{:x}-{}-{:08x}",
            self.pid,
            self.start_ticks,
            self.place,
            random & 0xffff_ffff
        )
    }

    fn from_tag(tag: &str) -> Option<Self> {
        let parts: Vec<&str> = tag.split('-').collect();
        let [pid, ticks, place, random] = parts[..] else {
            return None;
        };
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_ours = is_hex(place) && is_hex(random) && random.len() == 8;
        is_ours.then_some(())?;
        Some(Self {
            pid: pid.parse().ok()?,
            start_ticks: u64::from_str_radix(ticks, 16).ok()?,
            place: place.to_owned(),
        })
    }

    /// Returns the state of the process.
    pub(crate) fn state_of(&self, host: &dyn Machine) -> ProcessState {
        let me = host.me();
        if self.place.is_empty() || self.place != Self::of(&me).place || self.start_ticks == 0 {
            return ProcessState::Unknown;
        }
        host.state_of(&ProcessIdentity {
            pid: self.pid,
            start_ticks: self.start_ticks,
            ..me
        })
    }
}

/// Makes a name next to the target that nobody else has, that ends like the target's, and that no
/// pattern such as `*.o` matches.
pub fn beside(target: &Utf8Path, host: &dyn Machine) -> Utf8PathBuf {
    let name = target.file_name().unwrap_or("out");
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
        _ => (name, String::new()),
    };
    let tag = OwnerTag::of(&host.me()).tag(host.random());
    let rest = format!(".{tag}.{TEMPORARY}{extension}");
    let mut room = NAME_BYTES_MAX
        .saturating_sub(rest.len() + 1)
        .min(stem.len());
    while !stem.is_char_boundary(room) {
        room -= 1;
    }
    target.with_file_name(format!(".{}{rest}", &stem[..room]))
}

/// Makes the name of a file that probes a strategy in a directory.
pub(crate) fn of_probe(host: &dyn Machine) -> String {
    format!("{PROBE}{}", OwnerTag::of(&host.me()).tag(host.random()))
}

/// Makes the names used to try, next to a target, whether a rename returns; the second one is for
/// all processes of this node until it reboots.
pub fn trial_beside(target: &Utf8Path, host: &dyn Machine) -> Trial {
    let maker = OwnerTag::of(&host.me());
    let name = |end: &str| target.with_file_name(format!("{TRIAL}{end}"));
    Trial {
        dir: name(&maker.tag(host.random())),
        dir_of_second: name(&maker.tag(host.random())),
        marker: name(&maker.place),
        link: beside(target, host),
    }
}

/// Whether a rename was found not to return in the directory of a path, as far as is known since
/// this node booted. Then nothing can be removed from where it was tried.
pub(crate) fn hangs_beside(path: &Utf8Path, host: &dyn Machine) -> bool {
    fs::exists(&trial_beside(path, host).marker)
}

/// Reads from such a name who made the file, and the name of the target that it was to become.
pub(crate) fn read(name: &str) -> Option<(OwnerTag, Option<String>)> {
    let trial = name.strip_prefix(PROBE).or(name.strip_prefix(TRIAL));
    if let Some(tag) = trial {
        return Some((OwnerTag::from_tag(tag)?, None));
    }
    let name = name.strip_prefix('.')?;
    // A target may itself end in `.tmp`, so search for the tag.
    for (at, _) in name.match_indices('.') {
        let (stem, rest) = (&name[..at], &name[at + 1..]);
        let (tag, rest) = rest.split_once('.').unwrap_or((rest, ""));
        let Some(maker) = OwnerTag::from_tag(tag) else {
            continue;
        };
        let extension = rest.strip_prefix(TEMPORARY)?;
        let is_extension = extension.is_empty() || extension.starts_with('.');
        return is_extension.then(|| (maker, Some(format!("{stem}{extension}"))));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    use cocorun_edge::machine::SystemMachine;

    fn name_for(target: &str) -> String {
        let path = beside(Utf8Path::new(target), &SystemMachine);
        path.file_name().expect("it has a name").to_owned()
    }

    #[test]
    fn a_private_name_keeps_the_suffix_and_is_hidden() {
        let path = beside(Utf8Path::new("d/a.b.o"), &SystemMachine);
        assert_eq!(path.parent(), Some(Utf8Path::new("d")));
        let name = path.file_name().expect("it has a name");
        assert!(
            name.starts_with(".a.b.") && name.ends_with(".tmp.o"),
            "{name}"
        );
        assert_ne!(name_for("a.o"), name_for("a.o"));
    }

    #[test]
    fn a_name_tells_its_maker_and_its_target() {
        for target in ["a.o", "lib.so.1", "a", "a.tmp", ".hidden", "a-b.c-d", "ä.o"] {
            let name = name_for(target);
            let (maker, of) = read(&name).expect("it is one");
            assert_eq!(
                maker.state_of(&SystemMachine),
                ProcessState::Running,
                "{name}"
            );
            assert_eq!(of.as_deref(), Some(target), "{name}");
        }
        let (maker, target) = read(&of_probe(&SystemMachine)).expect("it is one");
        assert_eq!(
            (maker.state_of(&SystemMachine), target),
            (ProcessState::Running, None)
        );
        let trial = trial_beside(Utf8Path::new("d/a.o"), &SystemMachine);
        let name = trial.dir.file_name().expect("it has a name");
        assert!(read(name).is_some_and(|(_, target)| target.is_none()));
        let name = trial.marker.file_name().expect("it has a name");
        assert!(read(name).is_none());
    }

    #[test]
    fn the_longest_name_of_a_target_leaves_room_for_ours() {
        let target = format!("{}.o", "ß".repeat(126));
        assert_eq!(target.len(), 254);
        let name = name_for(&target);
        assert!(name.len() <= 255 && name.ends_with(".tmp.o"), "{name}");
        assert!(read(&name).is_some());
    }

    #[test]
    fn nobody_is_dead_whose_place_or_start_is_not_known() {
        let me = SystemMachine.me();
        let gone = ProcessIdentity {
            pid: 0x7fff_fff0,
            ..me.clone()
        };
        assert_eq!(
            OwnerTag::of(&gone).state_of(&SystemMachine),
            ProcessState::Gone
        );
        let reused = ProcessIdentity {
            start_ticks: me.start_ticks + 1,
            ..me
        };
        assert_eq!(
            OwnerTag::of(&reused).state_of(&SystemMachine),
            ProcessState::Gone
        );
        for odd in [
            ProcessIdentity {
                start_ticks: 0,
                ..gone.clone()
            },
            ProcessIdentity {
                boot_id: String::new(),
                ..gone.clone()
            },
            ProcessIdentity {
                boot_id: "other".to_owned(),
                ..gone.clone()
            },
            ProcessIdentity {
                pid_namespace: 1,
                ..gone.clone()
            },
            ProcessIdentity {
                time_namespace: 1,
                ..gone
            },
        ] {
            assert_eq!(
                OwnerTag::of(&odd).state_of(&SystemMachine),
                ProcessState::Unknown,
                "{odd:?}"
            );
        }
    }

    #[test]
    fn other_names_are_nobodys() {
        for name in [
            "a.o",
            ".a.tmp.o",
            ".a.1-2-3.tmp.o",
            ".a.1-2-ab-0000000g.tmp.o",
            ".a.1-2-ab-00000000.part.o",
            ".a.-1-2-ab-00000000.tmp.o",
            "a.1-2-ab-00000000.tmp.o",
            ".cocorun-probe-1",
            "",
            ".",
        ] {
            assert_eq!(read(name), None, "{name}");
        }
    }
}
