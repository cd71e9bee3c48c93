//! Which fields of a record are wanted, and finding them.

use super::outline::{Outline, Outlines, Place};
use crate::json::{Literal, Malformed, Scanner, Token};

/// The paths of all columns as a tree. Each path has a slot, a place for the token that stands there.
#[derive(Debug)]
pub(super) struct Fields {
    /// The objects that are looked into; 0 is the record.
    nodes: Vec<Node>,
    slots: usize,
    /// Of the records read before.
    outlines: Outlines,
}

/// One object that is looked into.
#[derive(Debug, Default)]
struct Node {
    members: Vec<Member>,
    /// By the hash of a name the number of its member, from 1; 0 where there is none. What is taken is passed over.
    buckets: Vec<u32>,
}

#[derive(Debug)]
struct Member {
    name: String,
    /// The name in quotes, as it mostly stands in JSON. One that has to be escaped never stands like this.
    quoted: Literal,
    slot: Option<usize>,
    /// The node of paths that lead further.
    node: Option<usize>,
    /// All slots of these, which a second value of the same name makes void.
    below: Vec<usize>,
}

impl Fields {
    pub(super) fn new() -> Self {
        Fields { nodes: vec![Node::default()], slots: 0, outlines: Outlines::default() }
    }

    /// The slot of a path. Equal paths share it.
    pub(super) fn slot(&mut self, path: &[String]) -> usize {
        let mut node = 0;
        let mut above = Vec::new();
        for (depth, name) in path.iter().enumerate() {
            let member = self.nodes[node].member(name);
            if depth + 1 < path.len() {
                above.push((node, member));
                node = match self.nodes[node].members[member].node {
                    Some(child) => child,
                    None => {
                        self.nodes.push(Node::default());
                        let child = self.nodes.len() - 1;
                        *self.nodes[node].members[member].node.insert(child)
                    }
                };
            } else if let Some(slot) = self.nodes[node].members[member].slot {
                return slot;
            } else {
                self.nodes[node].members[member].slot = Some(self.slots);
            }
        }
        for (node, member) in above {
            self.nodes[node].members[member].below.push(self.slots);
        }
        self.slots += 1;
        self.slots - 1
    }

    #[cfg(test)]
    pub(super) fn outlines(&self) -> &Outlines {
        &self.outlines
    }

    /// Number of slots.
    pub(super) fn len(&self) -> usize {
        self.slots
    }

    /// Fills the slots from a record, which is one JSON object and nothing else. Of members with the same
    /// name the last one counts.
    #[inline]
    pub(super) fn read(
        &mut self,
        text: &str,
        slots: &mut [Token],
        scratch: &mut String,
    ) -> Result<(), Malformed> {
        if self.outlines.follow(text, slots) { Ok(()) } else { self.read_any(text, slots, scratch) }
    }

    /// Reads a record that looks like none before it.
    fn read_any(&mut self, text: &str, slots: &mut [Token], scratch: &mut String) -> Result<(), Malformed> {
        slots.fill(Token::MISSING);
        let mut scanner = Scanner::new(text);
        if !scanner.enter_object(0)? {
            let at = scanner.position();
            let problem = if at == text.len() { "empty" } else { "not a JSON object" };
            return Err(Malformed { problem, at });
        }
        let outline = self.outlines.begin();
        let mut reading = Reading { text, slots, scratch, outline };
        let mut scanner = self.object(0, scanner, &mut reading, 1)?;
        let outline = reading.outline;
        scanner.end()?;
        if let Some(outline) = outline {
            self.outlines.keep(outline, text, slots);
        }
        Ok(())
    }

    /// The members of an object that was entered; the scanner comes back from its end. Recursion ends with the
    /// declared paths.
    fn object<'a>(
        &self,
        node: usize,
        mut scanner: Scanner<'a>,
        reading: &mut Reading<'a, '_>,
        depth: u32,
    ) -> Result<Scanner<'a>, Malformed> {
        let node = &self.nodes[node];
        let mut first = true;
        while scanner.next_member(first)? {
            first = false;
            let found = match scanner.plain_key() {
                Some(key) => node.find_quoted(key, reading.text),
                None => {
                    let key;
                    (key, scanner) = any_key(scanner)?;
                    node.find(key.content(reading.text, reading.scratch))
                }
            };
            let Some(member) = found else {
                let value = scanner.value(depth)?;
                reading.learn(value, Place { slot: None, depth, looked_into: false });
                continue;
            };
            let (value, whole);
            (value, whole, scanner) = match member.node {
                None => (scanner.value(depth)?, true, scanner),
                Some(child) => self.below(member, child, scanner, reading, depth)?,
            };
            if whole {
                reading.learn(value, Place { slot: member.slot, depth, looked_into: member.node.is_some() });
            }
            if let Some(slot) = member.slot {
                if !whole || reading.slots[slot] != Token::MISSING {
                    // A value that is no step of its own, or one that another one makes void.
                    reading.outline = None;
                }
                reading.slots[slot] = value;
            }
        }
        Ok(scanner)
    }

    /// The value of a member that is looked into, whether it is no object and so was read as one value, and the
    /// scanner behind it.
    fn below<'a>(
        &self,
        member: &Member,
        child: usize,
        mut scanner: Scanner<'a>,
        reading: &mut Reading<'a, '_>,
        depth: u32,
    ) -> Result<(Token, bool, Scanner<'a>), Malformed> {
        for slot in &member.below {
            if reading.slots[*slot] != Token::MISSING {
                reading.outline = None;
            }
            reading.slots[*slot] = Token::MISSING;
        }
        let start = scanner.position();
        if scanner.enter_object(depth)? {
            let scanner = self.object(child, scanner, reading, depth + 1)?;
            return Ok((scanner.object_since(start), false, scanner));
        }
        Ok((scanner.value(depth)?, true, scanner))
    }
}

/// The next key, escaped or not there, and the scanner behind it. By value, so that nobody points to the scanner of
/// who calls it: so it can stay in registers.
#[cold]
fn any_key(mut scanner: Scanner<'_>) -> Result<(Token, Scanner<'_>), Malformed> {
    scanner.key().map(|key| (key, scanner))
}

/// What is at hand while a record is read.
struct Reading<'a, 'r> {
    text: &'a str,
    slots: &'r mut [Token],
    scratch: &'r mut String,
    /// The outline of the record as far as it was read; `None` if it is not wanted, or has no use for others.
    outline: Option<Outline>,
}

impl Reading<'_, '_> {
    fn learn(&mut self, value: Token, place: Place) {
        if let Some(outline) = &mut self.outline {
            outline.push(self.text, value, place);
        }
    }
}

impl Node {
    /// Index of the member of this name, which is made if it is new.
    fn member(&mut self, name: &str) -> usize {
        if let Some(index) = self.members.iter().position(|member| member.name == name) {
            return index;
        }
        let quoted = Literal::new(&format!("\"{name}\""));
        self.members.push(Member {
            name: name.to_owned(),
            quoted,
            slot: None,
            node: None,
            below: Vec::new(),
        });
        // Three quarters and more are empty, so that a look at one bucket mostly is enough.
        self.buckets = vec![0; (4 * self.members.len()).next_power_of_two().max(64)];
        for (number, member) in (1..).zip(&self.members) {
            let mut bucket = hash(member.name.as_bytes()) & (self.buckets.len() - 1);
            while self.buckets[bucket] != 0 {
                bucket = (bucket + 1) & (self.buckets.len() - 1);
            }
            self.buckets[bucket] = number;
        }
        self.members.len() - 1
    }

    /// The member of this name; `None` for a field that nobody wants.
    fn find(&self, name: &str) -> Option<&Member> {
        self.find_by(hash(name.as_bytes()), |member| member.name == name)
    }

    /// The same of a key that stands in a text without escapes.
    #[inline(always)]
    fn find_quoted(&self, key: Token, text: &str) -> Option<&Member> {
        let (span, text) = (key.span(), text.as_bytes());
        let hash = hash(&text[span.start + 1..span.end - 1]);
        // Of the same length, so that no quote inside of a name is taken for the end of this one.
        self.find_by(hash, |member| {
            member.quoted.len() == span.len() && member.quoted.begins(&text[span.start..])
        })
    }

    #[inline(always)]
    fn find_by(&self, hash: usize, is_it: impl Fn(&Member) -> bool) -> Option<&Member> {
        let last = self.buckets.len().checked_sub(1)?;
        let mut bucket = hash & last;
        loop {
            let member = (self.buckets[bucket] as usize).checked_sub(1)?;
            if is_it(&self.members[member]) {
                return Some(&self.members[member]);
            }
            bucket = (bucket + 1) & last;
        }
    }
}

/// Tells the names of fields apart, mostly. Those that are looked for are the user's.
#[inline(always)]
fn hash(name: &[u8]) -> usize {
    let byte = |at: usize| usize::from(name.get(at).copied().unwrap_or_default());
    let (middle, last) = (byte(name.len() / 2), byte(name.len().saturating_sub(1)));
    ((byte(0) * 31 + middle) * 31 + last) * 31 + name.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn read(paths: &[&[&str]], text: &str) -> Result<Vec<String>, Malformed> {
        let mut fields = Fields::new();
        let slots: Vec<usize> = paths
            .iter()
            .map(|path| fields.slot(&path.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()))
            .collect();
        let mut tokens = vec![Token::MISSING; fields.len()];
        fields.read(text, &mut tokens, &mut String::new())?;
        Ok(slots.iter().map(|slot| tokens[*slot].raw(text).to_owned()).collect())
    }

    #[test]
    fn paths_lead_into_objects_and_a_parent_may_be_a_column_too() {
        let paths: &[&[&str]] = &[&["pos", "lat"], &["a"], &["pos"], &["pos", "deep", "x"], &["a"]];
        let text = r#"{"x":{"lat":9},"pos": {"lat":1.50, "deep":{"y":2,"x":"s"}},"a":[1, 2]}"#;
        let pos = r#"{"lat":1.50, "deep":{"y":2,"x":"s"}}"#;
        assert_eq!(read(paths, text).expect("an object"), ["1.50", "[1, 2]", pos, "\"s\"", "[1, 2]"]);
    }

    #[test]
    fn a_parent_that_is_missing_or_no_object_gives_nothing() {
        for text in [r#"{}"#, r#"{"pos":5}"#, r#"{"pos":null}"#, r#"{"pos":[{"lat":1}]}"#, r#"{"pos":"lat"}"#]
        {
            assert_eq!(read(&[&["pos", "lat"]], text).expect("an object"), [""], "{text}");
        }
    }

    #[test]
    fn dots_in_a_key_are_no_path() {
        let text = r#"{"pos.lat":1,"pos":{"lat":2}}"#;
        assert_eq!(read(&[&["pos.lat"], &["pos", "lat"]], text).expect("an object"), ["1", "2"]);
    }

    #[test]
    fn the_last_of_equal_keys_counts_with_all_below_it() {
        assert_eq!(read(&[&["a"]], r#"{"a":1,"a":2,"b":3,"\u0061":4}"#).expect("an object"), ["4"]);
        let text = r#"{"pos":{"lat":1,"lng":2},"pos":{"lng":3}}"#;
        assert_eq!(read(&[&["pos", "lat"], &["pos", "lng"]], text).expect("an object"), ["", "3"]);
        assert_eq!(read(&[&["pos", "lat"]], r#"{"pos":{"lat":1},"pos":7}"#).expect("an object"), [""]);
    }

    #[test]
    fn a_quote_inside_of_a_name_ends_no_other_name() {
        // Both names have the same bucket, the longer one comes first, and it begins as the text does.
        let paths: &[&[&str]] = &[&["a\":\"bbbbbbL"], &["a"]];
        assert_eq!((hash(paths[0][0].as_bytes()) ^ hash(b"a")) % 64, 0);
        assert_eq!(read(paths, r#"{"a":"bbbbbbL"}"#).expect("an object"), ["", "\"bbbbbbL\""]);
    }

    #[test]
    fn it_fails_where_reading_the_whole_text_fails() {
        let text = r#" {"a": -1.5e3, "b\u0061" :"x\ny", "pos":{ "lat":[1, {"c":true}], "x":{}}, "z":null } "#;
        let paths: &[&[&str]] = &[&["a"], &["ba"], &["pos", "lat"], &["pos", "x", "y"], &["q"]];
        let at = |text: &str| (read(paths, text).err().map(|error| error.at), json::is_json(text).err());
        for end in 2..=text.len() {
            let (found, expected) = at(&text[..end]);
            assert_eq!(found, expected.map(|error| error.at), "{}", &text[..end]);
        }
        for place in 2..text.len() {
            for byte in "{}[]\",:\\ u1n-.\u{1}".chars() {
                let text = format!("{}{byte}{}", &text[..place], &text[place + 1..]);
                let (found, expected) = at(&text);
                assert_eq!(found, expected.map(|error| error.at), "{text}");
            }
        }
    }

    #[test]
    fn many_members_are_found_in_any_order() {
        let names: Vec<String> = (0..40).map(|i| format!("field{i}")).collect();
        let paths: Vec<Vec<&str>> = names.iter().map(|name| vec![name.as_str()]).collect();
        let paths: Vec<&[&str]> = paths.iter().map(Vec::as_slice).collect();
        let members: Vec<String> = (0..50).rev().map(|i| format!("\"field{i}\":{i}")).collect();
        let found = read(&paths, &format!("{{{}}}", members.join(","))).expect("an object");
        assert_eq!(found, (0..40).map(|i| i.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn a_record_is_one_object() {
        for text in ["", "  ", "[]", "1", "null", "\"{}\"", "{} {}", "{}x", "{", "{\"a\":NaN}", "nil"] {
            assert!(read(&[&["a"]], text).is_err(), "{text}");
        }
        assert!(read(&[&["a"]], " { } \r\n").is_ok());
    }
}
