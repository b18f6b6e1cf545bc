//! Where the frames of a WebSocket begin and end (RFC 6455 section 5.2), for a tunnel that has to know
//! when it may put a Close of its own between them. Payload is counted, never looked at.
//!
//! ```text
//!   boundary -> header, 2 to 10 octets -> the rest: masking key and payload -> boundary
//!                         |
//!                         +-> broken: no WebSocket, or none we know; for good
//! ```

/// The code of a Close from an endpoint that goes away (RFC 6455 section 7.4.1).
pub const GOING_AWAY: u16 = 1001;

/// Octets of the longest header, the masking key not counted: that goes with the payload.
const HEADER: usize = 10;
/// Octets of a masking key.
const MASK: u64 = 4;
/// The longest payload of a control frame (RFC 6455 section 5.5).
const CONTROL: u64 = 125;
/// The opcode of a Close.
const CLOSE: u8 = 8;

/// Follows the frames that go one way through a tunnel, however they are cut into reads.
///
/// It costs a few instructions a frame and nothing an octet, and takes 24 octets itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Follower {
    /// Octets left of the frame whose header was read, its masking key among them.
    left: u64,
    /// The header that is not all there yet: `header[..have]`, with `have < HEADER`.
    header: [u8; HEADER],
    have: u8,
    in_message: bool,
    saw_close: bool,
    broken: bool,
}

impl Follower {
    /// Takes note of `bytes`, which went through behind all that was followed before.
    pub fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.broken {
            if self.left == 0 {
                bytes = self.read_header(bytes);
            }
            let skipped = self.left.min(bytes.len() as u64);
            self.left -= skipped;
            bytes = &bytes[skipped as usize..];
        }
    }

    /// Takes note of `octets` that went through unseen; no more than are [`left`](Follower::left), or
    /// it is lost, and says so by being broken.
    pub fn skip(&mut self, octets: u64) {
        match self.left.checked_sub(octets) {
            Some(left) => self.left = left,
            None => self.broken = true,
        }
    }

    /// How many octets may go through unseen: what is left of a frame, its masking key included. 0 at
    /// a boundary and inside a header, where the next octets have to be shown.
    pub fn left(&self) -> u64 {
        if self.broken { 0 } else { self.left }
    }

    /// Stands between two frames, and knows it.
    pub fn at_boundary(&self) -> bool {
        self.left == 0 && self.have == 0 && !self.broken
    }

    /// A fragmented message has begun whose last fragment has not. Control frames may be put between
    /// its frames all the same (RFC 6455 section 5.4).
    pub fn in_message(&self) -> bool {
        self.in_message
    }

    /// A Close has begun: nothing may follow it (RFC 6455 section 5.5.1).
    pub fn saw_close(&self) -> bool {
        self.saw_close
    }

    /// What went through is no WebSocket, or uses what no extension has defined: a reserved opcode, a
    /// control frame that is long or fragmented, a length with its top bit set, or a fragment out
    /// of order. Nothing must be put into it.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// A Close may be put in here and now.
    pub fn takes_close(&self) -> bool {
        self.at_boundary() && !self.saw_close
    }

    /// Reads on in a header; gives what is behind it.
    fn read_header<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let have = usize::from(self.have);
        let more = bytes.len().min(HEADER - have);
        self.header[have..have + more].copy_from_slice(&bytes[..more]);
        let Some(header) = Header::read(&self.header[..have + more]) else {
            self.have += more as u8; // less than HEADER, which is enough for any header
            return &[];
        };
        self.have = 0;
        self.begin(&header);
        &bytes[header.len - have..]
    }

    /// Judges the frame that begins.
    fn begin(&mut self, header: &Header) {
        let Header { fin, opcode, payload, .. } = *header;
        let sound = match opcode {
            0 => self.in_message,
            1 | 2 => !self.in_message,
            8..=10 => fin && payload <= CONTROL,
            _ => false,
        };
        if !sound || payload > i64::MAX as u64 {
            self.broken = true;
            return;
        }
        if opcode < CLOSE {
            self.in_message = !fin;
        }
        self.saw_close |= opcode == CLOSE;
        self.left = payload + if header.masked { MASK } else { 0 };
    }
}

/// The header of a frame. A length in more octets than it needs is let pass: it has one meaning, and
/// the frame is not ours to judge.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Octets, the masking key not counted.
    pub len: usize,
    /// The last frame of its message.
    pub fin: bool,
    /// What the payload is (RFC 6455 section 5.2); 8 and above: control.
    pub opcode: u8,
    /// A masking key follows.
    pub masked: bool,
    /// Octets of payload.
    pub payload: u64,
}

impl Header {
    /// Reads the header at the beginning of `bytes`, if it is all there: 2 to 10 octets.
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        let (len, payload) = match second & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
            short => (2, u64::from(short)),
        };
        let (fin, masked) = (first & 0x80 != 0, second & 0x80 != 0);
        Some(Header { len, fin, opcode: first & 0x0f, masked, payload })
    }
}

/// A Close frame with `code` and no text, and how many octets it has: from a server without a mask,
/// from a client with one (RFC 6455 section 5.3).
pub fn close_frame(code: u16, mask: Option<[u8; 4]>) -> ([u8; 8], usize) {
    let [high, low] = code.to_be_bytes();
    match mask {
        None => ([0x88, 2, high, low, 0, 0, 0, 0], 4),
        Some([a, b, c, d]) => ([0x88, 0x82, a, b, c, d, high ^ a, low ^ b], 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Hello` in one masked text frame, from RFC 6455 section 5.7.
    const MASKED: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";

    fn after(bytes: &[u8]) -> Follower {
        let mut follower = Follower::default();
        follower.follow(bytes);
        follower
    }

    /// Everything a follower says.
    fn says(follower: &Follower) -> (u64, bool, bool, bool, bool) {
        let Follower { in_message, saw_close, broken, .. } = *follower;
        (follower.left(), follower.at_boundary(), in_message, saw_close, broken)
    }

    /// Feeds `frames` in every way; a boundary must be where a frame ends, and nowhere else.
    fn boundaries(frames: &[&[u8]]) {
        let bytes = frames.concat();
        let mut ends = vec![0];
        for frame in frames {
            ends.push(ends[ends.len() - 1] + frame.len());
        }
        let mut slowly = Follower::default();
        for at in 0..=bytes.len() {
            let whole = after(&bytes[..at]);
            assert_eq!(whole.at_boundary(), ends.contains(&at), "at {at}");
            assert_eq!(says(&slowly), says(&whole), "octet by octet, at {at}");
            slowly.follow(&bytes[at..bytes.len().min(at + 1)]);
            // Payload that nobody sees counts the same.
            let (seen, unseen) = (whole, whole.left());
            let Some(next) = bytes.get(at..at + unseen as usize) else { continue };
            let (mut spliced, mut read) = (seen, seen);
            spliced.skip(unseen);
            read.follow(next);
            assert_eq!(says(&spliced), says(&read), "spliced from {at}");
        }
    }

    #[test]
    fn the_examples_of_the_rfc() {
        boundaries(&[b"\x81\x05Hello"]);
        boundaries(&[MASKED]);
        boundaries(&[b"\x01\x03Hel", b"\x80\x02lo"]);
        boundaries(&[b"\x89\x05Hello", b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"]);
        let long = [b"\x82\x7e\x01\x00", &[7; 256][..]].concat();
        boundaries(&[&long, MASKED, &long, b"\x81\x00", b"\x81\x80mask"]);
        let longer = [b"\x82\x7f\0\0\0\0\0\x01\0\0", &[0x81; 65_536][..]].concat();
        let follower = after(&[&longer, MASKED, &longer[..1000]].concat());
        assert_eq!(follower.left(), 65_546 - 1000);
    }

    #[test]
    fn a_message_goes_on_until_its_last_fragment() {
        let mut follower = after(b"\x01\x03Hel");
        assert!(follower.in_message() && follower.takes_close());
        follower.follow(b"\x89\x00");
        assert!(follower.in_message() && follower.takes_close());
        follower.follow(b"\x00\x00");
        assert!(follower.in_message());
        follower.follow(b"\x80\x02l");
        assert!(!follower.in_message() && !follower.at_boundary());
        follower.follow(b"o\x82");
        assert!(!follower.takes_close() && !follower.is_broken() && follower.left() == 0);
    }

    #[test]
    fn nothing_is_put_behind_a_close() {
        let mut follower = after(b"\x88\x02\x03");
        assert!(follower.saw_close() && !follower.at_boundary());
        follower.follow(b"\xe8");
        assert!(follower.at_boundary() && !follower.takes_close());
    }

    #[test]
    fn what_is_no_websocket_stays_broken() {
        for bad in [
            &b"\x83\x00"[..],
            b"\x8b\x00",
            b"\x87\x80",
            b"\x8f\x05Hello",
            b"\x89\x7e\x00\x7e",
            b"\x88\xfe\x00\x7e",
            b"\x09\x00",
            b"\x08\x02\x03\xe8",
            b"\x82\x7f\x80\0\0\0\0\0\0\0",
            b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x80\x00",
            b"\x00\x00",
            b"\x01\x00\x01\x00",
            b"\x01\x00\x82\x00",
            b"GET / HTTP/1.1\r\n",
            b"HTTP/1.1 200 OK\r\n",
        ] {
            let mut follower = after(bad);
            assert!(follower.is_broken(), "{bad:?}");
            follower.follow(b"\x81\x00");
            follower.skip(0);
            assert!(!follower.at_boundary() && !follower.takes_close() && follower.left() == 0);
        }
        let most = after(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff");
        assert_eq!((most.left(), most.is_broken()), ((1 << 63) - 1 + 4, false));
        for compressed in [b"\xc1\x00", b"\xf2\x00"] {
            assert!(after(compressed).takes_close(), "extensions may use the reserved bits");
        }
        assert!(after(b"\x82\x7f\0\0\0\0\0\0\0\0").at_boundary(), "a long way to say 0");
    }

    #[test]
    fn more_skipped_than_was_left_is_lost() {
        let mut follower = after(b"\x82\x04ab");
        follower.skip(1);
        assert_eq!((follower.left(), follower.is_broken()), (1, false));
        follower.skip(2);
        assert!(follower.is_broken());
        let mut header = after(b"\x82");
        header.skip(1);
        assert!(header.is_broken());
    }

    #[test]
    fn a_close_that_followers_know() {
        let (server, length) = close_frame(GOING_AWAY, None);
        assert_eq!(&server[..length], b"\x88\x02\x03\xe9");
        let (client, length) = close_frame(GOING_AWAY, Some([0x37, 0xfa, 0x21, 0x3d]));
        assert_eq!(&client[..length], b"\x88\x82\x37\xfa\x21\x3d\x34\x13");
        for frame in [&server[..4], &client[..8]] {
            let follower = after(frame);
            assert!(follower.at_boundary() && follower.saw_close());
        }
    }

    #[test]
    fn idle_tunnels_own_little() {
        assert!(size_of::<Follower>() <= 24);
    }
}
