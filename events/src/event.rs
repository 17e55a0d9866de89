//! An event as an emitter builds it.
//!
//! Promises: every [`Event`] becomes a [`Record`] that fits. Must never take its time, id or number from
//! anywhere but its arguments.

use std::borrow::Cow;

use ulid::Ulid;

use crate::{
    AuthDenied, BacklogAtRisk, Component, ComponentLifecycle, ConfigChange, DeliveriesDropped, DestinationFailing,
    DestinationRecovered, EventName, EventsDropped, Message, Moment, PoolPhaseChanged, ReconciliationComplete, Record,
    ResourceChanged, RouteNotFound, SCHEMA_VERSION, Scaling, Severity, TestEvent, Text, TextList, ToolCall,
    UpstreamError, cut, limits,
};

/// Who speaks: the same for every event of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `pool.id`
    pub pool_id: Text,
    /// `pool.name`
    pub pool_name: Option<Text>,
    /// `pool.namespace`
    pub pool_namespace: Option<Text>,
    /// `cluster.id`
    pub cluster_id: Option<Text>,
    /// `component.name`
    pub component: Component,
    /// `component.version`
    pub version: Text,
    /// `component.instance`
    pub instance: Text,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Body {
    ToolCall(Box<ToolCall>),
    AuthDenied(AuthDenied),
    RouteNotFound(RouteNotFound),
    UpstreamError(UpstreamError),
    ConfigChange(ConfigChange),
    EventsDropped(EventsDropped),
    ComponentLifecycle(ComponentLifecycle),
    Scaling(Scaling),
    ReconciliationComplete(ReconciliationComplete),
    PoolPhaseChanged(PoolPhaseChanged),
    ResourceChanged(ResourceChanged),
    DeliveriesDropped(DeliveriesDropped),
    DestinationFailing(DestinationFailing),
    DestinationRecovered(DestinationRecovered),
    BacklogAtRisk(BacklogAtRisk),
    TestEvent(TestEvent),
}

/// That an event stands for several of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// `repeat.count`, at least 1.
    pub count: u64,
    /// `repeat.request_ids`, the first 20.
    pub request_ids: TextList<{ limits::REPEAT_REQUEST_IDS }>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `event_id`; a retry repeats it.
    pub id: Ulid,
    /// `timestamp`
    pub at: Moment,
    /// `component.seq`
    pub seq: u64,
    /// On a joined event.
    pub repeat: Option<Repeat>,
    /// What happened.
    pub body: Body,
}

impl Body {
    /// The event's name in the catalogue.
    #[must_use]
    pub const fn name(&self) -> EventName {
        match self {
            Self::ToolCall(_) => EventName::ToolCall,
            Self::AuthDenied(_) => EventName::AuthDenied,
            Self::RouteNotFound(_) => EventName::RouteNotFound,
            Self::UpstreamError(_) => EventName::UpstreamError,
            Self::ConfigChange(_) => EventName::ConfigChange,
            Self::ComponentLifecycle(_) => EventName::ComponentLifecycle,
            Self::Scaling(_) => EventName::Scaling,
            Self::ReconciliationComplete(_) => EventName::ReconciliationComplete,
            Self::PoolPhaseChanged(_) => EventName::PoolPhaseChanged,
            Self::ResourceChanged(_) => EventName::ResourceChanged,
            Self::EventsDropped(_) | Self::DeliveriesDropped(_) => EventName::EventsDropped,
            Self::DestinationFailing(_) => EventName::DestinationFailing,
            Self::DestinationRecovered(_) => EventName::DestinationRecovered,
            Self::BacklogAtRisk(_) => EventName::BacklogAtRisk,
            Self::TestEvent(_) => EventName::TestEvent,
        }
    }

    const fn severity(&self) -> Severity {
        match self {
            Self::ToolCall(call) => call.outcome.severity(),
            Self::ComponentLifecycle(event) => event.severity(),
            Self::Scaling(event) => event.severity(),
            Self::ReconciliationComplete(event) => event.severity(),
            Self::PoolPhaseChanged(event) => event.severity(),
            Self::AuthDenied(_) | Self::RouteNotFound(_) | Self::BacklogAtRisk(_) => Severity::Warn,
            Self::UpstreamError(_)
            | Self::EventsDropped(_)
            | Self::DeliveriesDropped(_)
            | Self::DestinationFailing(_) => Severity::Error,
            Self::ConfigChange(_) | Self::ResourceChanged(_) | Self::DestinationRecovered(_) | Self::TestEvent(_) => {
                Severity::Info
            }
        }
    }

    const fn message(&self) -> Message {
        match self {
            Self::ToolCall(call) => call.outcome.message(),
            Self::AuthDenied(_) => AuthDenied::MESSAGE,
            Self::RouteNotFound(event) => event.message(),
            Self::UpstreamError(event) => event.message(),
            Self::ConfigChange(event) => event.message(),
            Self::EventsDropped(event) => event.message(),
            Self::ComponentLifecycle(event) => event.message(),
            Self::Scaling(event) => event.message(),
            Self::ReconciliationComplete(event) => event.message(),
            Self::PoolPhaseChanged(event) => event.message(),
            Self::ResourceChanged(event) => event.message(),
            Self::DeliveriesDropped(event) => event.message(),
            Self::DestinationFailing(_) => DestinationFailing::MESSAGE,
            Self::DestinationRecovered(_) => DestinationRecovered::MESSAGE,
            Self::BacklogAtRisk(_) => BacklogAtRisk::MESSAGE,
            Self::TestEvent(_) => TestEvent::MESSAGE,
        }
    }

    fn fill(self, record: &mut Record) {
        match self {
            Self::ToolCall(call) => call.fill(record),
            Self::AuthDenied(event) => event.fill(record),
            Self::RouteNotFound(event) => event.fill(record),
            Self::UpstreamError(event) => event.fill(record),
            Self::ConfigChange(event) => event.fill(record),
            Self::EventsDropped(event) => event.fill(record),
            Self::ComponentLifecycle(event) => event.fill(record),
            Self::Scaling(event) => event.fill(record),
            Self::ReconciliationComplete(event) => event.fill(record),
            Self::PoolPhaseChanged(event) => event.fill(record),
            Self::ResourceChanged(event) => event.fill(record),
            Self::DeliveriesDropped(event) => event.fill(record),
            Self::DestinationFailing(event) => event.fill(record),
            Self::DestinationRecovered(event) => event.fill(record),
            Self::BacklogAtRisk(event) => event.fill(record),
            Self::TestEvent(event) => event.fill(record),
        }
    }
}

impl Event {
    /// The flat form, cut to fit.
    #[must_use]
    pub fn into_record(self, source: &Source) -> Record {
        self.fitted(source).0
    }

    /// The JSON of the flat form: what goes into the stream.
    #[must_use]
    pub fn into_json(self, source: &Source) -> Vec<u8> {
        self.fitted(source).1
    }

    fn fitted(self, source: &Source) -> (Record, Vec<u8>) {
        let name = self.body.name();
        let mut record = Record::bare(
            Cow::Borrowed(SCHEMA_VERSION),
            self.id,
            self.at,
            name.class(),
            name,
            self.body.severity(),
            source.pool_id.clone(),
            source.component,
            source.version.clone(),
            source.instance.clone(),
            self.seq,
            self.body.message(),
        );
        record.pool_name.clone_from(&source.pool_name);
        record.pool_namespace.clone_from(&source.pool_namespace);
        record.cluster_id.clone_from(&source.cluster_id);
        if let Some(repeat) = self.repeat {
            record.repeat_count = Some(repeat.count.max(1));
            record.repeat_request_ids = (!repeat.request_ids.is_empty()).then_some(repeat.request_ids);
        }
        self.body.fill(&mut record);
        let json = cut::fit(&mut record);
        (record, json)
    }
}
