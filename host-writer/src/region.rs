//! The region of a run: made when absent, owned by one host-writer, gone again if it was made in vain.

use std::cell::Cell;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use ivshmem_proto::lane::Lane;
use ivshmem_proto::layout::REGION_BYTES_DEFAULT;
use ivshmem_proto::mapping::{ControlPage, MapError, Mapping};
use ivshmem_proto::peers::Peers;
use ivshmem_proto::region_file::{Ensured, ensure};

use crate::config::{Config, Unmet};

/// The mapped region; a file that this run created and no guest ever used is removed again.
#[derive(Debug)]
pub struct Region<'a> {
    /// The mapping.
    pub map: Mapping,
    created: Cell<Option<&'a Path>>,
}

impl<'a> Region<'a> {
    /// Maps the region that `config` names, created when absent, with every page present.
    ///
    /// # Errors
    /// It cannot be created or mapped, or another host-writer has it.
    pub fn open(config: &'a Config) -> anyhow::Result<Self> {
        let created = !config.shm.exists() && ensure(&config.shm, REGION_BYTES_DEFAULT)? == Ensured::Created;
        Self::of(Mapping::open(&config.shm)?, config.lane, created.then_some(&*config.shm))
    }

    /// Maps a lane of the region of a server.
    ///
    /// # Errors
    /// It cannot be mapped, is too small, or another host-writer has it.
    pub fn of_server(peers: &Peers, lane: Lane) -> anyhow::Result<Self> {
        Self::of(peers.map().context("map the server's region")?, lane, None)
    }

    fn of(map: Mapping, lane: Lane, created: Option<&'a Path>) -> anyhow::Result<Self> {
        let map = map.lane(lane).map_err(|error| match error {
            MapError::Lane { path, error } => Unmet(anyhow!("{}: {error}", path.display())).into(),
            error => anyhow!(error),
        })?;
        map.own(ControlPage::Host).map_err(|error| match error {
            MapError::Owned { path, .. } => anyhow!(
                "{} is in use by another host-writer; wait for it or use another region",
                path.display()
            ),
            error => error.into(),
        })?;
        map.prefault();
        Ok(Self { map, created: Cell::new(created) })
    }

    /// A guest has used it: it stays.
    pub fn keep(&self) {
        self.created.set(None);
    }
}

impl Drop for Region<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.created.get() {
            let _ = std::fs::remove_file(path);
        }
    }
}
