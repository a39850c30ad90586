//! What a channel says to its client, within the window that the client has opened: nothing queues up in between, and a
//! client that does not read one channel still hears the others.

use bytes::Bytes;
use russh::server::{Handle, Msg};
use russh::{ChannelWriteHalf, Error};

use super::signals;
use crate::server::runtime::session::Ended;

/// Standard error, as ssh numbers it.
const STDERR: u32 = 1;

/// One channel, outwards.
pub(super) struct Voice {
    pub(super) channel: ChannelWriteHalf<Msg>,
    pub(super) connection: Handle,
}

impl Voice {
    /// Output; returns when the client has room for it.
    pub(super) async fn say(&self, data: Bytes) -> Result<(), Error> {
        self.channel.data_bytes(data).await
    }

    /// Error output.
    pub(super) async fn say_aside(&self, data: Bytes) -> Result<(), Error> {
        self.channel.extended_data_bytes(STDERR, data).await
    }

    /// A sentence of ours, as error output.
    pub(super) async fn complain(&self, text: &str) -> Result<(), Error> {
        self.say_aside(format!("gigalixir: {text}\r\n").into()).await
    }

    /// No more output.
    pub(super) async fn fall_silent(&self) -> Result<(), Error> {
        self.channel.eof().await
    }

    /// The end of a program. The connection may have ended before, which is no matter.
    pub(super) async fn tell_end(&self, ended: Ended) {
        let _ = self.channel.eof().await;
        let _ = match ended {
            Ended::Exited(code) => self.channel.exit_status(code as u32).await.map_err(drop),
            Ended::Signaled(signal) => {
                let (id, signal) = (self.channel.id(), signals::name(signal));
                self.connection.exit_signal_request(id, signal, false, String::new(), String::new()).await
            }
        };
        self.close().await;
    }

    /// The end of the channel.
    pub(super) async fn close(&self) {
        let _ = self.channel.close().await;
    }
}
