//! Any bytes as a queue with any cursors: reading entry after entry ends, and never leaves the queue; and what is stored
//! is read back, in order.
//!
//! An input begins with two cursors of 8 bytes. The rest is the queue's content, and then, for storing, pairs of bytes:
//! a length in units of 8 bytes, and whether to store (even) or to drain (odd).

#![no_main]

use std::collections::VecDeque;

use libfuzzer_sys::fuzz_target;
use logboom::fuzzing::{Queue, Record};

const LEN: u64 = 4096;

thread_local! {
    static QUEUE: Queue = tempfile::tempfile()
        .and_then(|file| Queue::new(&file, LEN))
        .expect("a temporary file can be mapped");
}

fuzz_target!(|bytes: &[u8]| {
    let Some((cursors, rest)) = bytes.split_at_checked(16) else {
        return;
    };
    let cursor = |at: usize| u64::from_le_bytes(cursors[at..at + 8].try_into().expect("8 bytes"));
    QUEUE.with(|queue| {
        queue.fill(rest);
        read_all(queue, cursor(0), cursor(8));
        queue.load(cursor(0), cursor(8));
        queue.fill(rest);
        store_and_drain(queue, cursor(0), rest);
        let untouched = |page: &[u8]| page.iter().all(|byte| *byte == 0);
        assert!(
            queue.surroundings().into_iter().all(untouched),
            "it wrote outside"
        );
    });
});

/// As the holder of the lease reads: from `drained` up to `tail`.
fn read_all(queue: &Queue, drained: u64, tail: u64) {
    let (mut position, mut steps) = (drained, 0);
    while position < tail {
        let Some(record) = queue.load(position, tail) else {
            return;
        };
        let range = queue.line_range(position, record);
        assert!(range.end as u64 <= LEN, "{range:?} is outside");
        assert_eq!(queue.line(position, record).len(), record.len as usize);
        let next = Queue::after(position, record);
        assert!(next > position && next <= tail && next.is_multiple_of(Queue::ALIGN));
        queue.mark_done(position);
        let flags = record.flags | Queue::FLAG_DONE;
        assert_eq!(queue.load(position, tail), Some(Record { flags, ..record }));
        position = next;
        steps += 1;
        assert!(steps <= LEN / Queue::ALIGN, "it does not end");
    }
}

/// The queue of a worker that begins with empty cursors at `start`, against a list.
fn store_and_drain(queue: &Queue, start: u64, actions: &[u8]) {
    let start = start % (1 << 62) / Queue::ALIGN * Queue::ALIGN;
    let (mut tail, mut drained) = (start, start);
    let mut model = VecDeque::new();
    for (seq, action) in (0..).zip(actions.chunks_exact(2)) {
        let line = vec![action[0]; usize::from(action[0]) * 8 + usize::from(action[1] >> 5)];
        if action[1] & 1 == 1 {
            drained = drain_one(queue, drained, tail, &mut model);
        } else if let Some((position, next)) = queue.place(tail, drained, line.len() as u64) {
            let record = Record {
                len: line.len() as u32,
                file: u16::from(action[1]),
                severity: action[0],
                flags: 0,
                time_ns: seq << 8,
                seq,
            };
            let (first, more) = line.split_at(line.len() / 2);
            queue.store(tail, position, record, first, more);
            model.push_back((record, line));
            tail = next;
        } else {
            let fits = line.len() as u64 <= queue.line_max();
            assert!(!(model.is_empty() && fits), "an empty queue refused a line");
        }
        assert!(tail - drained <= LEN);
    }
    while !model.is_empty() {
        drained = drain_one(queue, drained, tail, &mut model);
    }
}

fn drain_one(
    queue: &Queue,
    drained: u64,
    tail: u64,
    model: &mut VecDeque<(Record, Vec<u8>)>,
) -> u64 {
    let Some((stored, line)) = model.pop_front() else {
        return drained;
    };
    let mut position = drained;
    let mut found = queue.load(position, tail).expect("an entry");
    if found.flags & Queue::FLAG_FILLER != 0 {
        position = Queue::after(position, found);
        found = queue
            .load(position, tail)
            .expect("an entry behind the filler");
    }
    assert_eq!(found, stored);
    assert_eq!(queue.line(position, found), line);
    Queue::after(position, found)
}
