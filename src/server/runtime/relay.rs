//! A way to a port of an instance's own loopback, by a program beside the instance's own.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::RuntimeError;
use super::session::{Command, Session, Stream};

/// In memory, in each direction.
const BUFFER: usize = 256 * 1024;
/// Says a line when it is open.
const RELAY: &str = r#"exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1; echo; cat <&3 & cat >&3; wait"#;

/// The program.
pub(super) fn command(port: u16) -> Command {
    let argv = ["/bin/bash", "-c", RELAY, "-", &port.to_string()].map(str::to_owned).to_vec();
    Command { argv, ..Command::default() }
}

/// What the running program is a connection of. It lives as long as the connection.
pub(super) async fn connection(
    mut session: Session,
    instance: &str,
    port: u16,
) -> Result<Box<dyn Stream>, RuntimeError> {
    let refused = |source| RuntimeError::Io { context: format!("connecting to port {port} of {instance}"), source };
    session.output.read_u8().await.map_err(|_| refused(io::ErrorKind::ConnectionRefused.into()))?;
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    tokio::spawn(async move {
        let Session { mut input, mut output, control, .. } = session;
        let (mut from, mut to) = tokio::io::split(theirs);
        let up = async {
            let _ = tokio::io::copy(&mut from, &mut input).await;
            let _ = input.shutdown().await;
        };
        let down = async {
            let _ = tokio::io::copy(&mut output, &mut to).await;
            let _ = to.shutdown().await;
        };
        tokio::join!(up, down);
        drop(control);
    });
    Ok(Box::new(ours))
}
