//! Erlang distribution between replicas: pure.
//!
//! A node that starts distribution starts `epmd` if none answers on its port. On the default port the first app's would
//! serve the whole machine and die with its sandbox. One per app would not do either: nodes are registered by the part
//! before the `@`, which is the same for every replica of an app, so the second would be refused, and with it every
//! deploy. So each replica has a port for an `epmd` of its own, which lives and dies with it. It is for what runs beside
//! the node in the same replica (`rpc`, `remote`, `epmd -names`), and who connects from outside finds it on the usual port.
//!
//! (All that is for replicas that share the machine's network. In a container of its own a replica has the usual port, and
//! its node has the same port as every other app's.)
//!
//! Between replicas nobody asks an `epmd`. The node itself listens on its app's one port (`local/dist_ports.rs`), on its
//! replica's own loopback address, and takes that port for its peers' too (`-erl_epmd_port`, OTP 23.1 or newer; older
//! ones run as before and do not find each other). That flag is for the replica's first node only, so the entrypoint
//! adds it and the node forgets it at its start: a second node beside it cannot have the same port.
//!
//! Whoever names the node or its address differently in the config is left alone, and clusters by means of their own.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where the node of a replica listens that has an address for itself: addresses tell them apart.
pub(super) const NODE_PORT: u16 = 32_000;
/// Where everybody else has `epmd`.
const USUAL: u16 = 4369;
/// Where `epmd` listens and is looked for.
const EPMD_PORT: &str = "ERL_EPMD_PORT";
/// Comes before all other flags, so that an app's own `vm.args` win.
const FLAGS: &str = "ERL_AFLAGS";
/// From which the entrypoint makes `-erl_epmd_port`.
const NODE_PORT_NAME: &str = "GIGALIXIR__NODE_PORT";
const INTERFACE: &str = "inet_dist_use_interface";
const NAMING: [&str; 3] = ["MY_POD_IP", "MY_NODE_NAME", "RELEASE_NODE"];

/// `wished` with what distribution needs; what is wished already stays, and flags are added to.
pub(in crate::server::runtime) fn environment(
    wished: &BTreeMap<String, String>,
    ip: IpAddr,
    epmd: u16,
    node: u16,
) -> BTreeMap<String, String> {
    let mut env = wished.clone();
    env.entry(EPMD_PORT.to_owned()).or_insert(epmd.to_string());
    if let IpAddr::V4(ip) = ip
        && is_ours_to_place(&env)
    {
        let [a, b, c, d] = ip.octets();
        let own = env.get(FLAGS).cloned().unwrap_or_default();
        let flags = format!("-kernel {INTERFACE} {{{a},{b},{c},{d}}} {own}");
        env.insert(FLAGS.to_owned(), flags.trim_end().to_owned());
        env.insert(NODE_PORT_NAME.to_owned(), node.to_string());
    }
    env
}

/// The same where a replica's address is known only when it starts, and is its own: the variable that is to be added.
pub(super) fn own_node(wished: &BTreeMap<String, String>) -> Option<(&'static str, u16)> {
    is_ours_to_place(wished).then_some((NODE_PORT_NAME, NODE_PORT))
}

/// Whether neither the node's name nor where it listens is the app's own choice.
fn is_ours_to_place(env: &BTreeMap<String, String>) -> bool {
    NAMING.iter().all(|name| !env.contains_key(*name)) && !env.get(FLAGS).is_some_and(|own| own.contains(INTERFACE))
}

/// A port of a replica's loopback as it would be if the replica had a loopback of its own: `epmd` on its usual port.
pub(super) fn own_port(env: &BTreeMap<String, String>, port: u16) -> u16 {
    let epmd = || env.get(EPMD_PORT).and_then(|port| port.parse().ok());
    if port == USUAL { epmd().unwrap_or(port) } else { port }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 64, 1, 2));
    const OURS: &str = "-kernel inet_dist_use_interface {127,64,1,2}";

    fn flags_with(name: &str, value: &str) -> Option<String> {
        environment(&BTreeMap::from([(name.to_owned(), value.to_owned())]), IP, 12345, 32001).remove(FLAGS)
    }

    #[test]
    fn config_wins() {
        let env = environment(&BTreeMap::new(), IP, 12345, 32001);
        assert_eq!(env[FLAGS], OURS);
        assert_eq!((env[EPMD_PORT].as_str(), env[NODE_PORT_NAME].as_str()), ("12345", "32001"));
        assert_eq!((own_port(&env, 4369), own_port(&env, 80), own_port(&BTreeMap::new(), 4369)), (12345, 80, 4369));
        assert_eq!(flags_with("RELEASE_NODE", "me@127.0.0.1"), None);
        assert_eq!(flags_with(FLAGS, "+sbwt none"), Some(format!("{OURS} +sbwt none")));
        let own = "-kernel inet_dist_use_interface {0,0,0,0}";
        assert_eq!(flags_with(FLAGS, own).as_deref(), Some(own));
        let own = BTreeMap::from([(EPMD_PORT.to_owned(), "4369".to_owned())]);
        assert_eq!(environment(&own, IP, 12345, 32001)[EPMD_PORT], "4369");
    }
}
