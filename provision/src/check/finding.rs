//! One line of what `check` tells: what was looked at, how it stands, what was seen, and what to do about it.

use serde::Serialize;

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// The main job runs, with less: slower, noisier, or without the Debian guest.
    Degraded,
    /// The main job cannot run without it.
    Missing,
}

impl State {
    /// Its name, as shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }
}

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it belongs to, such as `QEMU`.
    pub area: &'static str,
    /// The thing, such as `ivshmem`.
    pub name: &'static str,
    /// How it stands.
    pub state: State,
    /// What was seen.
    pub seen: String,
    /// What to do. Always there unless all is well, and sometimes advice even then.
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(area: &'static str, name: &'static str, seen: impl Into<String>) -> Self {
        Self { area, name, state: State::Ok, seen: seen.into(), remedy: None }
    }

    /// It works with less.
    pub fn degraded(
        area: &'static str,
        name: &'static str,
        seen: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { area, name, state: State::Degraded, seen: seen.into(), remedy: Some(remedy.into()) }
    }

    /// The main job cannot run.
    pub fn missing(
        area: &'static str,
        name: &'static str,
        seen: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { state: State::Missing, ..Self::degraded(area, name, seen, remedy) }
    }

    /// The same with advice.
    #[must_use]
    pub fn advising(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}
