//! Conditions, computed without a clock of their own and kept stable over time.

use crds::status::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A stable reason and a sentence with object, field and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// CamelCase word for programs.
    pub reason: &'static str,
    /// Sentence for people.
    pub message: String,
}

impl Problem {
    /// A problem with its message.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Problem { reason, message: message.into() }
    }
}

/// The conditions of one object while its status is computed.
#[derive(Debug)]
pub struct Conditions<'a> {
    previous: &'a [Condition],
    generation: Option<i64>,
    now: Time,
    list: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    /// Starts from the conditions that the object has now.
    pub fn new(previous: &'a [Condition], generation: Option<i64>, now: Time) -> Self {
        Conditions { previous, generation, now, list: Vec::new() }
    }

    /// Sets a condition; its transition time moves only when `status` changes.
    pub fn set(&mut self, type_: &str, status: Option<bool>, reason: &str, message: impl Into<String>) {
        let status = status.map_or("Unknown", |yes| if yes { "True" } else { "False" }).to_owned();
        let since = self.previous(type_).filter(|old| old.status == status);
        self.list.push(Condition {
            type_: type_.to_owned(),
            last_transition_time: since.map_or(self.now.clone(), |old| old.last_transition_time.clone()),
            status,
            observed_generation: self.generation,
            reason: reason.to_owned(),
            message: message.into(),
        });
    }

    /// Sets a condition from an outcome: true with `reason` and `message`, or false with the problem's.
    pub fn set_outcome(&mut self, type_: &str, problem: Option<&Problem>, reason: &str, message: impl Into<String>) {
        match problem {
            None => self.set(type_, Some(true), reason, message),
            Some(problem) => self.set(type_, Some(false), problem.reason, problem.message.clone()),
        }
    }

    /// Keeps a condition as it was; an absent one becomes Unknown.
    pub fn keep(&mut self, type_: &str) {
        match self.previous(type_) {
            Some(old) => self.list.push(old.clone()),
            None => self.set(type_, None, "NotYetKnown", "Not looked at yet."),
        }
    }

    /// Keeps every condition of the round before that was not set in this one.
    pub fn keep_rest(&mut self) {
        let rest = self.previous.iter().filter(|old| self.get(&old.type_).is_none()).cloned().collect::<Vec<_>>();
        self.list.extend(rest);
    }

    /// A condition that was set in this round.
    pub fn get(&self, type_: &str) -> Option<&Condition> {
        self.list.iter().find(|condition| condition.type_ == type_)
    }

    /// A condition of the round before.
    pub fn previous(&self, type_: &str) -> Option<&'a Condition> {
        self.previous.iter().find(|condition| condition.type_ == type_)
    }

    /// The first of these conditions that is not true.
    pub fn first_untrue(&self, types: &[&str]) -> Option<&Condition> {
        types.iter().filter_map(|type_| self.get(type_)).find(|condition| condition.status != "True")
    }

    /// The finished list.
    pub fn finish(self) -> Vec<Condition> {
        self.list
    }
}
