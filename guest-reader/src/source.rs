//! What to map, and how to ring and be rung: by the command line and by what there is.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use ivshmem_proto::doorbell::{GuestWait, Ring};
use ivshmem_proto::event::Event;
use ivshmem_proto::layout::REGION_BYTES_DEFAULT;
use ivshmem_proto::mapping::{MapError, Mapping, Registers};
use ivshmem_proto::peers::Peers;
use ivshmem_proto::region_file::{Ensured, ensure};
use ivshmem_proto::wire::{MapKind, WaitSource};
use nix::errno::Errno;

use crate::binding::{self, Driver};
use crate::cli::{Args, MapChoice};
use crate::device::{Device, IVSHMEM_UIO, PCI_DEVICES};
use crate::doorbell::Bell;
use crate::run::Usage;
use crate::{uio, vfio};

/// How long a server may take to say what it has.
const SERVER_PATIENCE: Duration = Duration::from_secs(5);

/// The region, and what belongs to it.
#[derive(Debug)]
pub struct Source {
    /// The region.
    pub map: Mapping,
    /// How it is mapped.
    pub kind: MapKind,
    /// The PCI device, in a guest.
    pub device: Option<Device>,
    /// How this side waits.
    pub wait: GuestWait,
    /// Where it is rung.
    pub ring: Option<Ring>,
    /// What it rings with.
    pub bell: Option<Bell>,
    /// What it is rung by.
    pub event: Option<Event>,
    /// Open as long as the device is used.
    pub held: Option<vfio::Held>,
}

impl Source {
    /// By the command line.
    ///
    /// # Errors
    /// No device, server, driver, or rights; a vector that does not exist; a region that cannot be mapped, or is too small
    /// for so many lanes.
    pub fn choose(args: &Args) -> anyhow::Result<Self> {
        let source = Self::find(args)?;
        let map =
            source.map.lane(args.lane).map_err(|error| Usage(format!("--lane {}: {error}", args.lane)))?;
        Ok(Self { map, ..source })
    }

    fn find(args: &Args) -> anyhow::Result<Self> {
        if let Some(path) = &args.server {
            return Self::of_server(path, args);
        }
        if let MapChoice::File(path) = &args.map {
            return Self::of_file(path);
        }
        let device = Device::find(Path::new(PCI_DEVICES), args.device.as_deref())?;
        match args.wait.source {
            Some(WaitSource::Poll | WaitSource::Doorbell) => Self::of_sysfs(device, &args.map),
            source => Self::of_driver(device, source, args),
        }
    }

    fn of_file(path: &Path) -> anyhow::Result<Self> {
        if !path.exists() && ensure(path, REGION_BYTES_DEFAULT)? == Ensured::Created {
            eprintln!("guest-reader: created {} of {REGION_BYTES_DEFAULT} bytes", path.display());
        }
        let map = Mapping::open(path).context("map the region")?;
        Ok(Self::silent(map, MapKind::File, None))
    }

    /// One that can neither ring nor be rung.
    const fn silent(map: Mapping, kind: MapKind, device: Option<Device>) -> Self {
        Self { map, kind, device, wait: GuestWait::POLL, ring: None, bell: None, event: None, held: None }
    }

    fn of_server(path: &Path, args: &Args) -> anyhow::Result<Self> {
        let peers = Peers::join(path, args.vector, SERVER_PATIENCE)?;
        let map = peers.map().context("map the server's region")?;
        let event = match args.wait.source {
            Some(WaitSource::Poll) => None,
            _ => Some(peers.own_event().context("be rung")?),
        };
        let source = if event.is_some() { WaitSource::Doorbell } else { WaitSource::Poll };
        Ok(Self {
            ring: event.as_ref().map(|_| peers.own_ring()),
            wait: GuestWait { source, adaptive: args.wait.adaptive, can_ring: true },
            bell: Some(Bell::Peers(Box::new(peers))),
            event,
            ..Self::silent(map, MapKind::File, None)
        })
    }

    fn of_sysfs(device: Device, choice: &MapChoice) -> anyhow::Result<Self> {
        if *choice == MapChoice::Auto && device.driver().as_deref() == Some(IVSHMEM_UIO) {
            // Its mapping is the better one, and keeps sysfs from having any.
            let uio = uio::open(&device, 0)?;
            let can_ring = device.vectors()? > 0;
            return Ok(Self {
                wait: GuestWait { can_ring, ..GuestWait::POLL },
                bell: can_ring.then_some(Bell::Registers(uio.registers)),
                ..Self::silent(uio.memory, MapKind::Uio, Some(device))
            });
        }
        binding::unbind(&device)?;
        device.enable()?;
        let kind = match choice {
            MapChoice::Resource2 => MapKind::Resource2,
            MapChoice::Resource2Wc => MapKind::Resource2Wc,
            MapChoice::Auto | MapChoice::File(_) => device.best_map(),
        };
        let map = Mapping::open(&device.bar2(kind));
        if let Err(MapError::Map { error, .. }) = &map
            && error.raw_os_error() == Some(Errno::EPERM as i32)
        {
            bail!(
                "{}: {error}: this kernel is locked down (secure boot) and lets no program map a device's memory through \
                 sysfs; use --wait vfio ('provision up --doorbell --viommu')",
                device.bar2(kind).display()
            );
        }
        let map = map.context("map the region")?;
        let mut source = Self::silent(map, kind, None);
        if device.vectors()? > 0 {
            let path = device.directory().join("resource0");
            let registers = OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .and_then(|file| Registers::map(&file, 0, device.bar0_within_page()))
                .with_context(|| format!("map the device's registers ({})", path.display()))?;
            source.bell = Some(Bell::Registers(registers));
            source.wait = GuestWait { can_ring: true, ..GuestWait::POLL };
        }
        source.device = Some(device);
        Ok(source)
    }

    /// Through the driver of `source`, or of what there is.
    fn of_driver(device: Device, source: Option<WaitSource>, args: &Args) -> anyhow::Result<Self> {
        let (bdf, vector) = (&device.bdf, args.vector);
        match device.vectors()? {
            0 => bail!(
                "{bdf} has no interrupts: it is ivshmem-plain; start the VM with 'provision up --doorbell' (ivshmem-doorbell \
                 and its server), or wait with --wait poll"
            ),
            vectors if vector >= vectors => bail!(
                "--vector {vector}: {bdf} has {vectors} vectors, 0 to {}; give one of them, or start the VM with more \
                 (provision up --doorbell --vectors {})",
                vectors - 1,
                u32::from(vector) + 1
            ),
            _ => {}
        }
        let driver = match source.and_then(Driver::of) {
            Some(driver) => driver,
            None => Self::available(&device)?,
        };
        if driver == Driver::VfioPci && device.iommu_group().is_none() {
            // Before the device is taken from another driver.
            return Err(vfio::VfioError::NoIommu { bdf: bdf.clone() }.into());
        }
        binding::load(driver)?;
        binding::bind(&device, driver)?;
        let (map, registers, event, held, kind, source) = match driver {
            Driver::IvshmemUio => {
                let uio = uio::open(&device, vector)?;
                (uio.memory, uio.registers, uio.event, None, MapKind::Uio, WaitSource::Uio)
            }
            Driver::VfioPci => {
                let vfio = vfio::open(&device, vector)?;
                (vfio.memory, vfio.registers, vfio.event, Some(vfio.held), MapKind::Vfio, WaitSource::Vfio)
            }
        };
        let peer = registers
            .iv_position()
            .with_context(|| format!("{bdf} has no number at its server: is its server running?"))?;
        Ok(Self {
            wait: GuestWait { source, adaptive: args.wait.adaptive, can_ring: true },
            ring: Some(Ring { peer, vector }),
            bell: Some(Bell::Registers(registers)),
            event: Some(event),
            held,
            ..Self::silent(map, kind, Some(device))
        })
    }

    /// Our driver where it is there or can be loaded, else VFIO where there is an IOMMU.
    fn available(device: &Device) -> anyhow::Result<Driver> {
        match binding::load(Driver::IvshmemUio) {
            Ok(()) => Ok(Driver::IvshmemUio),
            Err(_) if device.iommu_group().is_some() => Ok(Driver::VfioPci),
            Err(error) => Err(error).context("there is no IOMMU for vfio-pci either; and"),
        }
    }
}
