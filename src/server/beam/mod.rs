//! A conversation with an Erlang node, in Erlang's own distribution protocol: as a hidden node that listens nowhere, asks
//! a few questions and leaves. Nothing has to be in the app for it, no second Erlang is started, and it costs the node
//! what one connection costs.
//!
//! The protocol is that of OTP 23 and newer (version 6), messages without atom cache and fragments, which every node
//! speaks when its peer asks for it. Whoever can connect and knows the cookie can do anything to a node: this is told
//! only constants of ours to evaluate.
//!
//! Deliberately absent: being found, links, monitors, and everything that lives longer than a question.

mod handshake;
mod term;

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

pub use self::term::Term;
use self::term::{Decoder, Malformed};

/// Larger answers are none.
const ANSWER_MAX: usize = 32 << 20;
/// In front of every message that has no distribution header.
const PASS_THROUGH: u8 = 112;
const REG_SEND: i64 = 6;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum BeamError {
    /// It is no Erlang node of OTP 23 or newer.
    #[error("what answers there is no Erlang node that could be talked to")]
    NotANode,
    /// It has another cookie.
    #[error("the node has another cookie")]
    Cookie,
    /// It does not want to be talked to.
    #[error("the node refused the connection ({0})")]
    Refused(String),
    /// It did not answer in time.
    #[error("the node does not answer")]
    Silent,
    /// What was asked failed there.
    #[error("the node could not answer: {0}")]
    Failed(String),
    /// It answered in words that are not understood.
    #[error("the node's answer cannot be understood")]
    Malformed(#[from] Malformed),
    /// The connection broke.
    #[error("the connection to the node broke: {0}")]
    Io(#[from] io::Error),
}

/// A node that is being talked to. Dropping it ends the conversation.
pub struct Beam<S> {
    stream: S,
    /// Its name, as it calls itself.
    pub name: String,
    own: String,
    creation: u32,
    questions: u32,
    patience: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Beam<S> {
    /// Introduces itself to the node at the other end of `stream` under a name that nobody else has.
    pub async fn greet(mut stream: S, cookie: &str, patience: Duration) -> Result<Self, BeamError> {
        let own = format!("gigalixir-{:08x}@127.0.0.1", rand::random::<u32>());
        let creation = rand::random::<u32>() | 4;
        let greeting = handshake::greet(&mut stream, &own, creation, cookie);
        let name = timeout(patience, greeting).await.map_err(|_| BeamError::Silent)??;
        Ok(Self { stream, name, own, creation, questions: 0, patience })
    }

    /// The same, with another patience for answers.
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// `rpc:call` of one function.
    pub async fn call(&mut self, module: &str, function: &str, args: Vec<Term>) -> Result<Term, BeamError> {
        let patience = self.patience;
        timeout(patience, self.ask(module, function, args)).await.map_err(|_| BeamError::Silent)?
    }

    /// Evaluates Erlang expressions (each but the last ends with a comma, the last with a dot).
    pub async fn evaluate(&mut self, source: &str, bindings: &[(&str, Term)]) -> Result<Term, BeamError> {
        let scanned = self.call("erl_scan", "string", vec![Term::string(source)]).await?;
        let tokens = ok(scanned)?;
        let parsed = ok(self.call("erl_parse", "parse_exprs", vec![tokens]).await?)?;
        let bind = |(name, value): &(&str, Term)| Term::Tuple(vec![Term::atom(name), value.clone()]);
        let bindings = Term::List(bindings.iter().map(bind).collect());
        match self.call("erl_eval", "exprs", vec![parsed, bindings]).await? {
            Term::Tuple(parts) => parts.into_iter().nth(1).ok_or(Malformed.into()),
            _ => Err(Malformed.into()),
        }
    }

    async fn ask(&mut self, module: &str, function: &str, args: Vec<Term>) -> Result<Term, BeamError> {
        self.questions += 1;
        let pid = term::pid(&self.own, self.creation);
        let reference = term::reference(&self.own, self.creation, self.questions);
        let control = Term::Tuple(vec![Term::Int(REG_SEND), pid.clone(), Term::atom(""), Term::atom("rex")]);
        let (module, function) = (Term::atom(module), Term::atom(function));
        let call = Term::Tuple(vec![Term::atom("call"), module, function, Term::List(args), Term::atom("user")]);
        let from = Term::Tuple(vec![pid, reference.clone()]);
        let message = Term::Tuple(vec![Term::atom("$gen_call"), from, call]);
        self.send(&control, &message).await?;
        loop {
            let Some(Term::Tuple(parts)) = self.receive().await? else { continue };
            if let [tag, answer] = parts.as_slice()
                && *tag == reference
            {
                return match answer {
                    Term::Tuple(parts) if parts.first() == Some(&Term::atom("badrpc")) => {
                        Err(BeamError::Failed(format!("{:?}", parts.get(1))))
                    }
                    answer => Ok(answer.clone()),
                };
            }
        }
    }

    async fn send(&mut self, control: &Term, message: &Term) -> Result<(), BeamError> {
        let mut body = vec![0, 0, 0, 0, PASS_THROUGH];
        control.encode(&mut body);
        message.encode(&mut body);
        let length = u32::try_from(body.len() - 4).map_err(io::Error::other)?;
        body[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&body).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next message's payload; `None` for what has none.
    async fn receive(&mut self) -> Result<Option<Term>, BeamError> {
        let length = self.stream.read_u32().await? as usize;
        if length == 0 {
            // It wants to know whether we live.
            self.stream.write_all(&[0; 4]).await?;
            return Ok(None);
        }
        if length > ANSWER_MAX {
            return Err(Malformed.into());
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        let mut decoder = Decoder::new(body.strip_prefix(&[PASS_THROUGH]).ok_or(Malformed)?);
        decoder.external()?;
        if decoder.is_empty() { Ok(None) } else { Ok(Some(decoder.external()?)) }
    }
}

/// The second part of `{ok, …}`.
fn ok(answer: Term) -> Result<Term, BeamError> {
    match answer {
        Term::Tuple(mut parts) if parts.len() > 1 && parts[0] == Term::atom("ok") => Ok(parts.swap_remove(1)),
        other => Err(BeamError::Failed(format!("{other:?}"))),
    }
}

#[cfg(test)]
mod tests;
