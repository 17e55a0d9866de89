//! Events of 1 KB: those of successful tool calls, with values that differ as they do in a real stream, so that
//! compression is not flattered.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// The time of every event id, in milliseconds of Unix time: what begins with it is one of our ids.
const ID_TIME: u64 = 1_795_233_600_000;
/// Characters of an id before those that are its number. The number has 40 bits.
const ID_FIXED: usize = 18;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const USERS: u32 = 500;
const TOOLS: [(&str, &str); 6] = [
    ("create_ticket", "crm"),
    ("search_orders", "orders"),
    ("read_file", "files"),
    ("query_invoices", "payments"),
    ("list_repositories", "code"),
    ("send_message", "chat"),
];

/// Makes events; with the same seed the same ones.
pub struct Events {
    random: SmallRng,
    next: u64,
}

impl Events {
    /// Begins with event number `first`.
    pub fn new(first: u64) -> Self {
        Self { random: SmallRng::seed_from_u64(first), next: first }
    }

    /// The canonical JSON of the next one.
    pub fn next(&mut self, now: jiff::Timestamp) -> String {
        let number = self.next;
        self.next += 1;
        let random = &mut self.random;
        let user = random.random_range(0..USERS);
        let (tool, server) = TOOLS[random.random_range(0..TOOLS.len())];
        let total = f64::from(random.random_range(1_000_u32..900_000)) / 1_000.0;
        let (session, hash): (u64, [u64; 4]) = (random.random_range(0..4_000), random.random());
        let (request, trace): (u128, u128) = (random.random::<u128>() >> 48, random.random());
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let (request, time) = (ulid::Ulid::from_parts(milliseconds, request), now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"));
        let (bytes, answer) = (random.random_range(80..2_000), random.random_range(200..60_000));
        let hash: String = hash.iter().map(|part| format!("{part:016x}")).collect();
        format!(
            concat!(
                r#"{{"schema_version":"1.0.0","event_id":"{id}","timestamp":"{time}","class":"tool_activity","#,
                r#""event":"tool_call","severity":"info","pool.id":"{pool}","pool.name":"prod","#,
                r#""pool.namespace":"gateways","component.name":"armor","component.version":"0.1.0","#,
                r#""component.instance":"prod-armor-6d5f7c9b8-x2x4v","component.seq":{number},"#,
                r#""message":"A tool was called.","user.email":"user{user}@example.com","user.id":"00u{user:08}","#,
                r#""client.ip":"192.0.2.{ip}","auth.method":"api_key","#,
                r#""session.id":"s-{session:08x}","status":"success","action":"allowed","#,
                r#""tool.name":"{tool}","#,
                r#""mcp.server_name":"{server}","mcp.method":"tools/call","tool.parameter_fields":["body","title"],"#,
                r#""tool.parameters_hash":"hmac-sha256:a1b2c3d4:{hash}","request.id":"{request}","#,
                r#""trace.id":"{trace:032x}","duration.total_ms":{total:.3},"duration.upstream_ms":{upstream:.3},"#,
                r#""http.status_code":200,"request.bytes":{bytes},"response.bytes":{answer}}}"#
            ),
            id = id(number),
            time = time,
            pool = super::stream::POOL,
            number = number,
            user = user,
            ip = user % 254 + 1,
            session = session,
            tool = tool,
            server = server,
            hash = hash,
            request = request,
            trace = trace,
            total = total,
            upstream = total * 0.93,
            bytes = bytes,
            answer = answer,
        )
    }
}

/// The id of the event with this number.
fn id(number: u64) -> String {
    ulid::Ulid::from_parts(ID_TIME, u128::from(number)).to_string()
}

/// The numbers of the events that a body tells of, each as often as it is there; an id that follows itself counts once,
/// because some formats have it beside the event too.
pub fn numbers(body: &[u8]) -> Vec<u64> {
    let prefix = id(0);
    let prefix = &prefix.as_bytes()[..ID_FIXED];
    let mut numbers = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.iter().position(|byte| *byte == prefix[0]) {
        rest = &rest[at..];
        let number = rest.strip_prefix(prefix).and_then(|rest| rest.get(..26 - ID_FIXED)).and_then(parse);
        match number {
            Some(number) => {
                if numbers.last() != Some(&number) {
                    numbers.push(number);
                }
                rest = &rest[26..];
            }
            None => rest = &rest[1..],
        }
    }
    numbers
}

/// Base 32 of Crockford.
fn parse(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = ALPHABET.iter().position(|known| known == digit)?;
        Some(number * 32 + value as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_valid_and_of_one_kilobyte() {
        let mut events = Events::new(7);
        for _ in 0..1_000 {
            let event = events.next(jiff::Timestamp::now());
            assert!((990..=1_060).contains(&event.len()), "{}: {event}", event.len());
            events::Record::from_json(event.as_bytes()).unwrap();
        }
    }

    #[test]
    fn ids_are_found_wherever_they_are() {
        let body = format!("x{}{}{} 0 01M {}", id(3), id(3), id(1 << 33), id(4));
        assert_eq!(numbers(body.as_bytes()), [3, 1 << 33, 4]);
        let mut events = Events::new(41);
        let two = format!("{}\n{}", events.next(jiff::Timestamp::now()), events.next(jiff::Timestamp::now()));
        assert_eq!(numbers(two.as_bytes()), [41, 42]);
    }
}
