//! Events that wait: their order, their bounds, and what is counted when one is dropped.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use operator::audit::{Batch, Limits, Loss, SinkError, Spool};
use proptest::prelude::*;

const SMALL: Limits = Limits {
    unwanted_bytes: 30,
    events: 10,
    bytes: 4_000,
    unwanted: 3,
    unwanted_for: Duration::from_secs(600),
    batch: 4,
};

fn push(spool: &mut Spool, pool: &str, now: Instant) {
    spool.push(pool, now, |seq| format!("{pool}-{seq}").into_bytes());
}

fn filled(limits: Limits, pool: &str, events: usize, now: Instant) -> Spool {
    let mut spool = Spool::new(limits);
    (0..events).for_each(|_| push(&mut spool, pool, now));
    spool
}

fn texts(batch: &Batch) -> Vec<String> {
    batch.events.iter().map(|event| String::from_utf8(event.clone()).unwrap()).collect()
}

fn one(spool: &mut Spool, now: Instant) -> Batch {
    let (mut batches, _) = spool.take_due(now, 16);
    assert_eq!(batches.len(), 1);
    batches.remove(0)
}

fn dropped(spool: &mut Spool) -> BTreeMap<&'static str, u64> {
    let mut sums = BTreeMap::new();
    for (why, events) in spool.take_dropped() {
        *sums.entry(why.as_str()).or_insert(0) += events;
    }
    sums
}

#[test]
fn events_leave_in_order_and_nothing_is_kept_of_a_pool_that_told_everything() {
    let now = Instant::now();
    let mut spool = filled(SMALL, "a", 6, now);
    let batch = one(&mut spool, now);
    assert_eq!(texts(&batch), ["a-1", "a-2", "a-3", "a-4"]);
    assert_eq!(spool.take_due(now, 16), (vec![], None), "one batch of a pool is on its way at a time");
    push(&mut spool, "a", now);
    spool.settle(&batch, Ok(4), now, 0.0);
    let batch = one(&mut spool, now);
    assert_eq!(texts(&batch), ["a-5", "a-6", "a-7"]);
    spool.settle(&batch, Ok(3), now, 0.0);
    assert!(spool.is_empty());
    assert_eq!(spool.take_due(now, 16), (vec![], None));
    push(&mut spool, "a", now);
    assert_eq!(texts(&one(&mut spool, now)), ["a-8"], "numbers go on");
    assert!(dropped(&mut spool).is_empty());
}

#[test]
fn what_was_not_taken_comes_again_the_same_and_later_each_time() {
    let start = Instant::now();
    let mut spool = filled(SMALL, "a", 2, start);
    let (mut now, mut waits) = (start, Vec::new());
    let first = one(&mut spool, now);
    spool.settle(&first, Err(SinkError::Unavailable), now, 0.0);
    for _ in 0..8 {
        let (batches, next) = spool.take_due(now, 16);
        assert!(batches.is_empty());
        waits.push((next.unwrap() - now).as_secs());
        now = next.unwrap();
        let again = one(&mut spool, now);
        assert_eq!(texts(&again), texts(&first));
        spool.settle(&again, Err(SinkError::Unavailable), now, 0.0);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert!(dropped(&mut spool).is_empty());
}

#[test]
fn a_failing_pool_holds_up_no_other() {
    let now = Instant::now();
    let mut spool = filled(SMALL, "a", 1, now);
    let batch = one(&mut spool, now);
    spool.settle(&batch, Err(SinkError::Unavailable), now, 0.0);
    push(&mut spool, "b", now);
    assert_eq!(texts(&one(&mut spool, now)), ["b-1"]);
}

#[test]
fn the_oldest_make_room_and_are_counted_also_while_they_are_on_their_way() {
    let now = Instant::now();
    let mut spool = filled(SMALL, "a", 12, now);
    assert_eq!(dropped(&mut spool), BTreeMap::from([("overflow", 2)]));
    let batch = one(&mut spool, now);
    assert_eq!(texts(&batch), ["a-3", "a-4", "a-5", "a-6"]);
    // Two of these four lose their place before the answer comes.
    push(&mut spool, "a", now);
    push(&mut spool, "a", now);
    spool.settle(&batch, Ok(4), now, 0.0);
    assert_eq!(texts(&one(&mut spool, now)), ["a-7", "a-8", "a-9", "a-10"]);
    assert_eq!(spool.len(), 8);
}

#[test]
fn all_pools_together_keep_to_a_size_and_the_longest_queue_gives() {
    let now = Instant::now();
    let limits = Limits { bytes: 60, events: 1_000, ..SMALL };
    let mut spool = filled(limits, "loud", 30, now);
    push(&mut spool, "calm", now);
    let (batches, _) = spool.take_due(now, 16);
    let calm = batches.iter().find(|batch| &*batch.pool == "calm").unwrap();
    assert_eq!(texts(calm), ["calm-1"]);
    let dropped = dropped(&mut spool);
    assert_eq!(spool.len() as u64 + dropped["overflow"], 31);
    assert!(spool.len() < 12, "{} events of 6 to 7 bytes in 60", spool.len());
}

#[test]
fn a_pool_without_an_exporter_keeps_its_newest_events_for_a_while() {
    let start = Instant::now();
    let mut spool = filled(SMALL, "a", 8, start);
    let batch = one(&mut spool, start);
    spool.settle(&batch, Err(SinkError::Absent), start, 0.0);
    assert_eq!(dropped(&mut spool), BTreeMap::from([("unwanted", 5)]));
    // Its exporter comes up.
    let later = start + Duration::from_secs(15);
    let batch = one(&mut spool, later);
    assert_eq!(texts(&batch), ["a-6", "a-7", "a-8"]);
    spool.settle(&batch, Err(SinkError::Absent), later, 0.0);
    let late = start + Duration::from_secs(600);
    let batch = one(&mut spool, late);
    spool.settle(&batch, Err(SinkError::Absent), late, 0.0);
    assert_eq!(dropped(&mut spool), BTreeMap::from([("unwanted", 3)]));
    assert!(spool.is_empty());
    assert_eq!(spool.take_due(late, 16), (vec![], None), "an idle pool is not asked about");
}

#[test]
fn pools_without_an_exporter_share_little_room_and_take_none_of_the_others() {
    let now = Instant::now();
    let mut spool = filled(SMALL, "wanted", 8, now);
    for i in 0..100 {
        push(&mut spool, &format!("x{i:02}"), now);
    }
    let (batches, _) = spool.take_due(now, 200);
    for batch in &batches {
        let result = if &*batch.pool == "wanted" { Err(SinkError::Unavailable) } else { Err(SinkError::Absent) };
        spool.settle(batch, result, now, 0.0);
    }
    // Six events of five bytes each in 30.
    assert_eq!(spool.wanted(), 8);
    assert_eq!((spool.len(), dropped(&mut spool)), (8 + 6, BTreeMap::from([("unwanted", 94)])));
    // Of a pool with nothing left it is not remembered that it had no exporter: it is asked for again at once.
    for _ in 0..20 {
        (0..5).for_each(|_| push(&mut spool, "x00", now));
        for batch in spool.take_due(now, 200).0 {
            spool.settle(&batch, Err(SinkError::Absent), now, 0.0);
        }
        assert!(spool.len() <= 8 + 6, "{} wait", spool.len());
    }
    let later = now + Duration::from_secs(20);
    let wanted = spool.take_due(later, 200).0.into_iter().find(|batch| &*batch.pool == "wanted").unwrap();
    assert_eq!(texts(&wanted), ["wanted-1", "wanted-2", "wanted-3", "wanted-4"]);
}

#[test]
fn a_refused_event_is_found_and_dropped_alone() {
    let now = Instant::now();
    let mut spool = filled(SMALL, "a", 9, now);
    let mut taken = Vec::new();
    while !spool.is_empty() {
        let batch = one(&mut spool, now);
        let result = match texts(&batch).iter().any(|event| event == "a-3") {
            true => Err(SinkError::Refused),
            false => {
                taken.extend(texts(&batch));
                Ok(batch.events.len() as u64)
            }
        };
        spool.settle(&batch, result, now, 0.0);
    }
    assert_eq!(taken, ["a-1", "a-2", "a-4", "a-5", "a-6", "a-7", "a-8", "a-9"]);
    assert_eq!(dropped(&mut spool), BTreeMap::from([("refused", 1)]));
}

#[test]
fn events_of_a_deleted_pool_are_tried_for_a_minute() {
    let start = Instant::now();
    let mut spool = filled(SMALL, "a", 2, start);
    spool.gone("a", start);
    let batch = one(&mut spool, start);
    spool.settle(&batch, Err(SinkError::Unavailable), start, 0.0);
    assert_eq!(spool.len(), 2);
    let late = start + Duration::from_secs(60);
    let batch = one(&mut spool, late);
    spool.settle(&batch, Err(SinkError::Unavailable), late, 0.0);
    assert!(spool.is_empty());
    assert_eq!(dropped(&mut spool), BTreeMap::from([("pool_deleted", 2)]));
    assert_eq!(Loss::NoPool.as_str(), "no_pool");
}

proptest! {
    /// Whatever an exporter answers and in whatever order: an event is delivered, waits or is counted, no event is
    /// delivered twice, and those of a pool are delivered in order.
    #[test]
    fn every_event_is_delivered_once_or_waits_or_is_counted(steps in proptest::collection::vec((0..6u8, 0..3usize), 1..200)) {
        let (mut spool, mut now) = (Spool::new(SMALL), Instant::now());
        let (mut pushed, mut taken, mut on_its_way) = (0u64, Vec::<(String, u64)>::new(), Vec::<Batch>::new());
        for (step, pool) in steps {
            let answer = match step {
                0 | 1 => {
                    push(&mut spool, ["a", "b", "c"][pool], now);
                    pushed += 1;
                    continue;
                }
                2 => Ok(1),
                3 => Err(SinkError::Unavailable),
                4 => Err(SinkError::Absent),
                _ => Err(SinkError::Refused),
            };
            now += Duration::from_secs(70);
            on_its_way.extend(spool.take_due(now, pool).0);
            if on_its_way.is_empty() {
                continue;
            }
            let batch = on_its_way.remove(pool % on_its_way.len());
            prop_assert!(!batch.events.is_empty());
            if answer.is_ok() {
                for event in texts(&batch) {
                    let (pool, seq) = event.split_once('-').unwrap();
                    taken.push((pool.to_owned(), seq.parse().unwrap()));
                }
            }
            spool.settle(&batch, answer, now, 0.5);
        }
        for pool in ["a", "b", "c"] {
            let seqs: Vec<u64> = taken.iter().filter(|(of, _)| of == pool).map(|(_, seq)| *seq).collect();
            prop_assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{pool}: {seqs:?}");
        }
        let lost: u64 = dropped(&mut spool).values().sum();
        // What lost its place while it was on its way and was taken all the same is in both counts.
        let sum = taken.len() as u64 + lost + spool.len() as u64;
        prop_assert!(sum >= pushed, "{sum} of {pushed}");
    }
}
