//! The audit stream in a real Redis: groups, leases, counting, dead letters, trimming.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use events::DroppedCause;
use exporter::stream::{Dead, Entry, Group, Keys, Loss, Opened, Settings, Stream, StreamError};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use testkit::redis_server::Server;

const KEY: &str = "audit:{pool-uid}:events";
const SOC: &str = "security/soc";

async fn stream(server: &Server) -> Stream {
    let settings = Settings { url: server.url().into(), password: None, ca_pem: None };
    Stream::connect(&settings, Arc::new(Keys::new("pool-uid"))).await.unwrap()
}

async fn group(server: &Server, consumer: &str) -> Group {
    let mut group = stream(server).await.group(SOC, consumer);
    group.open(now()).await.unwrap();
    group
}

fn now() -> Timestamp {
    Timestamp::from_second(1_795_233_600).unwrap()
}

/// Adds events with these numbers, as Armor does.
fn add(server: &Server, numbers: std::ops::Range<u64>) {
    for number in numbers {
        server.command::<String>(&["XADD", KEY, "*", "event", &number.to_string()]);
    }
}

fn ids(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.id.as_str()).collect()
}

fn numbers(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| std::str::from_utf8(&entry.event).unwrap().parse().unwrap()).collect()
}

/// One that a platform does not take, of that time.
fn refused(entry: &Entry, at: Timestamp) -> Dead<'_> {
    Dead { id: &entry.id, event: &entry.event, loss: Some((DroppedCause::Rejected, at)) }
}

/// The lease of a consumer lapses: as if it had been silent for 30 s.
fn lapse(server: &Server, consumer: &str) {
    assert_eq!(server.command::<u64>(&["DEL", &Keys::new("pool-uid").lease(SOC, consumer)]), 1, "{consumer} had one");
}

#[tokio::test]
async fn a_new_group_begins_with_the_next_event_and_keeps_its_place() {
    let server = Server::running(&[]);
    add(&server, 0..3);
    let mut group = stream(&server).await.group(SOC, "one");
    assert_eq!(group.open(now()).await.unwrap(), Opened::New);
    add(&server, 3..8);
    let read = group.read(2).await.unwrap();
    assert_eq!(numbers(&read.entries), [3, 4]);
    assert_eq!(group.open(now()).await.unwrap(), Opened::Found);
    assert_eq!(numbers(&group.read(10).await.unwrap().entries), [5, 6, 7]);
    assert!(group.read(10).await.unwrap().entries.is_empty());
    assert_eq!(stream(&server).await.state(SOC).await.unwrap().backlog, Some(5));
    assert_eq!(group.delivered(&ids(&read.entries), now()).await.unwrap(), 2);
    assert_eq!(group.delivered(&ids(&read.entries), now()).await.unwrap(), 0, "a repeat counts nothing");
    let state = stream(&server).await.state(SOC).await.unwrap();
    assert_eq!((state.backlog, state.pending, state.delivered), (Some(3), 3, 2));
    assert_eq!(state.last_delivered, Some(now()));
}

#[tokio::test]
async fn a_group_that_redis_lost_begins_at_what_is_left() {
    let server = Server::running(&[]);
    let mut one = group(&server, "one").await;
    add(&server, 0..4);
    one.read(10).await.unwrap();
    server.command::<u64>(&["XGROUP", "DESTROY", KEY, SOC]);
    assert!(matches!(one.read(10).await, Err(StreamError::NoGroup)));
    assert_eq!(one.open(now()).await.unwrap(), Opened::Again);
    assert_eq!(numbers(&one.read(10).await.unwrap().entries), [0, 1, 2, 3]);
    // Another process knows from what Redis kept of the group.
    server.command::<u64>(&["XGROUP", "DESTROY", KEY, SOC]);
    let mut other = stream(&server).await.group(SOC, "other");
    assert_eq!(other.open(now()).await.unwrap(), Opened::Again);
    // A Redis that came back empty has neither stream nor group.
    server.command::<String>(&["FLUSHALL"]);
    assert!(matches!(one.read(10).await, Err(StreamError::NoGroup)));
    assert_eq!(one.open(now()).await.unwrap(), Opened::Again);
    add(&server, 9..10);
    let read = one.read(10).await.unwrap();
    assert_eq!((numbers(&read.entries), read.lost), (vec![9], 0));
}

#[tokio::test]
async fn the_entries_of_the_dead_are_claimed_and_those_of_the_living_are_not() {
    let server = Server::running(&[]);
    let mut one = group(&server, "one").await;
    let mut two = group(&server, "two").await;
    add(&server, 0..6);
    let taken = one.read(4).await.unwrap().entries;
    assert_eq!(numbers(&two.read(10).await.unwrap().entries), [4, 5]);
    assert!(two.claim(10).await.unwrap().entries.is_empty(), "a living consumer was robbed");
    one.delivered(&ids(&taken[..1]), now()).await.unwrap();
    lapse(&server, "one");
    assert_eq!(numbers(&two.claim(2).await.unwrap().entries), [1, 2]);
    assert_eq!(numbers(&two.claim(10).await.unwrap().entries), [3]);
    // One that comes back has nothing any more, and is told.
    let (left, _) = one.pending("0", 10).await.unwrap();
    assert!(left.entries.is_empty());
    assert!(one.holds_lease());
    // One that has nothing and is gone is forgotten.
    lapse(&server, "one");
    two.claim(10).await.unwrap();
    let consumers: Vec<redis::Value> = server.command(&["XINFO", "CONSUMERS", KEY, SOC]);
    assert_eq!(consumers.len(), 1);
}

#[tokio::test]
async fn a_consumer_finds_again_what_it_had() {
    let server = Server::running(&[]);
    let mut one = group(&server, "one").await;
    add(&server, 0..5);
    let first = one.read(10).await.unwrap().entries;
    one.delivered(&ids(&first[1..2]), now()).await.unwrap();
    let (page, next) = one.pending("0", 2).await.unwrap();
    assert_eq!(numbers(&page.entries), [0, 2]);
    let (page, next) = one.pending(&next, 2).await.unwrap();
    assert_eq!(numbers(&page.entries), [3, 4]);
    assert!(one.pending(&next, 2).await.unwrap().0.entries.is_empty());
}

#[tokio::test]
async fn dead_letters_are_kept_with_their_code_and_acknowledged_at_once() {
    let server = Server::running(&[]);
    let mut one = group(&server, "one").await;
    add(&server, 0..3);
    let entries = one.read(10).await.unwrap().entries;
    let dead: Vec<Dead<'_>> = entries[..2].iter().map(|entry| refused(entry, now())).collect();
    assert_eq!(one.bury(&dead, "hec-6").await.unwrap(), 2);
    assert_eq!(one.bury(&dead, "hec-6").await.unwrap(), 0, "a repeat buries nothing twice");
    assert_eq!(one.skipped(&[&entries[2].id]).await.unwrap(), 1);
    let state = stream(&server).await.state(SOC).await.unwrap();
    assert_eq!((state.dead, state.dropped, state.delivered, state.backlog), (2, 2, 0, Some(0)));
    let letters: String =
        format!("{:?}", server.command::<redis::Value>(&["XRANGE", &Keys::new("pool-uid").dead(SOC), "-", "+"]));
    assert!(letters.contains("hec-6"), "{letters}");
    let mut stream = stream(&server).await;
    assert!(!stream.remove_unnamed(SOC, Duration::ZERO).await.unwrap(), "nobody knows how long nobody has named it");
    assert!(stream.remove_unnamed(SOC, Duration::ZERO).await.unwrap());
    assert_eq!(server.command::<Vec<String>>(&["KEYS", "audit:{pool-uid}:[dns]*"]), Vec::<String>::new());
}

#[tokio::test]
async fn a_loss_is_told_once_whoever_tells_it_and_what_comes_meanwhile_is_told_later() {
    let server = Server::running(&[]);
    let mut one = group(&server, "one").await;
    let (mut here, mut there) = (stream(&server).await, stream(&server).await);
    add(&server, 0..6);
    let entries = one.read(10).await.unwrap().entries;
    let second = |seconds: i64| Timestamp::from_second(1_795_233_600 + seconds).unwrap();
    let loss =
        |told, total, from, to| Loss { cause: DroppedCause::Rejected, told, total, from: second(from), to: second(to) };
    one.bury(&[refused(&entries[0], second(7)), refused(&entries[1], second(3))], "hec-6").await.unwrap();
    let quiet = Dead { loss: None, ..refused(&entries[2], second(1)) };
    one.bury(&[quiet], "hec-6").await.unwrap();
    let known = here.untold(SOC).await.unwrap();
    assert_eq!(known, [loss(0, 2, 3, 7)]);

    // Another one is lost before they are told, and both replicas tell.
    one.bury(&[refused(&entries[3], second(9))], "hec-6").await.unwrap();
    assert!(here.tell(SOC, &known[0], b"first").await.unwrap());
    assert!(!there.tell(SOC, &known[0], b"first").await.unwrap());
    assert!(!here.tell(SOC, &known[0], b"first").await.unwrap(), "an answer was lost");
    let rest = there.untold(SOC).await.unwrap();
    assert_eq!(rest, [loss(2, 3, 3, 9)]);
    assert!(there.tell(SOC, &rest[0], b"second").await.unwrap());
    assert_eq!(here.untold(SOC).await.unwrap(), []);
    one.bury(&[refused(&entries[4], second(20))], "hec-6").await.unwrap();
    assert_eq!(here.untold(SOC).await.unwrap(), [loss(3, 4, 20, 20)]);
    assert_eq!(server.command::<u64>(&["XLEN", KEY]), 8);
    let state = here.state(SOC).await.unwrap();
    assert_eq!((state.dropped, state.dead), (5, 5));
}

#[tokio::test]
async fn a_trim_takes_only_what_everybody_has_and_nobody_wants_to_keep() {
    let server = Server::running(&[]);
    let mut soc = group(&server, "one").await;
    let mut archive = stream(&server).await.group("security/archive", "one");
    archive.open(now()).await.unwrap();
    // Whole nodes are trimmed: make them small.
    server.command::<String>(&["CONFIG", "SET", "stream-node-max-entries", "1"]);
    add(&server, 0..10);
    let all = soc.read(10).await.unwrap().entries;
    soc.delivered(&ids(&all), now()).await.unwrap();
    let later = Timestamp::now() + jiff::SignedDuration::from_hours(2);
    let trim = async |at: Timestamp| stream(&server).await.trim(at, Duration::from_secs(3_600)).await.unwrap();
    assert_eq!(trim(later).await, 0, "the archive has read nothing");
    let kept = archive.read(6).await.unwrap().entries;
    archive.delivered(&ids(&kept[..3]), now()).await.unwrap();
    assert_eq!(trim(Timestamp::now()).await, 0, "an hour is kept in any case");
    assert_eq!(trim(later).await, 3, "what is pending stays");
    assert_eq!(server.command::<u64>(&["XLEN", KEY]), 7);
    // Nothing was lost by it.
    assert_eq!((archive.read(10).await.unwrap().lost, soc.read(10).await.unwrap().lost), (0, 0));
}

#[tokio::test]
async fn an_event_of_the_operator_is_added_once() {
    let server = Server::running(&[]);
    let mut stream = stream(&server).await;
    assert!(stream.emit("01J", b"{}").await.unwrap());
    assert!(!stream.emit("01J", b"{}").await.unwrap());
    assert!(stream.emit("01K", b"{}").await.unwrap());
    assert_eq!(server.command::<u64>(&["XLEN", KEY]), 2);
}

#[tokio::test]
async fn a_redis_without_memory_is_still_read_and_acknowledged() {
    let server = Server::running(&[]);
    let mut one = group(&server, "one").await;
    add(&server, 0..5);
    one.read(1).await.unwrap();
    server.command::<String>(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = redis::cmd("SET").arg(&["a", "b"]).query::<String>(&mut server.connect()).unwrap_err();
    assert_eq!(refused.code(), Some("OOM"));
    let read = one.read(10).await.unwrap();
    assert_eq!(numbers(&read.entries), [1, 2, 3, 4]);
    assert_eq!(one.delivered(&ids(&read.entries), now()).await.unwrap(), 4);
    assert!(one.holds_lease());
}

/// What may happen to a stream.
#[derive(Clone, Debug)]
enum Step {
    Add(u64),
    Trim(u64),
    Read(usize, usize),
    Deliver(usize),
    Lapse(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1..20u64).prop_map(Step::Add),
        (0..30u64).prop_map(Step::Trim),
        (0..2usize, 1..12usize).prop_map(|(who, count)| Step::Read(who, count)),
        (0..2usize).prop_map(Step::Deliver),
        (0..2usize).prop_map(Step::Lapse),
    ];
    prop::collection::vec(step, 1..25)
}

/// Whatever happens, every event is delivered, or counted as lost, or counted as possibly lost.
#[test]
fn every_event_is_delivered_or_counted() {
    let server = Server::running(&["--stream-node-max-entries", "1"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 60, ..Config::default() });
    let outcome = runner.run(&steps(), |steps| runtime.block_on(play(&server, &steps)));
    outcome.unwrap();
}

async fn play(server: &Server, steps: &[Step]) -> Result<(), TestCaseError> {
    server.command::<String>(&["FLUSHALL"]);
    let mut groups = [group(server, "a").await, group(server, "b").await];
    let mut held: [Vec<Entry>; 2] = Default::default();
    let (mut added, mut lost, mut possibly_lost) = (0, 0, 0);
    let mut delivered = BTreeSet::new();
    // At the end everything that is left is read and delivered by the first.
    let end = [Step::Lapse(1), Step::Read(0, 10_000), Step::Deliver(0)];
    for step in steps.iter().chain(&end) {
        match *step {
            Step::Add(count) => {
                add(server, added..added + count);
                added += count;
            }
            Step::Trim(left) => {
                server.command::<u64>(&["XTRIM", KEY, "MAXLEN", "=", &left.to_string()]);
            }
            Step::Read(who, count) => {
                let read = groups[who].read(count).await.unwrap();
                lost += read.lost;
                held[who].extend(read.entries);
                let claimed = groups[who].claim(count).await.unwrap();
                possibly_lost += claimed.possibly_lost;
                held[who].extend(claimed.entries);
            }
            Step::Deliver(who) => {
                let sent = std::mem::take(&mut held[who]);
                delivered.extend(numbers(&sent));
                groups[who].delivered(&ids(&sent), now()).await.unwrap();
            }
            // It forgets what it held, and its lease ends.
            Step::Lapse(who) => {
                held[who].clear();
                server.command::<u64>(&["DEL", &Keys::new("pool-uid").lease(SOC, ["a", "b"][who])]);
                if who == 0 {
                    let (mine, _) = groups[0].pending("0", 10_000).await.unwrap();
                    possibly_lost += mine.possibly_lost;
                    held[0].extend(mine.entries);
                }
            }
        }
    }
    let accounted = delivered.len() as u64 + lost + possibly_lost;
    prop_assert_eq!(accounted, added, "{} delivered, {} lost, {} possibly lost", delivered.len(), lost, possibly_lost);
    let state = stream(server).await.state(SOC).await.unwrap();
    prop_assert_eq!((state.lost, state.possibly_lost, state.backlog), (lost, possibly_lost, Some(0)));
    // And is there to be told.
    let untold = stream(server).await.untold(SOC).await.unwrap();
    let of = |cause| untold.iter().filter(|loss| loss.cause == cause).map(|loss| loss.total).sum::<u64>();
    prop_assert_eq!((of(DroppedCause::Trimmed), of(DroppedCause::TrimmedPending)), (lost, possibly_lost));
    Ok(())
}

#[tokio::test]
async fn dead_letters_are_bounded_and_all_of_them_are_counted_and_nothing_stays_for_ever() {
    const DEAD: u64 = 2_500;
    let server = Server::running(&[]);
    let mut one = group(&server, "one").await;
    add(&server, 0..DEAD);
    let mut left = DEAD;
    while left > 0 {
        let entries = one.read(500).await.unwrap().entries;
        let dead: Vec<Dead> = entries.iter().map(|entry| refused(entry, now())).collect();
        assert_eq!(one.bury(&dead, "hec-6").await.unwrap(), entries.len() as u64);
        left -= entries.len() as u64;
    }
    let keys = Keys::new("pool-uid");
    let kept: u64 = server.command(&["XLEN", &keys.dead(SOC)]);
    // Redis trims whole nodes of 100 entries.
    assert!((1_000..1_100).contains(&kept), "{kept}");
    let newest: Vec<(String, Vec<String>)> = server.command(&["XREVRANGE", &keys.dead(SOC), "+", "-", "COUNT", "1"]);
    assert_eq!(newest[0].1[..4], ["event", &(DEAD - 1).to_string(), "code", "hec-6"]);
    let mut stream = stream(&server).await;
    assert_eq!(stream.state(SOC).await.unwrap().dropped, DEAD);

    // A pool that is gone leaves nothing behind after a week.
    stream.unrouted("security", 3).await.unwrap();
    stream.touch(&[SOC.to_owned()], &["security".to_owned()]).await.unwrap();
    let week = 7 * 24 * 3_600;
    for key in [keys.dead(SOC), keys.state(SOC), keys.export("security")] {
        let seconds: i64 = server.command(&["TTL", &key]);
        assert!((week - 60..=week).contains(&seconds), "{key}: {seconds}");
    }
}
