//! Erlang's external term format, as far as questions and answers need it: pure. Whatever comes is read within bounds.

use serde_json::{Map, Number, Value};

const VERSION: u8 = 131;
/// Deeper than any answer to a question of ours.
const DEPTH_MAX: usize = 512;
/// In front of a node's name.
const SMALL_ATOM: u8 = 119;

/// A term.
#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    /// An atom.
    Atom(String),
    /// An integer.
    Int(i64),
    /// An integer that is larger, or a float.
    Float(f64),
    /// A binary.
    Binary(Vec<u8>),
    /// A tuple.
    Tuple(Vec<Term>),
    /// A list; an improper one's tail is its last element.
    List(Vec<Term>),
    /// A map.
    Map(Vec<(Term, Term)>),
    /// A pid, port, reference or fun, as it came.
    Opaque(Vec<u8>),
}

/// It is no term, or too deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a malformed term")]
pub struct Malformed;

/// A process of ours: there is one.
pub(super) fn pid(node: &str, creation: u32) -> Term {
    let mut bytes = vec![88];
    node_name(node, &mut bytes);
    bytes.extend(1_u32.to_be_bytes());
    bytes.extend(0_u32.to_be_bytes());
    bytes.extend(creation.to_be_bytes());
    Term::Opaque(bytes)
}

/// A reference of ours, by number.
pub(super) fn reference(node: &str, creation: u32, number: u32) -> Term {
    let mut bytes = vec![90, 0, 3];
    node_name(node, &mut bytes);
    bytes.extend(creation.to_be_bytes());
    for word in [number, 0, 0] {
        bytes.extend(word.to_be_bytes());
    }
    Term::Opaque(bytes)
}

fn node_name(node: &str, bytes: &mut Vec<u8>) {
    bytes.extend([SMALL_ATOM, u8::try_from(node.len()).unwrap_or(u8::MAX)]);
    bytes.extend(node.as_bytes());
}

impl Term {
    /// An atom.
    pub fn atom(name: &str) -> Self {
        Self::Atom(name.to_owned())
    }

    /// A list of characters.
    pub fn string(text: &str) -> Self {
        Self::List(text.chars().map(|c| Self::Int(i64::from(u32::from(c)))).collect())
    }

    /// Appends it with the version in front.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        self.encode_bare(out);
    }

    fn encode_bare(&self, out: &mut Vec<u8>) {
        let length = |items: usize| u32::try_from(items).unwrap_or(u32::MAX).to_be_bytes();
        match self {
            Self::Atom(name) => {
                out.push(118);
                out.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
                out.extend(name.as_bytes());
            }
            Self::Int(number) => match i32::try_from(*number) {
                Ok(small) => {
                    out.push(98);
                    out.extend(small.to_be_bytes());
                }
                Err(_) => {
                    out.extend([110, 8, u8::from(*number < 0)]);
                    out.extend(number.unsigned_abs().to_le_bytes());
                }
            },
            Self::Float(number) => {
                out.push(70);
                out.extend(number.to_be_bytes());
            }
            Self::Binary(bytes) => {
                out.push(109);
                out.extend(length(bytes.len()));
                out.extend(bytes);
            }
            Self::Tuple(parts) => {
                out.push(105);
                out.extend(length(parts.len()));
                parts.iter().for_each(|part| part.encode_bare(out));
            }
            Self::List(items) => {
                if !items.is_empty() {
                    out.push(108);
                    out.extend(length(items.len()));
                    items.iter().for_each(|item| item.encode_bare(out));
                }
                out.push(106);
            }
            Self::Map(pairs) => {
                out.push(116);
                out.extend(length(pairs.len()));
                for (key, value) in pairs {
                    key.encode_bare(out);
                    value.encode_bare(out);
                }
            }
            Self::Opaque(bytes) => out.extend(bytes),
        }
    }

    /// What `term_to_binary` wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Decoder::new(bytes).external()
    }

    /// A map with atoms for keys.
    pub fn map<const N: usize>(pairs: [(&str, Self); N]) -> Self {
        Self::Map(pairs.into_iter().map(|(key, value)| (Self::atom(key), value)).collect())
    }

    /// A binary.
    pub fn text(text: &str) -> Self {
        Self::Binary(text.as_bytes().to_vec())
    }

    /// For people and programs that do not know Erlang: atoms and binaries are strings, tuples are lists.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Atom(name) => match name.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "undefined" | "nil" | "null" => Value::Null,
                name => Value::String(name.to_owned()),
            },
            Self::Int(number) => Value::from(*number),
            Self::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Self::Binary(bytes) => Value::String(String::from_utf8_lossy(bytes).into_owned()),
            Self::Tuple(items) | Self::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Self::Map(pairs) => {
                let pair = |(key, value): &(Self, Self)| (key.to_text(), value.to_json());
                Value::Object(pairs.iter().map(pair).collect::<Map<_, _>>())
            }
            Self::Opaque(_) => Value::Null,
        }
    }

    /// What an atom or a binary says.
    pub fn to_text(&self) -> String {
        match self {
            Self::Atom(name) => name.clone(),
            Self::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => other.to_json().to_string(),
        }
    }
}

/// Reads terms.
pub(super) struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// A term with the version in front.
    pub(super) fn external(&mut self) -> Result<Term, Malformed> {
        match self.byte()? {
            VERSION => self.term(0),
            _ => Err(Malformed),
        }
    }

    fn term(&mut self, depth: usize) -> Result<Term, Malformed> {
        if depth > DEPTH_MAX {
            return Err(Malformed);
        }
        let start = self.rest;
        Ok(match self.byte()? {
            97 => Term::Int(self.byte()?.into()),
            98 => Term::Int(i32::from_be_bytes(self.array()?).into()),
            70 => Term::Float(f64::from_be_bytes(self.array()?)),
            110 => {
                let size = self.byte()?.into();
                self.big(size)?
            }
            111 => {
                let size = self.length()?;
                self.big(size)?
            }
            100 | 118 => {
                let size = self.short()?;
                self.atom(size)?
            }
            115 | 119 => {
                let size = self.byte()?.into();
                self.atom(size)?
            }
            104 => {
                let size = self.byte()?.into();
                Term::Tuple(self.terms(size, depth)?)
            }
            105 => {
                let size = self.length()?;
                Term::Tuple(self.terms(size, depth)?)
            }
            106 => Term::List(Vec::new()),
            107 => {
                let size = self.short()?;
                Term::List(self.take(size)?.iter().map(|byte| Term::Int((*byte).into())).collect())
            }
            108 => {
                let size = self.length()?;
                let mut items = self.terms(size, depth)?;
                match self.term(depth + 1)? {
                    Term::List(tail) if tail.is_empty() => {}
                    tail => items.push(tail),
                }
                Term::List(items)
            }
            109 => {
                let size = self.length()?;
                Term::Binary(self.take(size)?.to_vec())
            }
            116 => {
                let size = self.length()?;
                let mut pairs = Vec::new();
                for _ in 0..size {
                    pairs.push((self.term(depth + 1)?, self.term(depth + 1)?));
                }
                Term::Map(pairs)
            }
            tag => {
                self.skip(tag, depth)?;
                Term::Opaque(start[..start.len() - self.rest.len()].to_vec())
            }
        })
    }

    /// Over what is only passed on.
    fn skip(&mut self, tag: u8, depth: usize) -> Result<(), Malformed> {
        let rest_of = |decoder: &mut Self, size| {
            decoder.term(depth + 1)?;
            decoder.take(size).map(drop)
        };
        match tag {
            // Pids, ports: the node, then numbers.
            103 => rest_of(self, 9),
            88 => rest_of(self, 12),
            102 => rest_of(self, 5),
            89 => rest_of(self, 8),
            120 => rest_of(self, 12),
            // References: their length is in words.
            114 | 90 => {
                let words = self.short()?;
                rest_of(self, words * 4 + if tag == 114 { 1 } else { 4 })
            }
            // A fun knows its own size; its name is three terms.
            112 => {
                let size = self.length()?;
                self.take(size.checked_sub(4).ok_or(Malformed)?).map(drop)
            }
            113 => (0..3).try_for_each(|_| self.term(depth + 1).map(drop)),
            // A bit string that is no binary.
            77 => {
                let size = self.length()?;
                self.take(size + 1).map(drop)
            }
            _ => Err(Malformed),
        }
    }

    fn terms(&mut self, count: usize, depth: usize) -> Result<Vec<Term>, Malformed> {
        // Every term takes at least a byte.
        if count > self.rest.len() {
            return Err(Malformed);
        }
        (0..count).map(|_| self.term(depth + 1)).collect()
    }

    fn atom(&mut self, size: usize) -> Result<Term, Malformed> {
        let name = self.take(size)?;
        Ok(Term::Atom(String::from_utf8_lossy(name).into_owned()))
    }

    fn big(&mut self, size: usize) -> Result<Term, Malformed> {
        let negative = self.byte()? != 0;
        let digits = self.take(size)?;
        let small =
            digits.iter().rev().try_fold(0_i64, |sum, digit| sum.checked_mul(256)?.checked_add((*digit).into()));
        if let Some(number) = small {
            return Ok(Term::Int(if negative { -number } else { number }));
        }
        let large = digits.iter().rev().fold(0_f64, |sum, digit| sum * 256.0 + f64::from(*digit));
        Ok(Term::Float(if negative { -large } else { large }))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn short(&mut self) -> Result<usize, Malformed> {
        Ok(u16::from_be_bytes(self.array()?).into())
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| Malformed)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(term: &Term) -> Term {
        let mut bytes = Vec::new();
        term.encode(&mut bytes);
        Decoder::new(&bytes).external().unwrap()
    }

    #[test]
    fn terms_survive_the_way_there_and_back() {
        let term = Term::Tuple(vec![
            Term::atom("ok"),
            Term::Int(-7),
            Term::Int(1 << 40),
            Term::Float(1.5),
            Term::Binary(b"x".to_vec()),
            Term::string("hé"),
            Term::Map(vec![(Term::atom("a"), Term::List(Vec::new()))]),
            pid("a@b", 7),
            reference("a@b", 7, 9),
        ]);
        assert_eq!(there_and_back(&term), term);
        assert_eq!(term.to_json().to_string(), r#"["ok",-7,1099511627776,1.5,"x",[104,233],{"a":[]},null,null]"#);
    }

    #[test]
    fn nonsense_is_refused_within_bounds() {
        for bytes in [
            &[][..],
            &[130, 97, 1],
            &[VERSION],
            &[VERSION, 108, 255, 255, 255, 255, 106],
            &[VERSION, 105, 255, 255, 255, 255],
            &[VERSION, 109, 255, 255, 255, 255],
            &[VERSION, 112, 0, 0, 0, 0],
            &[VERSION, 1],
        ] {
            assert_eq!(Decoder::new(bytes).external(), Err(Malformed), "{bytes:?}");
        }
        let deep = [&[VERSION][..], &[104, 1].repeat(100_000)].concat();
        assert_eq!(Decoder::new(&deep).external(), Err(Malformed));
    }
}
