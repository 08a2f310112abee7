//! The micro guest's start: the first serial byte, then the one READY line of our own init.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use super::serial::SerialWatch;
use super::{Booted, Cause, Failed, Seeing, Seen, Stage, Watch, interrupted, step};
use crate::qemu::monitor::Monitor;
use crate::qemu::process::{Channels, Qemu};
use crate::ready::{Heard, ReadyChannel};
use crate::state::{Phase, PhasesMs};
use crate::wait::readable;

/// Sees a micro guest through its start.
///
/// # Errors
/// [`Failed`], after which the caller drops `qemu` and with it the process.
pub fn see_through(
    qemu: &mut Qemu,
    channels: Channels,
    watch: &Watch<'_>,
    seen: &mut Seen<'_>,
) -> Result<Booted, Failed> {
    let serial =
        SerialWatch::new(watch.serial_log).map_err(|e| step(Stage::Starting, "watch the serial log", e))?;
    let mut monitor = Monitor::new(channels.monitor).map_err(|e| step(Stage::Starting, "monitor", e))?;
    let mut seeing = Seeing { qemu, watch, phases: PhasesMs::default(), seen };
    let version = seeing.greet(&mut monitor)?;
    let threads = seeing.go(&mut monitor)?;
    let ready = seeing.listen(ReadyChannel::new(channels.ready), serial)?;
    seeing.place_others(&threads)?;
    Ok(Booted { version, threads, phases: seeing.phases, ready })
}

impl Seeing<'_, '_> {
    /// The guest's part: the first serial byte, then READY.
    fn listen(&mut self, mut channel: ReadyChannel, serial: SerialWatch) -> Result<String, Failed> {
        let watch = self.watch;
        let mut serial = Some(serial);
        let last = self.qemu.started + watch.ready_within;
        let first_byte_by = Instant::now() + watch.first_byte_within;
        loop {
            let (stage, deadline) = match serial {
                Some(_) => (Stage::Silent, last.min(first_byte_by)),
                None => (Stage::Booting, last),
            };
            // Once the first byte came there is nothing more to learn from the log: listen to READY in its place.
            let log = serial.as_ref().map_or(channel.as_fd(), AsFd::as_fd);
            let ready =
                readable([watch.interrupts.as_fd(), channel.as_fd(), log, self.qemu.as_fd()], Some(deadline));
            let [stop, heard, logged, ended] = ready.map_err(|e| step(stage, "poll", e))?;
            if stop {
                interrupted(stage, watch.interrupts)?;
            }
            if logged && serial.as_mut().is_some_and(|serial| !serial.look().is_empty()) {
                serial = None;
                self.reached(Phase::FirstSerialByte);
            }
            if heard {
                match channel.look().map_err(|e| step(stage, "READY channel", e))? {
                    Heard::Nothing => {}
                    Heard::Line(line) => {
                        let ready = judge(line).map_err(|why| Failed { stage, cause: Cause::Guest(why) })?;
                        self.reached(Phase::Ready);
                        return Ok(ready);
                    }
                    Heard::Closed => {
                        let closed = Cause::Step("READY channel", io::ErrorKind::UnexpectedEof.into());
                        return Err(self.ended_or(stage, closed));
                    }
                }
            } else if ended {
                return Err(self.end(stage));
            }
            if ![stop, heard, logged, ended].contains(&true) {
                let waited = if deadline == last { watch.ready_within } else { watch.first_byte_within };
                return Err(Failed { stage, cause: Cause::Late(waited) });
            }
        }
    }
}

/// The guest's line is READY, or says why not.
fn judge(line: String) -> Result<String, String> {
    if line == "READY" || line.starts_with("READY ") {
        return Ok(line);
    }
    Err(line.strip_prefix("FAILED ").map_or_else(|| format!("unexpected words: {line}"), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_line_is_ready_or_a_reason() {
        let ready = "READY version=0.1.0 device=0000:00:02.0".to_owned();
        assert_eq!(judge(ready.clone()), Ok(ready));
        assert_eq!(judge("FAILED no device 1af4:1110".into()), Err("no device 1af4:1110".to_owned()));
        assert_eq!(judge("READYX".into()), Err("unexpected words: READYX".to_owned()));
    }
}
