//! Plain rows are parsed by as many threads as there are processors, block by block; what they find is put together in order.

use std::collections::VecDeque;
use std::sync::mpsc::sync_channel;
use std::thread;

use super::rows::{Part, Role, Take};
use super::source::Source;
use crate::error::Error;

/// Parsing is a third of the work at most; further threads would wait for the rest.
const MOST_WORKERS: usize = 4;
/// Blocks under way for each.
const BLOCKS_EACH: usize = 2;

/// Gives every block of `source` to `take`, in order, with the plain rows it begins with and whether it is the last.
///
/// # Errors
/// The source's, and `take`'s.
pub(super) fn for_each_block<T: Take + Default + Send>(
    source: &mut Source,
    roles: &[Role],
    mut take: impl FnMut(&[u8], &Part<T>, bool) -> Result<(), Error>,
) -> Result<(), Error> {
    let count = thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS);
    thread::scope(|scope| {
        let mut workers: VecDeque<_> = (0..count)
            .map(|_| {
                let (blocks, to_parse) = sync_channel::<Vec<u8>>(BLOCKS_EACH);
                let (parsed, parts) = sync_channel(BLOCKS_EACH);
                scope.spawn(move || {
                    for block in to_parse {
                        let part = Part::<T>::of(roles, &block);
                        // Whoever does not receive it has found an error.
                        if parsed.send((block, part)).is_err() {
                            break;
                        }
                    }
                });
                (blocks, parts)
            })
            .collect();
        // They take turns, so that the order of the file is that of the turns.
        let (mut given, mut taken) = (0, 0);
        loop {
            while given < taken + count * BLOCKS_EACH
                && let Some(block) = source.next()?
            {
                // A worker is there until its channels are dropped.
                let _ = workers[given % count].0.send(block);
                given += 1;
            }
            if given == taken {
                workers.clear();
                return Ok(());
            }
            let Ok((block, part)) = workers[taken % count].1.recv() else {
                unreachable!("a worker answers every block")
            };
            taken += 1;
            // If there were another block, it would be under way.
            take(&block, &part, given == taken)?;
            source.give_back(block);
        }
    })
}
