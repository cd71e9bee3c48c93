//! The first bytes on a connection between two processes: who I am and what I run.

use std::io::{self, Read, Write};

use xxhash_rust::xxh3::xxh3_64;

use super::{Agreement, Membership};

const MAGIC: &[u8; 8] = b"TIDEMILL";

/// Changes whenever what processes say to each other changes.
const PROTOCOL: u64 = 1;

/// Longest text of a refusal; the other side may be anything.
const REFUSAL_BYTES_MAX: usize = 4096;

/// What a process says about itself. Hashes stand for what is too long to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    pub protocol: u64,
    pub version: u64,
    pub hosts: u64,
    pub processes: u64,
    pub process: u64,
    pub workers: u64,
    pub dataflow: u64,
    pub plan: u64,
    pub options: u64,
}

impl Greeting {
    /// What this process says.
    pub fn of(membership: &Membership, agreement: &Agreement) -> Greeting {
        Greeting {
            protocol: PROTOCOL,
            version: xxh3_64(env!("CARGO_PKG_VERSION").as_bytes()),
            hosts: xxh3_64(membership.hosts.join("\n").as_bytes()),
            processes: membership.processes() as u64,
            process: membership.process as u64,
            workers: membership.workers as u64,
            dataflow: xxh3_64(agreement.dataflow.as_bytes()),
            plan: xxh3_64(agreement.plan.as_bytes()),
            options: xxh3_64(agreement.options.as_bytes()),
        }
    }

    /// Whether the other process was given the same hosts file: then it means this cluster.
    pub fn same_hosts(&self, other: &Greeting) -> bool {
        self.hosts == other.hosts
    }

    /// What keeps the two processes from working together, seen from `self`.
    pub fn mismatch(&self, other: &Greeting) -> Option<String> {
        if self.protocol != other.protocol || self.version != other.version {
            return Some("it is another version of tidemill".to_string());
        }
        if self.hosts != other.hosts || self.processes != other.processes {
            return Some("its hosts file names other addresses".to_string());
        }
        if self.workers != other.workers {
            return Some(format!("it has {} workers, this process {}", other.workers, self.workers));
        }
        let same = [
            (self.dataflow == other.dataflow, "it runs another dataflow"),
            (self.plan == other.plan, "its dataflow compiles to another plan"),
            (self.options == other.options, "it was started with other options"),
        ];
        same.iter().find(|(same, _)| !same).map(|(_, what)| what.to_string())
    }

    fn fields(&self) -> [u64; 9] {
        [
            self.protocol,
            self.version,
            self.hosts,
            self.processes,
            self.process,
            self.workers,
            self.dataflow,
            self.plan,
            self.options,
        ]
    }

    /// Sends the greeting in one piece.
    pub fn send(&self, socket: &mut impl Write) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        self.fields().iter().for_each(|field| bytes.extend_from_slice(&field.to_le_bytes()));
        socket.write_all(&bytes)
    }

    /// Receives a greeting; something else than one of our processes is told by its first bytes.
    pub fn receive(socket: &mut impl Read) -> io::Result<Greeting> {
        let mut magic = [0; MAGIC.len()];
        socket.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a tidemill process"));
        }
        let mut fields = [0; 9];
        for field in &mut fields {
            let mut bytes = [0; 8];
            socket.read_exact(&mut bytes)?;
            *field = u64::from_le_bytes(bytes);
        }
        let [protocol, version, hosts, processes, process, workers, dataflow, plan, options] = fields;
        Ok(Greeting { protocol, version, hosts, processes, process, workers, dataflow, plan, options })
    }
}

/// Sends whether the listener takes the dialer: an empty text means yes.
pub fn send_verdict(socket: &mut impl Write, refusal: &str) -> io::Result<()> {
    let refusal = &refusal.as_bytes()[..refusal.len().min(REFUSAL_BYTES_MAX)];
    let length = u16::try_from(refusal.len()).expect("shorter than the longest refusal");
    socket.write_all(&[&length.to_le_bytes()[..], refusal].concat())
}

/// Receives whether the listener takes this process: why not, if not.
pub fn receive_verdict(socket: &mut impl Read) -> io::Result<Option<String>> {
    let mut length = [0; 2];
    socket.read_exact(&mut length)?;
    let length = usize::from(u16::from_le_bytes(length));
    if length > REFUSAL_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a tidemill process"));
    }
    let mut refusal = vec![0; length];
    socket.read_exact(&mut refusal)?;
    Ok(Some(String::from_utf8_lossy(&refusal).into_owned()).filter(|refusal| !refusal.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        Membership { hosts: vec!["a:1".into(), "b:1".into()], process: 0, workers: 2 }
    }

    #[test]
    fn greetings_survive_the_wire() {
        let greeting = Greeting::of(&membership(), &Agreement::default());
        let mut bytes = Vec::new();
        greeting.send(&mut bytes).expect("sent");
        assert_eq!(Greeting::receive(&mut &bytes[..]).expect("received"), greeting);
        let error = Greeting::receive(&mut &b"GET / HTTP/1.1\r\n\r\n"[..]).expect_err("stray");
        assert_eq!(error.to_string(), "it is not a tidemill process");

        for refusal in ["", "no"] {
            let mut bytes = Vec::new();
            send_verdict(&mut bytes, refusal).expect("sent");
            assert_eq!(receive_verdict(&mut &bytes[..]).expect("received").unwrap_or_default(), refusal);
        }
    }

    #[test]
    fn mismatches_name_what_differs() {
        let mine = Greeting::of(&membership(), &Agreement::default());
        assert_eq!(mine.mismatch(&Greeting { process: 1, ..mine.clone() }), None);
        for (other, expected) in [
            (Greeting { version: 0, ..mine.clone() }, "another version"),
            (Greeting { hosts: 0, ..mine.clone() }, "hosts file"),
            (Greeting { workers: 3, ..mine.clone() }, "it has 3 workers, this process 2"),
            (Greeting { dataflow: 0, ..mine.clone() }, "another dataflow"),
            (Greeting { plan: 0, ..mine.clone() }, "another plan"),
            (Greeting { options: 0, ..mine.clone() }, "other options"),
        ] {
            let mismatch = mine.mismatch(&other).expect("a mismatch");
            assert!(mismatch.contains(expected), "{mismatch}");
        }
    }
}
