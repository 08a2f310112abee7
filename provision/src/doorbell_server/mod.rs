//! An ivshmem server: gives QEMU's `ivshmem-doorbell` devices, and programs on the host, one memory and an eventfd for
//! each other's vectors. Once peers have those, they ring each other without it.
//!
//! One thread, one epoll. A peer is told what happens through a queue of its own, so that one that does not read delays
//! nobody, and is disconnected when too much waits for it. The words are [`ivshmem_proto::server_wire`]'s.

mod events;
mod ids;
mod listener;
mod memory;
mod peer;
mod room;

pub use memory::{MEMFD, MemoryKind, Shm, is_memfd};

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use ivshmem_proto::server_client::SOCKET_PATH_BYTES_MAX;
use ivshmem_proto::server_wire::Message;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use crate::Error;
use crate::interrupt::{Interrupted, Interrupts};
use events::{Event, Events, Why, program};
use ids::Ids;
use listener::Listener;
use memory::Memory;
use peer::{Flushed, Parcel, Peer};
use room::Spare;

/// Tokens of what is no peer.
const LISTENER: u64 = 0;
const SIGNALS: u64 = 1;
const FIRST_PEER: u64 = 2;

/// How long until something is tried again of which nothing tells when it succeeds.
const AGAIN_AFTER_MS: u16 = 20;
/// Connections taken at once before peers are looked after.
const ACCEPTED_AT_ONCE: usize = 64;
/// What may wait for a peer beyond all that it is told when it joins.
const BACKLOG_MESSAGES: usize = 1024;

/// What a server is to do.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where it listens.
    pub socket: PathBuf,
    /// What peers share.
    pub shm: Shm,
    /// Its size.
    pub size_bytes: u64,
    /// Doorbells of each peer.
    pub vectors: u16,
    /// Most peers at once.
    pub max_peers: u32,
    /// Whether events are told as JSON.
    pub json: bool,
}

/// Why a server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum DoorbellError {
    /// The path does not fit into a socket's address.
    #[error(
        "{path} has {length} bytes, and a socket's path at most {SOCKET_PATH_BYTES_MAX}: use a shorter one"
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// A server listens there.
    #[error("{path} is taken by a server that runs: use it, stop it, or take another --socket")]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{path} is there and is no socket: take another --socket")]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The limit of descriptors is too low for so many.
    #[error(
        "{max_peers} peers with {vectors} vectors each need {needed} descriptors, and this process may have {limit} \
         ('ulimit -Hn'): take fewer --vectors or --max-peers"
    )]
    Descriptors {
        /// The peers.
        max_peers: u32,
        /// Their vectors.
        vectors: u16,
        /// What they need.
        needed: u64,
        /// What there is.
        limit: u64,
    },
    /// Anything else.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Serves until a signal comes.
///
/// # Errors
/// It cannot start, or the kernel fails it.
pub fn serve(config: &ServerConfig, interrupts: &Interrupts) -> Result<(), Error> {
    room::reserve(config.max_peers, config.vectors)?;
    let memory = Memory::open(&config.shm, config.size_bytes)?;
    let listener = Listener::bind(&config.socket)?;
    let failed = |e: io::Error| Error::io("serve doorbells", e);
    let mut server = Server::new(config, listener, &memory, interrupts).map_err(failed)?;
    server.events.tell(&Event::Listening {
        socket: &config.socket,
        shm: &config.shm.to_string(),
        size_bytes: config.size_bytes,
        vectors: config.vectors,
        max_peers: config.max_peers,
    });
    let Interrupted { signal } = server.run(interrupts).map_err(failed)?;
    server.events.tell(&Event::Ended { why: signal.as_str().to_owned() });
    Ok(())
}

struct Server<'a> {
    config: &'a ServerConfig,
    listener: Listener,
    memory: &'a Memory,
    epoll: Epoll,
    /// By token: unlike an id, none is ever used twice, so that an event of a peer that is gone meets nobody.
    peers: BTreeMap<u64, Peer>,
    next_token: u64,
    ids: Ids,
    spare: Spare,
    /// Whether connections are left waiting for a while, because there is no descriptor even to refuse them with.
    is_deaf: bool,
    /// Connections refused since there was room.
    refused: u64,
    events: Events,
}

impl<'a> Server<'a> {
    fn new(
        config: &'a ServerConfig,
        listener: Listener,
        memory: &'a Memory,
        interrupts: &Interrupts,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        epoll.add(interrupts, EpollEvent::new(EpollFlags::EPOLLIN, SIGNALS))?;
        Ok(Self {
            config,
            listener,
            memory,
            epoll,
            peers: BTreeMap::new(),
            next_token: FIRST_PEER,
            ids: Ids::default(),
            spare: Spare::new()?,
            is_deaf: false,
            refused: 0,
            events: Events { json: config.json },
        })
    }

    fn run(&mut self, interrupts: &Interrupts) -> io::Result<Interrupted> {
        let mut again = false;
        let mut ready = [EpollEvent::empty(); 64];
        loop {
            let timeout = if again { EpollTimeout::from(AGAIN_AFTER_MS) } else { EpollTimeout::NONE };
            let count = match self.epoll.wait(&mut ready, timeout) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(errno) => return Err(errno.into()),
            };
            let was_deaf = std::mem::take(&mut self.is_deaf);
            for event in &ready[..count] {
                match event.data() {
                    SIGNALS => {
                        if let Err(interrupted) = interrupts.check() {
                            return Ok(interrupted);
                        }
                    }
                    LISTENER => self.accept(),
                    token => self.hear(token, event.events()),
                }
            }
            again = self.flush()? || self.is_deaf;
            let listens = if self.is_deaf { EpollFlags::empty() } else { EpollFlags::EPOLLIN };
            if was_deaf != self.is_deaf {
                self.epoll.modify(&self.listener, &mut EpollEvent::new(listens, LISTENER))?;
            }
        }
    }

    /// Takes the connections that wait.
    fn accept(&mut self) {
        for _ in 0..ACCEPTED_AT_ONCE {
            match self.listener.accept() {
                Ok(socket) if self.peers.len() >= self.config.max_peers as usize => {
                    drop(socket);
                    self.refuse(&format!("all {} places are taken", self.config.max_peers));
                }
                Ok(socket) => {
                    if let Err(e) = self.join(socket) {
                        self.refuse(&e.to_string());
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) => {
                    let exhausted = matches!(
                        Errno::from_raw(e.raw_os_error().unwrap_or(0)),
                        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM
                    );
                    // One that cannot be taken stays in the queue and would wake us for ever.
                    if exhausted {
                        self.refuse(&e.to_string());
                        if !self.spare.lend(|| drop(self.listener.accept())) {
                            self.is_deaf = true;
                            return;
                        }
                    }
                }
            }
        }
    }

    fn refuse(&mut self, why: &str) {
        if self.refused == 0 {
            self.events.tell(&Event::Refused { why: why.to_owned() });
        }
        self.refused += 1;
    }

    /// Makes a connection a peer: it is told of all others, and they of it.
    fn join(&mut self, socket: UnixStream) -> io::Result<()> {
        let no_id =
            || io::Error::other("all 65536 ids were given out, and QEMU takes none twice: restart all peers");
        let id = self.ids.next(self.peers.is_empty()).ok_or_else(no_id)?;
        let pid = getsockopt(&socket, PeerCredentials).ok().map(|credentials| credentials.pid());
        let mut peer = Peer::new(socket, id, self.config.vectors)?;
        let token = self.next_token;
        self.epoll.add(&peer, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        self.next_token += 1;
        peer.post([
            Parcel::bare(Message::Version),
            Parcel::bare(Message::OwnId(peer.id())),
            Parcel::with(Message::Memory, self.memory.fd()),
        ]);
        for other in self.peers.values_mut() {
            peer.post(other.introduction());
            other.post(peer.introduction());
        }
        // Its own vectors come last, which tells it that all is said.
        let own: Vec<Parcel> = peer.introduction().collect();
        peer.post(own);
        self.peers.insert(token, peer);
        let peers = self.peers.len();
        self.events.tell(&Event::Joined { peer: id, pid, program: pid.and_then(program), peers });
        Ok(())
    }

    /// Something happens on a peer's connection.
    fn hear(&mut self, token: u64, events: EpollFlags) {
        let Some(peer) = self.peers.get_mut(&token) else { return };
        if events.contains(EpollFlags::EPOLLOUT) {
            peer.is_full = false;
        }
        if events.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR)
            && let Err(why) = peer.listen()
        {
            self.leave(token, &why);
        }
    }

    fn leave(&mut self, token: u64, why: &Why) {
        let Some(gone) = self.peers.remove(&token) else { return };
        for other in self.peers.values_mut() {
            other.post([gone.farewell()]);
        }
        let (peer, peers) = (gone.id(), self.peers.len());
        self.events.tell(&Event::Left { peer, why: why.to_string(), peers });
        if let more @ 1.. = std::mem::take(&mut self.refused).saturating_sub(1) {
            self.events.tell(&Event::RefusedMore { connections: more });
        }
    }

    /// Sends what there is to send and room for; true when that is to be tried again soon.
    fn flush(&mut self) -> io::Result<bool> {
        let mut again = false;
        let most = self.backlog_max();
        // Whoever leaves gives the others something to be told.
        loop {
            let mut gone = Vec::new();
            for (&token, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.backlog() > 0) {
                let flushed = if peer.is_full { Ok(Flushed::Full) } else { peer.flush() };
                peer.is_full = flushed == Ok(Flushed::Full);
                if peer.is_full != peer.is_watched_for_room {
                    peer.is_watched_for_room = peer.is_full;
                    let room = if peer.is_full { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
                    self.epoll.modify(&*peer, &mut EpollEvent::new(EpollFlags::EPOLLIN | room, token))?;
                }
                match flushed {
                    Err(why) => gone.push((token, why)),
                    Ok(_) if peer.backlog() > most => gone.push((token, Why::FellBehind(peer.backlog()))),
                    Ok(Flushed::TooManyUnderWay) => again = true,
                    Ok(Flushed::All | Flushed::Full) => {}
                }
            }
            if gone.is_empty() {
                return Ok(again);
            }
            for (token, why) in gone {
                self.leave(token, &why);
            }
        }
    }

    /// What may wait for a peer: all that it is told when it joins, and then some.
    fn backlog_max(&self) -> usize {
        (self.config.max_peers as usize + 1) * usize::from(self.config.vectors) + 3 + BACKLOG_MESSAGES
    }
}
