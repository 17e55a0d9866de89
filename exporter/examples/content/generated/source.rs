//! The one list of alerts and panels, in canonical keys and values.

/// A key and the values of which it has one.
pub type Is = (&'static str, &'static [&'static str]);

/// Events of which one of these groups of conditions is true.
pub type Filter = &'static [&'static [Is]];

/// When an alert fires, within its window and for one value of its subject.
#[derive(Clone, Copy)]
pub enum Trigger {
    /// At this many events.
    Count(u32),
    /// At more than usual: by three standard deviations of the subject's own last week and at least `least`, where a
    /// platform can say that in a search; otherwise at `fixed`.
    Unusual { least: u32, fixed: u32 },
}

/// Whom events are counted by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Who called.
    Principal,
    /// Where it came from.
    Address,
}

impl Subject {
    /// The keys that say it: the first that an event has. A principal has an id or an email address or both, and privacy
    /// may have hashed them; who is let in anonymously has neither, and is known by the address.
    pub const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Principal => {
                &["user.id", "user.email", "user.id_hash", "user.email_hash", "client.ip", "client.ip_hash"]
            }
            Self::Address => &["client.ip", "client.ip_hash"],
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Medium,
    High,
}

/// One alert.
pub struct Alert {
    /// Also the name of files.
    pub id: &'static str,
    /// Of the rule that finds events, and of the one that counts them.
    pub uuids: [&'static str; 2],
    pub title: &'static str,
    pub description: &'static str,
    pub level: Level,
    pub filter: Filter,
    /// Whom it is counted by.
    pub subject: Subject,
    /// Keys whose values tell more.
    pub details: &'static [&'static str],
    pub trigger: Trigger,
    pub window_minutes: u32,
    /// MITRE ATT&CK: tactic and technique.
    pub attack: (&'static str, &'static str),
}

/// What a panel draws.
#[derive(Clone, Copy)]
pub enum Draw {
    /// Events over time, by one key.
    OverTime(&'static str),
    /// The most frequent values of these keys.
    Top(&'static [&'static str]),
    /// The principals with most events.
    Principals,
    /// The 95th percentile of a duration, by these keys.
    Percentile(&'static str, &'static [&'static str]),
}

/// One panel of a dashboard.
pub struct Panel {
    pub id: &'static str,
    pub title: &'static str,
    pub filter: Filter,
    pub draw: Draw,
}

/// How many values of a key a panel shows.
pub const TOP: u32 = 10;

pub const ALERTS: &[Alert] = &[
    Alert {
        id: "policy-violations",
        uuids: ["8d1f4a52-0d0c-4a0e-9c55-6f1f7f0a1c01", "8d1f4a52-0d0c-4a0e-9c55-6f1f7f0a1c02"],
        title: "Policy violations",
        description: "One principal's tool calls were blocked by policies five times in ten minutes.",
        level: Level::Medium,
        filter: &[&[("event", &["tool_call"]), ("action.reason", &["interceptor_denied"])]],
        subject: Subject::Principal,
        details: &["policy.name", "tool.name", "mcp.server_name"],
        trigger: Trigger::Count(5),
        window_minutes: 10,
        attack: ("Execution", "T1059"),
    },
    Alert {
        id: "secrets-in-arguments",
        uuids: ["8d1f4a52-0d0c-4a0e-9c55-6f1f7f0a1c03", "8d1f4a52-0d0c-4a0e-9c55-6f1f7f0a1c04"],
        title: "Secrets in arguments",
        description: "The arguments of a tool call held a credential. The event names its kind and never its text.",
        level: Level::High,
        filter: &[&[("event", &["secret_detected"])]],
        subject: Subject::Principal,
        details: &["mcp.server_name", "request.id"],
        trigger: Trigger::Count(1),
        window_minutes: 10,
        attack: ("Exfiltration", "T1048"),
    },
    Alert {
        id: "volume-anomalies",
        uuids: ["8d1f4a52-0d0c-4a0e-9c55-6f1f7f0a1c05", "8d1f4a52-0d0c-4a0e-9c55-6f1f7f0a1c06"],
        title: "Volume anomalies",
        description: "One principal made far more tool calls in an hour than it usually does.",
        level: Level::Medium,
        filter: &[&[("event", &["tool_call"])]],
        subject: Subject::Principal,
        details: &["tool.name", "mcp.server_name", "agent.name"],
        trigger: Trigger::Unusual { least: 100, fixed: 1_000 },
        window_minutes: 60,
        attack: ("Collection", "T1119"),
    },
    Alert {
        id: "scope-violations",
        uuids: ["8d1f4a52-0d0c-4a0e-9c55-6f1f7f0a1c07", "8d1f4a52-0d0c-4a0e-9c55-6f1f7f0a1c08"],
        title: "Scope violations",
        description: "One principal asked three times in ten minutes for tools that it may not use or that are not there for it.",
        level: Level::Medium,
        filter: &[
            &[("event", &["tool_call"]), ("action.reason", &["authz_denied"])],
            &[("event", &["route_not_found"]), ("route.cause", &["unknown_tool"])],
        ],
        subject: Subject::Principal,
        details: &["event", "tool.name", "mcp.server_name"],
        trigger: Trigger::Count(3),
        window_minutes: 10,
        attack: ("Discovery", "T1526"),
    },
    Alert {
        id: "authentication-anomalies",
        uuids: ["8d1f4a52-0d0c-4a0e-9c55-6f1f7f0a1c09", "8d1f4a52-0d0c-4a0e-9c55-6f1f7f0a1c10"],
        title: "Authentication anomalies",
        description: "Credentials from one address were refused twenty times in ten minutes.",
        level: Level::High,
        filter: &[&[("event", &["auth_denied"])]],
        subject: Subject::Address,
        details: &["auth.failure", "pool.name"],
        trigger: Trigger::Count(20),
        window_minutes: 10,
        attack: ("CredentialAccess", "T1110"),
    },
];

pub const PANELS: &[Panel] = &[
    Panel {
        id: "calls",
        title: "Tool calls by outcome",
        filter: &[&[("event", &["tool_call"])]],
        draw: Draw::OverTime("status"),
    },
    Panel {
        id: "blocked",
        title: "Blocked tool calls by reason",
        filter: &[&[("event", &["tool_call"]), ("action", &["blocked"])]],
        draw: Draw::OverTime("action.reason"),
    },
    Panel {
        id: "principals",
        title: "Principals with most tool calls",
        filter: &[&[("event", &["tool_call"])]],
        draw: Draw::Principals,
    },
    Panel {
        id: "credentials",
        title: "Refused credentials by address and cause",
        filter: &[&[("event", &["auth_denied"])]],
        draw: Draw::Top(&["client.ip", "auth.failure"]),
    },
    Panel {
        id: "durations",
        title: "Time of tool calls, 95th percentile",
        filter: &[&[("event", &["tool_call"])]],
        draw: Draw::Percentile("duration.total_ms", &["mcp.server_name", "tool.name"]),
    },
];
