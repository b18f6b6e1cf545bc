//! A reader of messages for both ends: stricter than anybody has to be, for it reads what tidegate wrote.

/// The head of a request or an answer.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub line: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// The value of a field that may come once; its name in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(had, _)| had == name).map(|(_, value)| value.as_str())
    }

    /// The values of all fields.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(_, value)| value.as_str())
    }

    /// Fields that some take for those of this name.
    pub fn like<'h>(&'h self, name: &str) -> impl Iterator<Item = &'h (String, String)> {
        let name = name.to_ascii_lowercase();
        self.fields.iter().filter(move |(had, _)| had.replace('_', "-") == name)
    }

    fn read(text: &[u8]) -> Result<Head, String> {
        let text = std::str::from_utf8(text).map_err(|_| "a head that is no text")?;
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").ok_or(format!("no field: {line:?}"))?;
            let sound = |text: &str| !text.contains(|c: char| c.is_ascii_control());
            if !sound(line) || name.contains(' ') {
                return Err(format!("no field: {line:?}"));
            }
            Ok((name.to_ascii_lowercase(), value.to_owned()))
        };
        let fields = lines.map(field).collect::<Result<Vec<_>, String>>()?;
        let twice = |name| fields.iter().filter(|(had, _)| had == name).count() > 1;
        if twice("content-length") || twice("transfer-encoding") || twice("host") {
            return Err(format!("a field twice: {text:?}"));
        }
        Ok(Head { line, fields })
    }

    /// How its body is framed, if it has one.
    pub fn framing(&self, is_request: bool) -> Result<Framing, String> {
        match (self.get("content-length"), self.get("transfer-encoding")) {
            (None, Some("chunked")) => Ok(Framing::Chunked),
            (Some(length), None) => Ok(Framing::Length(decimal(length)?)),
            (None, None) if is_request => Ok(Framing::Length(0)),
            (None, None) => Ok(Framing::UntilClose),
            both => Err(format!("framing {both:?}")),
        }
    }
}

/// A number in digits only.
pub fn decimal(text: &str) -> Result<u64, String> {
    let digit = |sum: u64, c: char| Some(sum.checked_mul(10)? + u64::from(c.to_digit(10)?));
    let read = text.chars().try_fold(0, digit);
    read.filter(|_| !text.is_empty()).ok_or(format!("no number: {text:?}"))
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// What was read.
#[derive(Debug)]
pub enum Piece {
    /// The reader waits for [`Reader::body`].
    Head(Head),
    Octets(Vec<u8>),
    End,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    Undecided,
    Length(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    UntilClose,
}

/// Reads one message after the other.
#[derive(Debug)]
pub struct Reader {
    held: Vec<u8>,
    /// So much of it was read.
    at: usize,
    state: State,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { held: Vec::new(), at: 0, state: State::Head }
    }
}

impl Reader {
    pub fn push(&mut self, octets: &[u8]) {
        self.held.drain(..std::mem::take(&mut self.at));
        self.held.extend_from_slice(octets);
    }

    /// In a body whose end is the close.
    pub fn ends_with_close(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// How the body after the last head is framed.
    pub fn body(&mut self, framing: Framing) {
        self.state = match framing {
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
        };
    }

    /// What is left, which is no message.
    pub fn rest(&mut self) -> Vec<u8> {
        let rest = self.held.split_off(self.at);
        *self = Reader::default();
        rest
    }

    /// The next piece, if it is there.
    pub fn next(&mut self) -> Result<Option<Piece>, String> {
        loop {
            match self.state {
                State::Undecided => return Err("a body of unknown framing".into()),
                State::Head => {
                    let Some(head) = self.until(b"\r\n\r\n")? else { return Ok(None) };
                    self.state = State::Undecided;
                    return Ok(Some(Piece::Head(Head::read(&head)?)));
                }
                State::Length(0) => {
                    self.state = State::Head;
                    return Ok(Some(Piece::End));
                }
                State::Length(left) => {
                    let Some(octets) = self.some(left) else { return Ok(None) };
                    self.state = State::Length(left - octets.len() as u64);
                    return Ok(Some(Piece::Octets(octets)));
                }
                State::UntilClose => {
                    return Ok(self.some(u64::MAX).map(Piece::Octets));
                }
                State::ChunkSize => {
                    let Some(line) = self.until(b"\r\n")? else { return Ok(None) };
                    self.state = match hexadecimal(&line)? {
                        0 => State::Trailers,
                        size => State::Chunk(size),
                    };
                }
                State::Chunk(0) => {
                    self.state = State::ChunkEnd;
                }
                State::Chunk(left) => {
                    let Some(octets) = self.some(left) else { return Ok(None) };
                    self.state = State::Chunk(left - octets.len() as u64);
                    return Ok(Some(Piece::Octets(octets)));
                }
                State::ChunkEnd => match self.until(b"\r\n")? {
                    Some(line) if line.is_empty() => self.state = State::ChunkSize,
                    Some(line) => return Err(format!("after a chunk: {line:?}")),
                    None => return Ok(None),
                },
                State::Trailers => match self.until(b"\r\n")? {
                    Some(line) if line.is_empty() => self.state = State::Length(0),
                    Some(_) => {}
                    None => return Ok(None),
                },
            }
        }
    }

    fn some(&mut self, most: u64) -> Option<Vec<u8>> {
        let left = &self.held[self.at..];
        let n = usize::try_from(most).unwrap_or(usize::MAX).min(left.len());
        let octets = left[..n].to_vec();
        self.at += n;
        (n > 0).then_some(octets)
    }

    fn until(&mut self, mark: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let left = &self.held[self.at..];
        let Some(found) = memchr::memmem::find(left, mark) else {
            let endless = left.len() > 96 * 1024;
            return if endless { Err("a line or head without end".into()) } else { Ok(None) };
        };
        let line = left[..found].to_vec();
        self.at += found + mark.len();
        Ok(Some(line))
    }
}

fn hexadecimal(line: &[u8]) -> Result<u64, String> {
    let digit = |sum: u64, octet: &u8| {
        let digit = char::from(*octet).to_digit(16)?;
        Some(sum.checked_mul(16)? + u64::from(digit))
    };
    let read = line.iter().try_fold(0, digit).filter(|_| !line.is_empty());
    read.ok_or(format!("no chunk size: {:?}", String::from_utf8_lossy(line)))
}
