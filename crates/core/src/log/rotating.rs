//! Rotation on demand, and by the host's own renaming code.

use std::time::Duration;

use super::{LEASE_WAIT, Log, RotateOutcome};
use crate::error::{Error, ErrorKind};

impl Log {
    /// Rotates now, after all that was published before, waiting at most `wait` for the lease.
    ///
    /// # Errors
    /// The lease was not free in time, or the directory refuses the renames.
    pub fn rotate(&self, wait: Duration) -> Result<RotateOutcome, Error> {
        let _inside = self.enter_to("rotate")?;
        let done = self
            .domain
            .with_lease(wait, |drain| drain.rotate_on_demand(self.file));
        match done {
            Some(Ok(outcome)) => Ok(outcome),
            Some(Err(errno)) => Err(Error::io(
                "rotate",
                &self.path,
                &std::io::Error::from_raw_os_error(errno),
            )),
            None => Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "failed to rotate `{}`: the drain lease was not free for {} ms ({}); try again, or see `logboom doctor`",
                    self.path.display(),
                    wait.as_millis(),
                    crate::status::describe_holder(&self.domain)
                ),
            )),
        }
    }

    /// Drains, and keeps everybody from writing the file until [`Log::end_hook_rotation`] or this process's death:
    /// the host may now rename it with its own code. `on_demand`: whether or not a rotation is due. False: another process
    /// does so already, or has done what was due.
    ///
    /// # Errors
    /// The lease was not free within `wait`.
    pub fn begin_hook_rotation(&self, wait: Duration, on_demand: bool) -> Result<bool, Error> {
        let _inside = self.enter_to("rotate")?;
        if self.domain.local().place(&self.domain.state).is_none() {
            return Ok(false);
        }
        let begun = self.domain.with_lease(wait, |drain| {
            drain.begin_host_rotation(self.file, on_demand)
        });
        begun.ok_or_else(|| {
            Error::new(
                ErrorKind::Busy,
                format!(
                    "failed to rotate `{}`: the drain lease was not free in time; try again",
                    self.path.display()
                ),
            )
        })
    }

    /// The host's code is done: the file at the path is the log again. `rotated`: it did rename it.
    /// True: what was waiting has made another rotation due, and nobody else may come by to find that out.
    pub fn end_hook_rotation(&self, rotated: bool) -> bool {
        for _ in 0..50 {
            let ended = self.domain.with_lease(LEASE_WAIT, |drain| {
                drain.end_host_rotation(self.file, rotated)
            });
            if ended.is_some() {
                return self.is_rotation_due(self.domain.local());
            }
        }
        false
    }
}
