//! A strict parser of RFC 5424 messages (section 6) and of the frames of RFC 6587, for comparison.

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub facility: u8,
    pub severity: u8,
    /// `None`: the nil value.
    pub timestamp: Option<jiff::Timestamp>,
    pub hostname: String,
    pub app_name: String,
    pub procid: String,
    pub msgid: String,
    /// SD-ID, then names and values.
    pub data: Vec<(String, Vec<(String, String)>)>,
    /// MSG without the byte order mark, and whether there was one.
    pub msg: String,
    pub bom: bool,
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn expect(&mut self, text: &str) -> Result<(), String> {
        self.0 = self.0.strip_prefix(text.as_bytes()).ok_or_else(|| format!("expected {text:?}"))?;
        Ok(())
    }

    fn take_while(&mut self, most: usize, allowed: impl Fn(u8) -> bool) -> Result<&'a str, String> {
        let end = self.0.iter().position(|byte| !allowed(*byte)).unwrap_or(self.0.len());
        if end == 0 || end > most {
            return Err(format!("{end} characters where 1 to {most} are allowed"));
        }
        let (text, rest) = self.0.split_at(end);
        self.0 = rest;
        std::str::from_utf8(text).map_err(|error| error.to_string())
    }

    /// A header field and the space after it.
    fn field(&mut self, most: usize) -> Result<String, String> {
        let text = self.take_while(most, |byte| (33..=126).contains(&byte))?;
        self.expect(" ")?;
        Ok(text.to_owned())
    }

    fn value(&mut self) -> Result<String, String> {
        let mut value = Vec::new();
        loop {
            match self.0 {
                [b'\\', escaped @ (b'"' | b'\\' | b']'), rest @ ..] => {
                    value.push(*escaped);
                    self.0 = rest;
                }
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    return String::from_utf8(value).map_err(|error| error.to_string());
                }
                [b'\\' | b']', ..] => return Err("an unescaped character in a value".into()),
                [byte, rest @ ..] => {
                    value.push(*byte);
                    self.0 = rest;
                }
                [] => return Err("an unterminated value".into()),
            }
        }
    }
}

pub fn parse(bytes: &[u8]) -> Result<Message, String> {
    let mut input = Input(bytes);
    input.expect("<")?;
    let pri = input.take_while(3, |byte| byte.is_ascii_digit())?;
    if pri.len() > 1 && pri.starts_with('0') {
        return Err("a PRI with a leading zero".into());
    }
    let pri: u8 = pri.parse().map_err(|_| "PRI")?;
    if pri > 191 {
        return Err("PRI above 191".into());
    }
    input.expect(">1 ")?;
    let timestamp = match input.field(32)?.as_str() {
        "-" => None,
        text => {
            let strict = text.len() == 24 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
            Some(text.parse().ok().filter(|_| strict).ok_or_else(|| format!("timestamp {text}"))?)
        }
    };
    let hostname = input.field(255)?;
    let app_name = input.field(48)?;
    let procid = input.field(128)?;
    let msgid = input.field(32)?;
    let name = |byte: u8| (33..=126).contains(&byte) && !matches!(byte, b'=' | b']' | b'"');
    let mut data: Vec<(String, Vec<(String, String)>)> = Vec::new();
    if input.expect("-").is_err() {
        while input.expect("[").is_ok() {
            let id = input.take_while(32, name)?.to_owned();
            if data.iter().any(|(other, _)| *other == id) {
                return Err(format!("{id} twice"));
            }
            let mut params = Vec::new();
            while input.expect(" ").is_ok() {
                let name = input.take_while(32, name)?.to_owned();
                input.expect("=\"")?;
                params.push((name, input.value()?));
            }
            input.expect("]")?;
            data.push((id, params));
        }
        if data.is_empty() {
            return Err("no structured data and no nil value".into());
        }
    }
    input.expect(" ")?;
    let bom = input.expect("\u{feff}").is_ok();
    let msg = String::from_utf8(input.0.to_vec()).map_err(|error| error.to_string())?;
    Ok(Message { facility: pri / 8, severity: pri % 8, timestamp, hostname, app_name, procid, msgid, data, msg, bom })
}

/// The messages of a stream with octet counting; every byte belongs to one.
pub fn octet_counted(mut stream: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut messages = Vec::new();
    while !stream.is_empty() {
        let space = stream.iter().position(|byte| *byte == b' ').ok_or("no length")?;
        let length = std::str::from_utf8(&stream[..space]).map_err(|error| error.to_string())?;
        if length.starts_with('0') {
            return Err("a length with a leading zero".into());
        }
        let length: usize = length.parse().map_err(|_| format!("length {length}"))?;
        let message = stream.get(space + 1..space + 1 + length).ok_or("a message that is too short")?;
        messages.push(message);
        stream = &stream[space + 1 + length..];
    }
    Ok(messages)
}
