//! What goes wrong, when, how often: the faults of one mount.
//!
//! Invariant: a request meets at most one fault before and one after it is carried out, and each
//! fault strikes at most as often as configured.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

/// A request of the kernel to the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Lookup,
    Getattr,
    Setattr,
    Readlink,
    Mkdir,
    Unlink,
    Rmdir,
    Symlink,
    Rename,
    Link,
    Open,
    Create,
    Read,
    Write,
    Fsync,
    Readdir,
}

/// Whether a fault strikes instead of the operation or after it was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    After,
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Answers with this error number.
    Fail(i32),
    /// Answers late.
    Delay(Duration),
    /// Never answers, or only when [`Weather::thaw`] is called.
    Hang,
}

/// One thing that goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) op: Op,
    /// Strikes where the path ends like this; an empty one means everywhere.
    pub(crate) suffix: &'static str,
    pub(crate) moment: Moment,
    pub(crate) effect: Effect,
    /// Lets this many matching requests pass first.
    pub(crate) skip: u32,
    /// Then strikes this many times.
    pub(crate) times: u32,
}

impl Fault {
    /// Makes a fault that always strikes.
    pub(crate) fn always(op: Op, suffix: &'static str, moment: Moment, effect: Effect) -> Self {
        Self {
            op,
            suffix,
            moment,
            effect,
            skip: 0,
            times: u32::MAX,
        }
    }
}

type Answer = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    faults: Vec<Fault>,
    /// Requests that this client may still make before its node dies.
    life: Option<u64>,
    seen: BTreeMap<Op, u64>,
    struck: u64,
    hanging: Vec<Answer>,
}

/// The faults of one mount, and what they met.
#[derive(Default)]
pub(crate) struct Weather(Mutex<State>);

impl Weather {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces all faults.
    pub(crate) fn set(&self, faults: Vec<Fault>) {
        self.state().faults = faults;
    }

    /// Lets the node of this client die after this many more requests: none of its requests is
    /// carried out from then on.
    pub(crate) fn die_after(&self, requests: u64) {
        self.state().life = Some(requests);
    }

    /// Whether the node has died.
    pub(crate) fn is_dead(&self) -> bool {
        self.state().life == Some(0)
    }

    /// Ends all faults and answers hanging requests with `EIO`.
    pub(crate) fn clear_up(&self) {
        let hanging = {
            let mut state = self.state();
            state.faults.clear();
            state.life = None;
            std::mem::take(&mut state.hanging)
        };
        for answer in hanging {
            answer();
        }
    }

    /// Answers hanging requests with `EIO`.
    pub(crate) fn thaw(&self) {
        let hanging = std::mem::take(&mut self.state().hanging);
        for answer in hanging {
            answer();
        }
    }

    /// Returns how many requests hang.
    pub(crate) fn hanging(&self) -> usize {
        self.state().hanging.len()
    }

    /// Returns how many requests of a kind were made.
    pub(crate) fn seen(&self, op: Op) -> u64 {
        self.state().seen.get(&op).copied().unwrap_or(0)
    }

    /// Returns how often a fault struck.
    pub(crate) fn struck(&self) -> u64 {
        self.state().struck
    }

    /// Keeps the answer of a request that hangs.
    pub(crate) fn hang(&self, answer: Answer) {
        self.state().hanging.push(answer);
    }

    /// Returns the faults that a request meets.
    pub(crate) fn meet(&self, op: Op, path: &Path, moment: Moment) -> Option<Effect> {
        let mut state = self.state();
        if moment == Moment::Before {
            *state.seen.entry(op).or_default() += 1;
            match &mut state.life {
                Some(0) => return Some(Effect::Fail(libc::EBADF)),
                Some(left) => *left -= 1,
                None => {}
            }
        } else if state.life == Some(0) {
            return Some(Effect::Fail(libc::EBADF));
        }
        let name = path.to_string_lossy();
        let fitting = state.faults.iter_mut().find_map(|fault| {
            let fits = fault.op == op && fault.moment == moment && name.ends_with(fault.suffix);
            if !fits || fault.times == 0 {
                return None;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                return None;
            }
            fault.times = fault
                .times
                .saturating_sub(u32::from(fault.times != u32::MAX));
            Some(fault.effect)
        });
        state.struck += u64::from(fitting.is_some());
        fitting
    }
}
