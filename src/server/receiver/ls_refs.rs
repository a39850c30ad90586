//! The `ls-refs` command of protocol v2 (gitprotocol-v2): refs by prefix, peeled, with what `HEAD` stands for.

use bytes::{Bytes, BytesMut};

use super::error::ReceiverError;
use super::sideband::{self, FLUSH};
use super::{refs, repository};

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    peel: bool,
    symrefs: bool,
    unborn: bool,
    prefixes: Vec<String>,
}

impl Request {
    /// Takes one argument line; those that mean nothing here are passed over, as the protocol asks.
    pub(super) fn argument(&mut self, line: &str) {
        match line {
            "peel" => self.peel = true,
            "symrefs" => self.symrefs = true,
            "unborn" => self.unborn = true,
            _ => self.prefixes.extend(line.strip_prefix("ref-prefix ").map(str::to_owned)),
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }

    /// The whole answer.
    pub(super) fn answer(&self, path: &std::path::Path) -> Result<Bytes, ReceiverError> {
        let repository = repository::open(path)?;
        let mut out = BytesMut::new();
        if self.wants("HEAD") {
            self.head(&repository, &mut out)?;
        }
        for (name, id) in refs::snapshot(&repository)?.into_iter().filter(|(name, _)| self.wants(name)) {
            let mut text = format!("{id} {name}");
            if self.peel && repository.find_header(id)?.kind() == gix::objs::Kind::Tag {
                let peeled = repository.find_object(id)?.peel_tags_to_end()?.id;
                text.push_str(&format!(" peeled:{peeled}"));
            }
            sideband::line(&mut out, format!("{text}\n").as_bytes());
        }
        out.extend_from_slice(FLUSH);
        Ok(out.freeze())
    }

    fn head(&self, repository: &gix::Repository, out: &mut BytesMut) -> Result<(), ReceiverError> {
        let Some(target) = repository.head_name()? else { return Ok(()) };
        let target = target.as_bstr();
        let symref = if self.symrefs { format!(" symref-target:{target}") } else { String::new() };
        match repository.head_id() {
            Ok(id) => sideband::line(out, format!("{id} HEAD{symref}\n").as_bytes()),
            Err(_) if self.unborn => sideband::line(out, format!("unborn HEAD{symref}\n").as_bytes()),
            Err(_) => {}
        }
        Ok(())
    }
}
