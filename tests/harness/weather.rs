//! What happens between a CA and its clients (`weather.py`): limits, and what Debian's Pebble does not offer yet.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::pebble::{Pebble, free_ports};
use super::wait_until;

/// In front of a CA, until dropped.
pub struct Weather {
    child: Child,
    port: u16,
    log: std::path::PathBuf,
}

impl Weather {
    /// See `weather.py` for the behaviours.
    pub fn before(pebble: &Pebble, behaviours: &[&str]) -> Self {
        let ([port], folder) = (free_ports(), pebble.folder());
        let (program, log) = (folder.join("weather.py"), folder.join("weather.log"));
        std::fs::write(&program, include_str!("weather.py")).expect("write");
        let mut command = Command::new("python3");
        command.arg(program).args([port.to_string(), pebble.port().to_string()]);
        command.args([folder.join("cert.pem"), folder.join("key.pem"), log.clone()]).args(behaviours);
        let child = command.stdout(Stdio::null()).spawn().expect("python3");
        wait_until("the weather is there", Duration::from_secs(30), || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { child, port, log }
    }

    /// The CA's directory as seen through it.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// The new orders so far: when (seconds), and what was said.
    pub fn orders(&self) -> Vec<(f64, serde_json::Value)> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("line"));
        let orders = lines.filter(|line| line["path"] == "/order-plz");
        orders.map(|line| (line["at"].as_f64().expect("at"), line["says"].clone())).collect()
    }
}

impl Drop for Weather {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
