//! The task of one destination: serves it as its newest configuration says, and tells how it stands.
//!
//! Promises: a new configuration takes over where the old one was, with nothing dropped in between: what was read and not
//! acknowledged stays this consumer's. One destination's failure is told once, by one of the replicas.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use events::{Body, DestinationFailing, DestinationRecovered, Record, Text};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::wire::State;
use crate::board::{Entry, Unrouted, of_condition};
use crate::platform::Stdout;
use crate::setup::{Ready, Setup};
use crate::stream::{Again, Note, Stream, StreamError};
use crate::voice::Voice;
use crate::worker::{Condition, Delivery, Router, Worker};

/// A destination that is failing for this long is worth an event.
const FAILING_AFTER: Duration = Duration::from_secs(30);
/// The flag that says that the trail was told so.
const FAILING: &str = "failing";
/// How often that is looked at, and what Redis did not take is told again.
const LOOK: Duration = Duration::from_secs(5);
/// Between two tries of a Redis that fails.
const REDIS_PAUSE: Duration = Duration::from_secs(1);

/// What the destinations of a process share.
#[derive(Clone)]
pub struct Shared {
    /// The pool's stream, once it is connected.
    pub stream: watch::Receiver<Option<Stream>>,
    /// Changes when something was added to the stream.
    pub bell: watch::Receiver<u64>,
    /// What one destination may hold in memory.
    pub share: Arc<AtomicUsize>,
    /// What all of them hold.
    pub in_flight: Arc<AtomicUsize>,
    /// The consumer's name.
    pub instance: String,
    /// Who speaks.
    pub voice: Arc<Voice>,
}

/// What a destination is at present.
#[derive(Clone)]
pub struct Wanted {
    /// Its configuration.
    pub setup: Arc<Setup>,
    /// Where it counts the events that no route of its export takes; one destination of each export does.
    pub unrouted: Option<Arc<Unrouted>>,
}

/// Runs until told to stop.
pub async fn tend(entry: Arc<Entry>, mut wanted: watch::Receiver<Wanted>, shared: Shared, stop: CancellationToken) {
    let mut streams = shared.stream.clone();
    while !stop.is_cancelled() {
        let now = wanted.borrow_and_update().clone();
        let stream = streams.borrow_and_update().clone();
        let changed = stop.child_token();
        let serve = serve(&entry, &now, stream, &shared, &changed);
        tokio::pin!(serve);
        tokio::select! {
            () = &mut serve => {}
            () = async {
                tokio::select! {
                    () = stop.cancelled() => {}
                    gone = wanted.changed() => if gone.is_err() { stop.cancel() },
                    gone = streams.changed() => if gone.is_err() { stop.cancel() },
                }
            } => {
                changed.cancel();
                serve.await;
            }
        }
    }
}

async fn serve(entry: &Arc<Entry>, wanted: &Wanted, stream: Option<Stream>, shared: &Shared, stop: &CancellationToken) {
    let setup = &wanted.setup;
    let ready = match &setup.ready {
        Err(invalid) => {
            tracing::error!(destination = entry.id, %invalid, "the destination can not be set up");
            entry.update(|shown| {
                shown.state = State::Invalid;
                shown.code = None;
                shown.field = Some(invalid.field.to_owned());
                shown.ready = None;
            });
            stop.cancelled().await;
            return;
        }
        Ok(ready) => ready.clone(),
    };
    entry.update(|shown| {
        shown.ready = Some(ready.clone());
        if matches!(shown.state, State::Invalid | State::Disabled) || !setup.enabled {
            shown.state = if setup.enabled { State::Idle } else { State::Disabled };
            (shown.code, shown.field) = (None, None);
        }
    });
    let Some(stream) = stream else {
        // It comes with a change.
        stop.cancelled().await;
        return;
    };
    let mut group = stream.group(&entry.id, &shared.instance).had_before(entry.has_group());
    while let Err(error) = group.open(Timestamp::now()).await {
        tracing::warn!(destination = entry.id, %error, "the consumer group can not be made");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(REDIS_PAUSE) => {}
        }
    }
    entry.found_group();
    if !setup.enabled {
        let nothing: Arc<Router> = Arc::new(|_| None);
        let worker = Worker::new(group, Arc::new(Stdout), nothing, Delivery::default());
        worker.with_tally(entry.tally.clone()).with_bell(shared.bell.clone()).run(stop.clone()).await;
        return;
    }
    let worker =
        Worker::new(group, ready.platform.clone(), router(&ready, wanted.unrouted.clone()), ready.delivery.clone())
            .with_privacy(ready.privacy.clone())
            .with_tally(entry.tally.clone())
            .with_memory(shared.share.clone(), shared.in_flight.clone())
            .with_bell(shared.bell.clone());
    let condition = worker.condition();
    let again = async {
        if let Some((id, again)) = &setup.replay {
            replay(entry, &ready, stream.clone(), shared, (id, *again), stop).await;
        }
    };
    let teller = stop.child_token();
    let work = async {
        tokio::join!(worker.run(stop.clone()), again);
        teller.cancel();
    };
    tokio::join!(work, tell(entry, condition, stream.clone(), shared, &teller));
}

/// Chooses the events of a destination, and counts those of its export that go nowhere.
fn router(ready: &Ready, unrouted: Option<Arc<Unrouted>>) -> Arc<Router> {
    let (selection, routes) = (ready.selection.clone(), ready.routes.clone());
    Arc::new(move |record: &Record| {
        if let Some(count) = &unrouted
            && routes.is_unrouted(record)
        {
            count.count();
        }
        selection.choose(record)
    })
}

/// Sends again what the spec asks for, once for each id.
async fn replay(
    entry: &Entry,
    ready: &Ready,
    mut stream: Stream,
    shared: &Shared,
    (id, again): (&str, Again),
    stop: &CancellationToken,
) {
    loop {
        let step = async {
            let Some((group, last)) = stream.replay(&entry.id, &shared.instance, id, again).await? else {
                return Ok(true);
            };
            tracing::info!(destination = entry.id, replay = id, "events are sent again");
            Worker::new(group, ready.platform.clone(), router(ready, None), ready.delivery.clone())
                .with_privacy(ready.privacy.clone())
                .with_memory(shared.share.clone(), shared.in_flight.clone())
                .until(&last)
                .run(stop.clone())
                .await;
            // What another replica still has is that one's to finish.
            stream.replayed(&entry.id, id, again).await
        };
        match step.await {
            Ok(true) => return,
            Ok(false) => {}
            Err::<bool, StreamError>(error) => {
                tracing::warn!(destination = entry.id, replay = id, %error, "the replay waits for Redis");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Tells the trail, if no other replica has.
async fn say_once(
    stream: &mut Stream,
    shared: &Shared,
    id: &str,
    failing: bool,
    body: Body,
) -> Result<(), StreamError> {
    if !stream.flag(id, FAILING, failing, FAILING_AFTER).await? {
        return Ok(());
    }
    let said = shared.voice.say(stream, body).await;
    if said.is_err() {
        // So that it is told later. A Redis that takes neither is one that will have forgotten more than this.
        let _ = stream.flag(id, FAILING, !failing, Duration::ZERO).await;
    }
    said
}

/// Tells the board, the other replicas and the trail how it stands.
async fn tell(
    entry: &Entry,
    mut condition: watch::Receiver<Condition>,
    mut stream: Stream,
    shared: &Shared,
    stop: &CancellationToken,
) {
    // What the others are still to be told, and whether it is news.
    let mut untold: Option<(Note, bool)> = None;
    // A process before this one, of the same name, may have left what it said last.
    let mut inherits = entry.shown().state == State::Idle;
    let mut failing_since: Option<Instant> = None;
    // An earlier process may have left the flag.
    let mut cleared = false;
    // It is known here that the trail was told of this failure, by whichever replica.
    let mut failure_told = false;
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = condition.changed() => if changed.is_err() { return },
            _ = look.tick() => {}
        }
        let now = condition.borrow_and_update().clone();
        let (state, code, field) = of_condition(&now);
        let before = entry.shown();
        let note = || Note { condition: state.as_str().to_owned(), code: code.clone(), field: field.clone() };
        if state != State::Idle && (state, &code, &field) != (before.state, &before.code, &before.field) {
            entry.update(|shown| {
                shown.state = state;
                shown.code.clone_from(&code);
                shown.field.clone_from(&field);
            });
            if state == State::Delivering {
                tracing::info!(destination = entry.id, "delivering");
            } else {
                tracing::warn!(destination = entry.id, state = state.as_str(), code, field, "not delivering");
            }
            untold = Some((note(), true));
        } else if state != State::Idle && untold.is_none() && before.queue.note.is_none() {
            // Whoever had news last is gone.
            untold = Some((note(), false));
        }
        let told = async {
            if inherits {
                stream.take_back(&entry.id, &shared.instance).await?;
                inherits = false;
            }
            if let Some((note, news)) = &untold {
                stream.note(&entry.id, note, &shared.instance, *news).await?;
                untold = None;
            }
            match state {
                State::Idle => {}
                State::Delivering => {
                    failing_since = None;
                    failure_told = false;
                    if !cleared {
                        // A flag that nobody set is not cleared, and nothing is told.
                        if let Some(destination) = Text::new(&entry.id) {
                            let body = Body::DestinationRecovered(DestinationRecovered { destination });
                            say_once(&mut stream, shared, &entry.id, false, body).await?;
                        }
                        cleared = true;
                    }
                }
                _ if failing_since.get_or_insert_with(Instant::now).elapsed() < FAILING_AFTER => {}
                _ if failure_told => {
                    if !stream.is_flagged(&entry.id, FAILING).await? {
                        // Another replica has told that it recovered, perhaps just now: this one tries again before long.
                        failing_since = None;
                        failure_told = false;
                    }
                }
                _ => {
                    cleared = false;
                    if let (Some(destination), Some(cause)) =
                        (Text::new(&entry.id), Text::new(code.as_deref().unwrap_or("unknown")))
                    {
                        let body = Body::DestinationFailing(DestinationFailing { destination, cause });
                        say_once(&mut stream, shared, &entry.id, true, body).await?;
                    }
                    failure_told = true;
                }
            }
            Ok::<(), StreamError>(())
        };
        if let Err(error) = told.await {
            tracing::debug!(destination = entry.id, %error, "the state is told later");
        }
    }
}
