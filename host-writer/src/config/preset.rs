//! What a preset stands for.

use std::time::Duration;

use ivshmem_proto::frame::FrameFormat;
use ivshmem_proto::wire::Digest;

use crate::cli::{Args, FrameList, ModeName, Preset};

/// Options given beside a preset change it, or stay where it says nothing. Returns its name and what of it was changed.
pub(super) fn apply(preset: Preset, args: &mut Args) -> String {
    match preset {
        Preset::Stream4k60 => {
            args.latency.messages = args.latency.messages.or(Some(0));
            let bandwidth = &mut args.bandwidth;
            bandwidth.mode = ModeName::Stream;
            let changes = [
                ("--fps", bandwidth.fps.is_some_and(|fps| fps != 60.0)),
                ("--duration", bandwidth.duration.is_some_and(|length| length != Duration::from_secs(10))),
                ("--frames", bandwidth.frames.is_some()),
                ("--sizes", bandwidth.sizes.is_some()),
                ("--sweep", bandwidth.sweep),
                ("--verify", bandwidth.verify.is_some_and(|digest| digest != Digest::None)),
            ];
            let others = bandwidth.frames.is_some() || bandwidth.sizes.is_some() || bandwidth.sweep;
            if !others {
                bandwidth.frames = Some(FrameList(vec![FrameFormat::Uhd4k]));
            }
            bandwidth.fps = bandwidth.fps.or(Some(60.0));
            bandwidth.duration = bandwidth.duration.or(Some(Duration::from_secs(10)));
            bandwidth.verify = bandwidth.verify.or(Some(Digest::None));
            let changed: Vec<_> = changes.iter().filter(|(_, is)| *is).map(|&(flag, _)| flag).collect();
            match changed[..] {
                [] => "4k60".to_owned(),
                _ => format!("4k60 changed by {}", changed.join(", ")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ivshmem_proto::wire::Digest;

    use crate::config::tests::config;
    use crate::config::{Extent, Mode};

    #[test]
    fn the_preset_is_4k_at_60_for_ten_seconds_without_hashing() {
        let config = config(&["--preset", "4k60"]).unwrap();
        let plan = config.bandwidth.unwrap();
        assert_eq!(config.latency, None);
        assert_eq!(plan.mode, Mode::Stream { slots: None, fps: Some(60.0) });
        assert_eq!((plan.extent, plan.digest), (Extent::Time(Duration::from_secs(10)), Digest::None));
        assert_eq!(config.preset.unwrap(), "4k60");
    }

    #[test]
    fn a_preset_that_was_changed_says_by_what() {
        let args = ["--preset", "4k60", "--fps", "30", "--frames", "1080p", "--verify", "xxh3"];
        let config = config(&args).unwrap();
        assert_eq!(config.preset.unwrap(), "4k60 changed by --fps, --frames, --verify");
        let plan = config.bandwidth.unwrap();
        assert_eq!((plan.mode, plan.digest), (Mode::Stream { slots: None, fps: Some(30.0) }, Digest::Xxh3));
    }
}
