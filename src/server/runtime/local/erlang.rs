//! Erlang distribution where all replicas share one network: pure.
//!
//! A node that starts distribution starts `epmd` if none answers on its port. On the default port the first app's would
//! serve the whole machine and die with its sandbox. One per app would not do either: nodes are registered by the part
//! before the `@`, which is the same for every replica of an app, so the second would be refused, and with it every
//! deploy. So each replica has a port for an `epmd` of its own, which lives and dies with it.
//!
//! Nodes listen on their replica's own loopback address, so that the cookie is not the only thing between them and the
//! machine's neighbours. Whoever names the node differently, or gives flags of their own, is left alone.
//!
//! Deliberately absent: replicas finding each other. A node asks for its peer at its own `epmd`'s port. What works
//! without any `epmd` is one port for all: `-start_epmd false -erl_epmd_port N`, with the address as below (OTP 23.1);
//! then a second node in the same replica (`rpc`, `remote`) needs `-dist_listen false` (OTP 25).

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where `epmd` listens and is looked for.
const EPMD_PORT: &str = "ERL_EPMD_PORT";
/// Comes before all other flags, so that an app's own `vm.args` win.
const FLAGS: &str = "ERL_AFLAGS";
const NAMING: [&str; 4] = [FLAGS, "MY_POD_IP", "MY_NODE_NAME", "RELEASE_NODE"];

/// `wished` with what distribution needs; what is wished already stays.
pub(super) fn environment(wished: &BTreeMap<String, String>, ip: IpAddr, epmd: u16) -> BTreeMap<String, String> {
    let mut env = wished.clone();
    env.entry(EPMD_PORT.to_owned()).or_insert(epmd.to_string());
    if let IpAddr::V4(ip) = ip
        && NAMING.iter().all(|name| !env.contains_key(*name))
    {
        let [a, b, c, d] = ip.octets();
        env.insert(FLAGS.to_owned(), format!("-kernel inet_dist_use_interface {{{a},{b},{c},{d}}}"));
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_wins() {
        let ip = IpAddr::from([127, 64, 1, 2]);
        let env = environment(&BTreeMap::new(), ip, 12345);
        assert_eq!(env[FLAGS], "-kernel inet_dist_use_interface {127,64,1,2}");
        assert_eq!(env[EPMD_PORT], "12345");
        let own = BTreeMap::from([("RELEASE_NODE".to_owned(), "me@127.0.0.1".to_owned())]);
        assert!(!environment(&own, ip, 12345).contains_key(FLAGS));
        let own = BTreeMap::from([(EPMD_PORT.to_owned(), "4369".to_owned())]);
        assert_eq!(environment(&own, ip, 12345)[EPMD_PORT], "4369");
    }
}
