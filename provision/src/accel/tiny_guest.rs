//! A guest of a dozen bytes: it counts, then does nothing but I/O, so that the rate of instructions and the cost
//! of an exit can be told. It runs in flat 32-bit protected mode without paging, which KVM executes natively on
//! every processor it supports (real mode would be emulated on some).

use std::io;
use std::time::{Duration, Instant};

use kvm_bindings::{kvm_regs, kvm_segment};
use kvm_ioctls::{VcpuExit, VcpuFd, VmFd};
use memmap2::MmapMut;
use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};

/// Where the guest's one page lies in its memory.
const CODE_ADDRESS: u64 = 0x1000;
const PAGE_BYTES: usize = 4096;
/// Loop rounds; two instructions each.
const ROUNDS: u32 = 5_000_000;
const PORT_BEGIN: u16 = 0x10;
const PORT_END: u16 = 0x11;
const PORT_EXIT: u16 = 0x12;
/// Offset of the endless exit loop in [`program`].
const EXIT_LOOP_OFFSET: u64 = 12;
/// Exits timed at most, and for at most how long.
const EXITS: u32 = 1000;
const EXITS_BUDGET: Duration = Duration::from_millis(5);

/// What a climb learns from the tiny guest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Instructions retired a second of CPU time.
    pub instructions_per_second: f64,
    /// One I/O exit to user space and back, when any was timed.
    pub exit_cost_ns: Option<f64>,
}

/// The guest, ready to run. The vCPU is declared first: it is dropped before the memory it runs in.
pub(super) struct TinyGuest {
    vcpu: VcpuFd,
    _memory: MmapMut,
}

impl TinyGuest {
    /// Gives `vm` a page of code and a vCPU.
    pub(super) fn new(vm: &VmFd) -> io::Result<Self> {
        let mut memory = MmapMut::map_anon(PAGE_BYTES)?;
        let code = program();
        memory[..code.len()].copy_from_slice(&code);
        memory::lend(vm, &mut memory)?;
        let vcpu = vm.create_vcpu(0).map_err(as_io)?;
        let mut sregs = vcpu.get_sregs().map_err(as_io)?;
        let data = flat_segment(3);
        sregs.cs = flat_segment(11);
        (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
        sregs.cr0 |= 1;
        vcpu.set_sregs(&sregs).map_err(as_io)?;
        // Bit 1 of the flags is always set (Intel SDM volume 1, 3.4.3).
        vcpu.set_regs(&kvm_regs { rip: CODE_ADDRESS, rflags: 2, ..Default::default() }).map_err(as_io)?;
        Ok(Self { vcpu, _memory: memory })
    }

    /// Counts for `budget` at most (the caller's kicks end it), then exits a few times.
    pub(super) fn measure(&mut self, budget: Duration) -> io::Result<Measured> {
        while self.run()? != Some(PORT_BEGIN) {}
        let (begin, cpu_begin) = (Instant::now(), thread_cpu_time()?);
        let done = loop {
            match self.run()? {
                Some(PORT_END) => break ROUNDS,
                // Kicked: KVM_RUN was interrupted before the count was done.
                None if begin.elapsed() >= budget => {
                    // ecx holds the rounds left: below 2^32 by construction, so the cast keeps all of it.
                    break ROUNDS.saturating_sub(self.vcpu.get_regs().map_err(as_io)?.rcx as u32);
                }
                _ => {}
            }
        };
        // CPU time and not wall time: a neighbour on this core must not make hardware look like an emulator.
        let spent = thread_cpu_time()?.saturating_sub(cpu_begin).max(Duration::from_micros(1));
        let instructions_per_second = f64::from(done) * 2.0 / spent.as_secs_f64();
        Ok(Measured { instructions_per_second, exit_cost_ns: self.exit_cost_ns()? })
    }

    /// Mean cost of an I/O exit, from a loop that does nothing else.
    fn exit_cost_ns(&mut self) -> io::Result<Option<f64>> {
        let mut regs = self.vcpu.get_regs().map_err(as_io)?;
        regs.rip = CODE_ADDRESS + EXIT_LOOP_OFFSET;
        self.vcpu.set_regs(&regs).map_err(as_io)?;
        let begin = Instant::now();
        let mut exits = 0;
        while exits < EXITS && begin.elapsed() < EXITS_BUDGET {
            exits += u32::from(self.run()? == Some(PORT_EXIT));
        }
        Ok((exits > 0).then(|| begin.elapsed().as_nanos() as f64 / f64::from(exits)))
    }

    /// Enters the guest until it writes to a port (which one) or a signal comes (`None`).
    fn run(&mut self) -> io::Result<Option<u16>> {
        match self.vcpu.run() {
            Ok(VcpuExit::IoOut(port, _)) => Ok(Some(port)),
            Ok(VcpuExit::Intr) => Ok(None),
            Ok(other) => Err(io::Error::other(format!("unexpected exit {other:?}"))),
            Err(e) if [Errno::EINTR as i32, Errno::EAGAIN as i32].contains(&e.errno()) => Ok(None),
            Err(e) => Err(as_io(e)),
        }
    }
}

/// The guest's code; see the comments for its assembly.
fn program() -> Vec<u8> {
    let mut code = vec![0xe6, PORT_BEGIN as u8]; //         out PORT_BEGIN, al
    code.push(0xb9); //                                     mov ecx, ROUNDS
    code.extend(ROUNDS.to_le_bytes());
    code.extend([0x49, 0x75, 0xfd]); //               loop: dec ecx; jnz loop
    code.extend([0xe6, PORT_END as u8]); //                 out PORT_END, al
    code.extend([0xe6, PORT_EXIT as u8, 0xeb, 0xfc]); // more: out PORT_EXIT, al; jmp more
    code
}

/// A segment over all 4 GiB, 32 bits wide, of the given descriptor type (Intel SDM volume 3, 3.4.5).
fn flat_segment(type_: u8) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector: 8,
        type_,
        present: 1,
        db: 1,
        s: 1,
        g: 1,
        ..Default::default()
    }
}

fn thread_cpu_time() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

fn as_io(e: kvm_ioctls::Error) -> io::Error {
    io::Error::from_raw_os_error(e.errno())
}

/// The one unsafe step: telling KVM where the guest's memory is.
#[allow(unsafe_code)]
mod memory {
    use super::*;
    use kvm_bindings::kvm_userspace_memory_region;

    /// Maps `memory` into the guest at [`CODE_ADDRESS`].
    pub(super) fn lend(vm: &VmFd, memory: &mut MmapMut) -> io::Result<()> {
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: CODE_ADDRESS,
            memory_size: memory.len() as u64,
            userspace_addr: memory.as_mut_ptr() as u64,
        };
        // SAFETY: the range is one whole anonymous mapping, page aligned and writable. The guest touches it only
        // inside KVM_RUN on the vCPU that `TinyGuest` owns beside the mapping; the mapping is dropped after that
        // vCPU, and nothing on this side holds a reference into it once the vCPU exists.
        unsafe { vm.set_user_memory_region(region) }.map_err(as_io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jumps_of_the_program_land_where_they_should() {
        let code = program();
        assert_eq!(code[7..10], [0x49, 0x75, 0xfd], "jnz goes back 3 bytes, to the dec");
        assert_eq!(
            code[EXIT_LOOP_OFFSET as usize..],
            [0xe6, PORT_EXIT as u8, 0xeb, 0xfc],
            "jmp goes back 4 bytes"
        );
    }
}
