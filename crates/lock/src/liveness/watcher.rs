//! One caller's watch over one holder, from look to look.

use crate::error::LockError;
use crate::holder::Holder;
use crate::ledger::Ledger;
use crate::ledger::record::Claim;
use crate::liveness::silence::Look;
use crate::liveness::silence::SilenceTimer;
use crate::options::Options;
use crate::wait::chance;
use crate::wait::jittered;

use cocorun_edge::machine::ProcessState;
use cocorun_edge::storage::Stamp;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// First pause between two looks.
const BACK_OFF_MIN: Duration = Duration::from_millis(250);
/// How long a process that is gone from this machine must stay gone.
const GONE_MIN: Duration = Duration::from_secs(1);
/// How often the holder is asked what it is doing: that costs several requests.
const DOING_EVERY: Duration = Duration::from_secs(15);
/// After this many first signs of life without a description of the work, the holder is asked as
/// rarely as that: the description comes with the first sign or never.
const SILENT_SIGNS_MAX: u32 = 2;
/// Longest random delay before competing for a dead holder's place.
const SPREAD_MAX: Duration = Duration::from_secs(5);

/// The attributes that show a sign of life.
pub(crate) type Sign = ((i64, u32), (i64, u32));

/// What is known about the holder that this caller waits for.
struct Watch {
    epoch: u32,
    claim: Claim,
    lease: Duration,
    observer: SilenceTimer<Sign>,
    last_sign: Option<Sign>,
    doing: Option<String>,
    doing_at: Option<Instant>,
    silent_signs: u32,
    gone_since: Option<Instant>,
    jump_at: Option<Instant>,
}

/// The outcome of a look at the holder of the newest epoch.
pub(crate) enum Liveness {
    /// It may be alive.
    Wait {
        holder: Box<Holder>,
        retry_in: Duration,
    },
    /// It is dead, as far as can be known.
    Dead,
    /// It says itself that it has ended.
    Ended,
    /// Its claim cannot be found.
    NoClaim,
}

/// Watches one holder at a time, with longer and longer pauses.
#[derive(Default)]
pub(crate) struct Watcher {
    watch: Option<Watch>,
    back_off: Duration,
}

impl Watcher {
    /// Returns the epoch that is being watched.
    pub(crate) fn epoch(&self) -> Option<u32> {
        self.watch.as_ref().map(|watch| watch.epoch)
    }

    #[cfg(feature = "locks")]
    /// Returns the token of the claim that is being watched.
    pub(crate) fn token(&self) -> Option<&str> {
        self.watch.as_ref().map(|watch| &*watch.claim.token)
    }

    #[cfg(feature = "locks")]
    /// Returns what the watched holder wrote into its claim; for a lock, what it is for.
    pub(crate) fn purpose(&self) -> Option<String> {
        let watch = self.watch.as_ref()?;
        Some(watch.claim.run_id.clone()).filter(|it| !it.is_empty())
    }

    #[cfg(feature = "locks")]
    /// Whether the watched holder may be dead, although that is not yet established.
    pub(crate) fn is_suspicious(&self) -> bool {
        self.watch
            .as_ref()
            .is_some_and(|watch| watch.gone_since.is_some() || watch.observer.is_suspicious())
    }

    /// Forgets the watched holder.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Looks at the holder of an open epoch.
    pub(crate) fn observe(
        &mut self,
        ledger: &Ledger,
        options: &Options,
        epoch: u32,
    ) -> Result<Liveness, LockError> {
        let mut watch = match self.watch.take() {
            Some(watch) if watch.epoch == epoch => watch,
            _ => {
                let Some(claim) = ledger.claim(epoch)? else {
                    return Ok(Liveness::NoClaim);
                };
                self.back_off = Duration::ZERO;
                let lease = claim.lease.unwrap_or_default().max(options.lease);
                Watch {
                    epoch,
                    claim,
                    lease,
                    observer: SilenceTimer::new(lease),
                    last_sign: None,
                    doing: None,
                    doing_at: None,
                    silent_signs: 0,
                    gone_since: None,
                    jump_at: None,
                }
            }
        };
        let verdict = self.look_at(&mut watch, ledger, options);
        if matches!(verdict, Liveness::Dead) {
            // In a recreated directory, a claim of this name belongs to another process.
            let claim = ledger.claim(epoch)?;
            if let Some(claim) = claim.filter(|claim| claim.token != watch.claim.token) {
                let holder = Box::new(ledger.holder(epoch, &claim, None, None));
                let retry_in = self.pause(options, watch.lease);
                return Ok(Liveness::Wait { holder, retry_in });
            }
        }
        self.watch = Some(watch);
        Ok(verdict)
    }

    fn look_at(&mut self, watch: &mut Watch, ledger: &Ledger, options: &Options) -> Liveness {
        let clock = Arc::clone(&ledger.disk.clock);
        let asked = clock.now();
        let stamp = ledger.stamp_of_claim(watch.epoch);
        let answered = clock.now();
        if stamp.as_ref().is_ok_and(Stamp::is_ended) {
            return Liveness::Ended;
        }
        if stamp
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            return Liveness::NoClaim;
        }
        let sign = stamp
            .as_ref()
            .ok()
            .map(|stamp| (stamp.modified, stamp.changed));
        let is_dead = watch.observer.look(Look {
            asked,
            answered,
            stamp: sign,
        });
        if sign.is_some() && sign != watch.last_sign {
            watch.last_sign = sign;
            watch.jump_at = None;
            let is_due = watch.silent_signs > 0
                || watch
                    .doing_at
                    .is_none_or(|at| asked.saturating_duration_since(at) >= DOING_EVERY);
            if is_due {
                let is_first = watch.doing_at.is_none();
                watch.doing_at = Some(asked);
                watch.doing = ledger.doing(watch.epoch, &watch.claim.token);
                watch.silent_signs = match (&watch.doing, is_first) {
                    (Some(_), _) => 0,
                    (None, true) => SILENT_SIGNS_MAX,
                    (None, false) => watch.silent_signs.saturating_sub(1),
                };
            }
        }
        let mut retry_in = self.pause(options, watch.lease);
        if options.machine.state_of(&watch.claim.process) == ProcessState::Gone {
            let since = *watch.gone_since.get_or_insert(asked);
            if asked.saturating_duration_since(since) >= GONE_MIN {
                return Liveness::Dead;
            }
            retry_in = GONE_MIN + Duration::from_millis(10);
        } else {
            watch.gone_since = None;
        }
        if is_dead {
            // All watchers reach this at about the same time.
            let spread = SPREAD_MAX
                .min(watch.lease / 6)
                .mul_f64(chance(&*options.machine));
            let jump_at = *watch.jump_at.get_or_insert(asked + spread);
            if asked >= jump_at {
                return Liveness::Dead;
            }
            retry_in = jump_at.saturating_duration_since(asked);
        }
        let modified = stamp.ok().map(|stamp| stamp.modified_at());
        let doing = watch.doing.clone();
        let holder = Box::new(ledger.holder(watch.epoch, &watch.claim, modified, doing));
        Liveness::Wait { holder, retry_in }
    }

    /// Returns how long to pause before the next look, longer each time.
    pub(crate) fn pause(&mut self, options: &Options, lease: Duration) -> Duration {
        // Fewer than six looks per lease would never give a verdict.
        let cap = options.poll_max.min(lease / 6);
        let pause = self.back_off.max(BACK_OFF_MIN).min(cap);
        self.back_off = (pause * 3 / 2).min(cap);
        jittered(pause, &*options.machine)
    }
}
