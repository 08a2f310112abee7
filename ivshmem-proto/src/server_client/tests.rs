//! Joining servers of the test's own making: one that keeps to the protocol, and others that do not.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use super::*;
use crate::descriptor_passing::send;
use crate::server_wire::{Message, VECTORS_MAX};

const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `serve` for one connection, and joins it for two vectors.
fn with_server<T: Send>(
    patience: Duration,
    serve: impl FnOnce(UnixStream) -> T + Send,
) -> (Result<Joined, ServerError>, T) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bell.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::scope(|scope| {
        let served = scope.spawn(|| serve(listener.accept().unwrap().0));
        let joined = join(&path, 2, patience);
        (joined, served.join().unwrap())
    })
}

fn say(to: &UnixStream, message: Message, descriptor: Option<&File>) {
    assert_eq!(send(to.as_fd(), &message.encode(), descriptor.map(AsFd::as_fd)).unwrap(), 8);
}

/// All that a server says at once to a peer that joins as number 1 where 0 is there, with two vectors each.
fn set_up(to: &UnixStream, file: &File) {
    say(to, Message::Version, None);
    say(to, Message::OwnId(1), None);
    for message in
        [Message::Memory, Message::Vector(0), Message::Vector(0), Message::Vector(1), Message::Vector(1)]
    {
        say(to, message, Some(file));
    }
}

fn error(serve: impl FnOnce(UnixStream) + Send) -> ServerError {
    with_server(PATIENCE, serve).0.unwrap_err()
}

#[test]
fn memory_and_vectors_arrive_and_peers_come_and_go() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"shared").unwrap();
    let (joined, server) = with_server(PATIENCE, |socket| {
        set_up(&socket, &file);
        socket
    });
    let mut joined = joined.unwrap();
    assert_eq!((joined.table.own_id, joined.table.own.len()), (1, 2));
    assert_eq!(joined.table.peers.iter().map(|(id, fds)| (*id, fds.len())).collect::<Vec<_>>(), [(0, 2)]);
    assert_eq!(File::from(joined.memory.try_clone().unwrap()).metadata().unwrap().len(), 6);
    assert!(!joined.update().unwrap());

    say(&server, Message::Vector(7), Some(&file));
    say(&server, Message::Vector(7), Some(&file));
    say(&server, Message::Left(0), None);
    assert!(joined.update().unwrap());
    assert_eq!(joined.table.peers.iter().map(|(id, fds)| (*id, fds.len())).collect::<Vec<_>>(), [(7, 2)]);
    say(&server, Message::Left(3), None);
    let unknown = joined.update().unwrap_err().to_string();
    assert!(unknown.ends_with("peer 3 has left, which was not there"), "{unknown}");
}

#[test]
fn a_server_that_dies_is_told_and_what_was_known_stays() {
    let file = tempfile::tempfile().unwrap();
    let (joined, server) = with_server(PATIENCE, |socket| {
        set_up(&socket, &file);
        socket
    });
    let mut joined = joined.unwrap();
    drop(server);
    assert!(matches!(joined.update(), Err(ServerError::Gone { .. })));
    assert_eq!((joined.table.own.len(), joined.table.peers.len()), (2, 1));
}

#[test]
fn a_message_that_comes_in_pieces_is_put_together() {
    let file = tempfile::tempfile().unwrap();
    let (joined, _server) = with_server(PATIENCE, |socket| {
        for message in
            [Message::Version, Message::OwnId(1), Message::Memory, Message::Vector(1), Message::Vector(1)]
        {
            let descriptor = message.has_descriptor().then_some(file.as_fd());
            let bytes = message.encode();
            assert_eq!(send(socket.as_fd(), &bytes[..3], None).unwrap(), 3);
            assert_eq!(send(socket.as_fd(), &bytes[3..], descriptor).unwrap(), 5);
        }
        socket
    });
    assert_eq!(joined.unwrap().table.own.len(), 2);
}

#[test]
fn no_server_a_stale_socket_no_socket_and_a_path_too_long_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bell.sock");
    let absent = join(&path, 1, PATIENCE).unwrap_err();
    assert!(matches!(absent, ServerError::Absent { .. }), "{absent}");
    assert!(absent.to_string().contains("'provision up --doorbell' starts one"), "{absent}");
    drop(UnixListener::bind(&path).unwrap());
    let dead = join(&path, 1, PATIENCE).unwrap_err().to_string();
    assert!(dead.contains("it has died, and the QEMUs it had cannot rejoin another"), "{dead}");
    let file = directory.path().join("file");
    File::create(&file).unwrap();
    for other in [directory.path(), &file] {
        let error = join(other, 1, PATIENCE).unwrap_err().to_string();
        assert_eq!(error, format!("{} is no socket; 'provision status' names the VM's", other.display()));
    }
    let long = directory.path().join("l".repeat(120));
    let error = join(&long, 1, PATIENCE).unwrap_err().to_string();
    assert!(error.contains("a socket's path at most 107: use a shorter one"), "{error}");
}

#[test]
fn what_is_no_ivshmem_server_is_named() {
    let http = error(|mut socket| socket.write_all(b"HTTP/1.1 400 Bad Request\r\n").unwrap());
    assert!(matches!(http, ServerError::Wire { error: WireError::Version { .. }, .. }), "{http}");
    let full = error(drop);
    assert!(matches!(full, ServerError::TurnedAway { .. }), "{full}");
    let halfway = error(|mut socket| socket.write_all(&[0; 12]).unwrap());
    assert!(matches!(halfway, ServerError::TurnedAway { .. }), "{halfway}");
    let bare = error(|socket| {
        say(&socket, Message::Version, None);
        say(&socket, Message::OwnId(1), None);
        say(&socket, Message::Memory, None);
    });
    assert!(
        matches!(bare, ServerError::Wire { error: WireError::MissingDescriptor { word: -1 }, .. }),
        "{bare}"
    );
}

#[test]
fn a_server_cannot_make_a_peer_hold_descriptors_without_end() {
    let file = tempfile::tempfile().unwrap();
    let (joined, server) = with_server(PATIENCE, |socket| {
        set_up(&socket, &file);
        socket
    });
    let mut joined = joined.unwrap();
    let error = (0..=VECTORS_MAX).find_map(|_| {
        say(&server, Message::Vector(0), Some(&file));
        joined.update().err()
    });
    match error.unwrap() {
        ServerError::Wire { error: WireError::TooManyVectors { peer: 0 }, .. } => {
            assert_eq!(joined.table.peers[&0].len(), usize::from(VECTORS_MAX));
        }
        // Where the process's own limit is lower.
        error => assert!(matches!(error, ServerError::DescriptorsExhausted), "{error}"),
    }
}

/// Holds the connection open until the peer has given up.
fn hold(mut socket: UnixStream) {
    let _ = socket.read(&mut [0; 1]);
}

#[test]
fn a_silent_server_is_given_up_at_the_deadline() {
    let soon = Duration::from_millis(50);
    let (silent, ()) = with_server(soon, hold);
    let text = silent.unwrap_err().to_string();
    assert!(text.contains("did not send an id within 50ms"), "{text}");
    let file = tempfile::tempfile().unwrap();
    let (few, ()) = with_server(soon, |socket| {
        say(&socket, Message::Version, None);
        say(&socket, Message::OwnId(1), None);
        say(&socket, Message::Memory, Some(&file));
        say(&socket, Message::Vector(1), Some(&file));
        hold(socket);
    });
    let text = few.unwrap_err().to_string();
    assert!(
        text.contains("gives each peer 1 vectors, and 2 are needed: start it with --vectors 2"),
        "{text}"
    );
}

#[test]
fn a_server_that_accepts_nobody_is_given_up_at_the_deadline() {
    use nix::sys::socket::{Backlog, bind, listen};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bell.sock");
    let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    // The one place in the queue is taken, whereupon connect(2) waits.
    let _first = UnixStream::connect(&path).unwrap();
    let error = join(&path, 1, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, ServerError::Silent { .. }), "{error}");
}
