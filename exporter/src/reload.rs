//! From a change of the directories to another running configuration.
//!
//! Promises: read, checked, then taken over; one that is refused leaves the last good one running and says why, once.
//! Owns the tasks of the destinations. Must never stop because of what a file says.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use daemon::files::{ConfigError, Files, Secrets};
use daemon::logging::LogControl;
use daemon::redis::Settings;
use daemon::watch::Directories;
use secrecy::SecretSlice;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::config::{CONFIG_FILE, Document, parse};
use crate::link;
use crate::metrics::Metrics;
use crate::monitor::{Gauges, Monitor, Plan};
use crate::setup::{self, Environment, Setup};
use crate::slot::{self, Shared, Wanted};
use crate::stream::{Keys, Stream};
use crate::voice::Voice;
use crate::worker::IN_FLIGHT;

/// What one may hold at least.
const LEAST_SHARE: usize = 256 << 10;

/// What the API needs of the running configuration.
#[derive(Clone)]
pub(crate) struct Running {
    pub document: Arc<Document>,
    pub token: Arc<SecretSlice<u8>>,
    pub credentials_revision: Option<String>,
    pub voice: Arc<Voice>,
    pub stream: watch::Receiver<Option<Stream>>,
}

/// How it stands with the directories.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigState {
    pub last_error: Option<String>,
}

/// What the parts of the process see.
pub(crate) struct View {
    pub board: Arc<Board>,
    pub metrics: Metrics,
    pub running: watch::Sender<Option<Running>>,
    pub config: watch::Sender<ConfigState>,
}

/// The task.
pub(crate) struct Reloader {
    view: Arc<View>,
    gauges: Arc<Gauges>,
    environment: Environment,
    logs: LogControl,
    in_flight: Arc<AtomicUsize>,
    share: Arc<AtomicUsize>,
    target: watch::Sender<link::Target>,
    stream: watch::Sender<Option<Stream>>,
    bell: watch::Sender<u64>,
    plan: watch::Sender<Plan>,
    slots: HashMap<String, Slot>,
    /// Of the destinations.
    tasks: JoinSet<&'static str>,
    /// Of the pool as a whole, which go on until no destination is served any more.
    keepers: JoinSet<&'static str>,
    keepers_stop: CancellationToken,
    stop: CancellationToken,
}

struct Slot {
    fingerprint: [u8; 32],
    wanted: watch::Sender<Wanted>,
    stop: CancellationToken,
}

impl Reloader {
    pub(crate) fn new(environment: Environment, logs: LogControl, stop: CancellationToken) -> (Self, Arc<View>) {
        let (board, gauges, in_flight) = <(Arc<Board>, Arc<Gauges>, Arc<AtomicUsize>)>::default();
        let metrics = Metrics::new(board.clone(), gauges.clone(), in_flight.clone());
        let view =
            Arc::new(View { board, metrics, running: watch::Sender::default(), config: watch::Sender::default() });
        let reloader = Self {
            view: view.clone(),
            gauges,
            environment,
            logs,
            in_flight,
            share: Arc::default(),
            target: watch::Sender::default(),
            stream: watch::Sender::default(),
            bell: watch::Sender::default(),
            plan: watch::Sender::default(),
            slots: HashMap::new(),
            tasks: JoinSet::new(),
            keepers: JoinSet::new(),
            keepers_stop: CancellationToken::new(),
            stop,
        };
        (reloader, view)
    }

    /// Runs until told to stop; then waits for everything that it started.
    pub(crate) async fn run(mut self, mut directories: Directories) {
        loop {
            let changed = tokio::select! {
                () = self.stop.cancelled() => break,
                changed = directories.changed() => changed,
            };
            if let Err(error) = changed.and_then(|files| self.apply(files)) {
                self.refuse(&error);
            }
            while self.tasks.try_join_next().is_some() {}
        }
        // What is on its way is acknowledged before the connection goes.
        for slot in self.slots.values() {
            slot.stop.cancel();
        }
        while self.tasks.join_next().await.is_some() {}
        // And what that lost is told.
        self.keepers_stop.cancel();
        while self.keepers.join_next().await.is_some() {}
    }

    fn refuse(&self, error: &ConfigError) {
        self.view.metrics.reload("refused");
        self.view.metrics.config_synchronized.set(0);
        let running = self.view.running.borrow().is_some();
        tracing::error!(%error, running, "configuration refused");
        self.view.config.send_replace(ConfigState { last_error: Some(error.to_string()) });
    }

    fn apply(&mut self, files: Files) -> Result<(), ConfigError> {
        let (text, secrets) = files.into_parts();
        let document = parse(&text)?;
        let token = secrets.require(&document.admin.token_file, "admin.tokenFile")?.to_vec();
        let redis = Settings::read(&document.redis, &secrets)?;
        redis.client().map_err(|invalid| ConfigError::field(CONFIG_FILE, "redis", invalid))?;
        let before = self.view.running.borrow().clone();
        let needs_restart = before.as_ref().and_then(|before| needs_restart(&before.document, &document));
        let voice = match &before {
            Some(before) => before.voice.clone(),
            None => {
                let voice = Voice::new(&document, &self.environment.instance);
                Arc::new(voice.ok_or_else(|| ConfigError::field(CONFIG_FILE, "pool.id", "must not be empty"))?)
            }
        };
        self.logs.set(document.log_level);
        let target = Some((redis, Arc::new(Keys::new(&document.pool.id))));
        if before.is_none() {
            self.start(&voice);
        }
        self.target.send_if_modified(|known| {
            let differs = *known != target;
            *known = target;
            differs
        });
        self.serve(&document, &secrets, &voice);
        self.plan.send_replace(plan(&document));
        self.view.metrics.reload("accepted");
        self.view.metrics.config_synchronized.set(i64::from(needs_restart.is_none()));
        self.view.config.send_replace(ConfigState {
            last_error: needs_restart
                .map(|field| format!("{field} can not be changed without a restart: the old value stays in use")),
        });
        tracing::info!(
            revision = document.revision,
            destinations = self.slots.len(),
            needs_restart,
            "configuration in use"
        );
        self.view.running.send_replace(Some(Running {
            document: Arc::new(document),
            token: Arc::new(SecretSlice::from(token)),
            credentials_revision: secrets.revision(),
            voice,
            stream: self.stream.subscribe(),
        }));
        Ok(())
    }

    /// Starts what serves the pool as a whole.
    fn start(&mut self, voice: &Arc<Voice>) {
        let monitor = Monitor {
            board: self.view.board.clone(),
            gauges: self.gauges.clone(),
            voice: voice.clone(),
            stream: self.stream.subscribe(),
            plan: self.plan.subscribe(),
        };
        self.keepers.spawn(monitor.run(self.keepers_stop.clone()));
        let (target, stream, bell) = (self.target.subscribe(), self.stream.clone(), self.bell.clone());
        self.keepers.spawn(link::run(target, stream, bell, self.keepers_stop.clone()));
    }

    /// Gives every destination that changed its new configuration, and ends those that are gone.
    fn serve(&mut self, document: &Document, secrets: &Secrets, voice: &Arc<Voice>) {
        let exports: Vec<String> = document.exports.iter().map(|export| export.name.clone()).collect();
        let ids: Vec<String> = destinations(document).map(|(id, _)| id).collect();
        self.slots.retain(|id, slot| {
            let stays = ids.contains(id);
            if !stays {
                slot.stop.cancel();
            }
            stays
        });
        self.view.board.keep(&ids, &exports);
        self.share.store((IN_FLIGHT / ids.len().max(1)).max(LEAST_SHARE), Ordering::Relaxed);
        for name in &exports {
            self.view.board.unrouted(name);
        }
        // The first enabled destination of each export counts what goes nowhere.
        let counting: BTreeSet<String> = document
            .exports
            .iter()
            .filter_map(|export| {
                let first = export.destinations.iter().find(|destination| destination.enabled)?;
                Some(setup::id(&export.name, &first.name))
            })
            .collect();
        let slots = &self.slots;
        let unchanged = |id: &str, fingerprint: &[u8; 32]| {
            let fingerprint = with(fingerprint, counting.contains(id));
            slots.get(id).is_some_and(|slot| slot.fingerprint == fingerprint)
        };
        for setup in setup::all(document, secrets, &self.environment, unchanged) {
            let counts = counting.contains(&setup.id);
            let unrouted = counts.then(|| self.view.board.unrouted(&setup.export));
            self.place(setup, unrouted, counts, voice);
        }
    }

    fn place(&mut self, setup: Setup, unrouted: Option<Arc<crate::board::Unrouted>>, counts: bool, voice: &Arc<Voice>) {
        let (id, fingerprint) = (setup.id.clone(), with(&setup.fingerprint, counts));
        let wanted = Wanted { setup: Arc::new(setup), unrouted };
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.fingerprint = fingerprint;
            slot.wanted.send_replace(wanted);
            return;
        }
        let (wanted, receiver) = watch::channel(wanted);
        let stop = CancellationToken::new();
        let shared = Shared {
            stream: self.stream.subscribe(),
            bell: self.bell.subscribe(),
            share: self.share.clone(),
            in_flight: self.in_flight.clone(),
            instance: self.environment.instance.clone(),
            voice: voice.clone(),
        };
        let entry = self.view.board.entry(&id);
        let tend = slot::tend(entry, receiver, shared, stop.clone());
        self.tasks.spawn(async move {
            tend.await;
            "destination"
        });
        self.slots.insert(id, Slot { fingerprint, wanted, stop });
    }
}

/// A destination that begins to count has changed too.
fn with(fingerprint: &[u8; 32], counts: bool) -> [u8; 32] {
    Sha256::new().chain_update(fingerprint).chain_update([u8::from(counts)]).finalize().into()
}

fn destinations(document: &Document) -> impl Iterator<Item = (String, bool)> + '_ {
    document.exports.iter().flat_map(|export| {
        export.destinations.iter().map(|destination| {
            let replays = export.replay.as_ref().is_some_and(|replay| replay.destination == destination.name);
            (setup::id(&export.name, &destination.name), replays)
        })
    })
}

fn plan(document: &Document) -> Plan {
    Plan {
        groups: destinations(document).map(|(id, _)| id).chain(document.keep.iter().cloned()).collect(),
        without_replay: destinations(document).filter(|(_, replays)| !replays).map(|(id, _)| id).collect(),
        max_bytes: document.audit.stream_max_bytes,
        retain: document.audit.retain.0,
    }
}

/// The field that differs and can not be changed in a running process.
fn needs_restart(old: &Document, new: &Document) -> Option<&'static str> {
    if old.admin.port != new.admin.port {
        return Some("admin.port");
    }
    (old.pool != new.pool || old.cluster_id != new.cluster_id).then_some("pool")
}
