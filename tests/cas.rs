//! Several CAs, and what they ask for: the next one when one fails, patience, an early renewal.

use std::time::Duration;

use base64::Engine;

use crate::acme::{HOST, LIMIT, World};
use crate::harness::pebble::{Pebble, Wishes};
use crate::harness::weather::Weather;
use crate::harness::{Curl, Person, Project, Server, serial, wait_until};

/// A platform with one app, and a certificate for it as soon as there is one.
fn world(pebble: Pebble, tls: &str) -> World {
    let server = Server::with_config(&format!("domain = \"paas.test\"\n[tls]\n{tls}challenge = \"http-01\"\n"));
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push_to(&ada, &server);
    World { server, ada, project, pebble }
}

/// Waits until the app is served with a certificate of this CA.
#[track_caller]
fn wait_for(world: &World, pebble: &Pebble, what: &str) {
    let curl = Curl::trusting(&pebble.root(), world.server.https);
    wait_until(what, LIMIT, || curl.get(HOST, "/", &[]).status == 200);
}

#[test]
fn when_a_ca_fails_the_next_is_asked_and_the_first_again_when_it_is_back() {
    let (Some(first), Some(mut second)) = (Pebble::prepare(), Pebble::prepare()) else { return };
    let tls = first.config_before(&second);
    let mut world = world(first, &tls);
    let (http, https) = (world.server.http, world.server.https);
    // Three in a row give an order up for a moment, which is one in forty.
    second.start(http, https, &Wishes { env: &[("PEBBLE_WFE_NONCEREJECT", "30")], ..Wishes::default() });
    wait_for(&world, &second, "the second CA signs while the first is down");

    let renew = |world: &World| world.ada.run(&["certs:renew", HOST, "-a", "hello"]).ok();
    world.start_ca(&Wishes::default());
    renew(&world);
    wait_for(&world, &world.pebble, "the first is back");

    world.pebble.stop();
    world.start_ca(&Wishes { eab: true, ..Wishes::default() });
    renew(&world);
    wait_for(&world, &second, "the first does not want us");
}

#[test]
fn an_order_whose_ca_is_gone_goes_to_the_next() {
    let (Some(first), Some(mut second)) = (Pebble::prepare(), Pebble::prepare()) else { return };
    let tls = first.config_before(&second);
    let mut world = world(first, &tls);
    world.server.kill();
    world.start_ca(&Wishes::default());
    if world.server.start_again_crashing("certificate.placed") {
        world.server.wait_dead(LIMIT);
    }
    world.pebble.stop();
    second.start(world.server.http, world.server.https, &Wishes::default());
    world.server.start_again();
    wait_for(&world, &second, "the second CA signs what was placed with the first");
}

/// Orders that came within so many seconds after the first, and later.
fn soon_and_later(weather: &Weather, seconds: f64) -> (Vec<String>, Vec<String>) {
    let orders = weather.orders();
    let begun = orders[0].0;
    let names = |late: bool| {
        let theirs = orders[1..].iter().filter(|(at, _)| (at - begun > seconds) == late);
        theirs.map(|(_, says)| says["identifiers"][0]["value"].as_str().expect("name").to_owned()).collect()
    };
    (names(false), names(true))
}

#[test]
fn a_limit_of_one_name_holds_up_nobody_else() {
    let Some(pebble) = Pebble::prepare() else { return };
    let weather = Weather::before(&pebble, &["429=12"]);
    let tls = pebble.config_for(&[weather.url()], &[&pebble]);
    let mut world = world(pebble, &tls);
    world.start_ca(&Wishes::default());
    let curl = Curl::trusting(&world.pebble.root(), world.server.https);
    for host in [HOST, "api.paas.test", "git.paas.test"] {
        wait_until(host, LIMIT, || curl.get(host, "/healthz", &[]).code == 0);
    }
    let limited = weather.orders()[0].1["identifiers"][0]["value"].as_str().expect("name").to_owned();
    let (soon, later) = soon_and_later(&weather, 12.0);
    assert!(soon.len() == 2 && !soon.contains(&limited), "{limited}: {soon:?}");
    assert!(!later.is_empty() && later.iter().all(|name| *name == limited), "{limited}: {later:?}");
}

#[test]
fn a_ca_that_is_overloaded_is_left_alone() {
    let Some(pebble) = Pebble::prepare() else { return };
    let weather = Weather::before(&pebble, &["503=10"]);
    let tls = format!("{}orders_at_once = 1\n", pebble.config_for(&[weather.url()], &[&pebble]));
    let mut world = world(pebble, &tls);
    world.start_ca(&Wishes::default());
    wait_until("it is told why nothing happens", LIMIT, || world.certs()[0]["last_error"].is_string());
    wait_for(&world, &world.pebble, "the CA is well again");
    for host in ["api.paas.test", "git.paas.test"] {
        world.wait_for_certificate(host);
    }
    let (soon, later) = soon_and_later(&weather, 10.0);
    assert!(soon.is_empty() && later.len() >= 3, "{soon:?} {later:?}");
}

#[test]
fn a_ca_may_ask_for_an_early_renewal() {
    renewed_early(&["ari"]);
}

#[test]
fn a_ca_that_does_not_say_what_is_replaced_is_asked_plainly() {
    renewed_early(&["ari", "mute"]);
}

/// Pebble's certificates live for five years: what happens is the CA's wish, and not ours.
fn renewed_early(behaviours: &[&str]) {
    let Some(pebble) = Pebble::prepare() else { return };
    let weather = Weather::before(&pebble, behaviours);
    let tls = pebble.config_for(&[weather.url()], &[&pebble]);
    let mut world = world(pebble, &tls);
    world.start_ca(&Wishes { env: &[], ..Wishes::default() });
    let replacing = || -> Vec<_> {
        let orders = weather.orders().into_iter().map(|(_, says)| says);
        orders.filter(|says| says["replaces"].is_string()).collect()
    };
    wait_until("one is replaced", LIMIT, || !replacing().is_empty());
    let order = replacing().remove(0);
    // RFC 9773 4.1: the key's identifier and the serial number, both in base64url.
    let old = order["replaces"].as_str().and_then(|text| text.split_once('.')).expect("identifier").1.to_owned();
    let old = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(old).expect("base64url");
    let old: String = old.iter().map(|byte| format!("{byte:02x}")).collect();
    let host = order["identifiers"][0]["value"].as_str().expect("name");
    wait_until("another one serves", LIMIT, || {
        let now = serial(world.server.https, host);
        !now.is_empty() && now != old.trim_start_matches("00")
    });
    let in_a_month = |text: &str| {
        let at: Option<jiff::Timestamp> = text.parse().ok();
        at.is_some_and(|at| {
            (29..32).contains(&(at.as_second() - jiff::Timestamp::now().as_second()).div_euclid(86_400))
        })
    };
    let next = || world.certs()[0]["next_at"].as_str().unwrap_or_default().to_owned();
    wait_until("the others are renewed in a month", LIMIT, || in_a_month(&next()));
    std::thread::sleep(Duration::from_secs(20));
    // One whose nonce the CA did not like is said again.
    let all = replacing();
    assert!(all.iter().all(|one| *one == order), "no other before: {all:?}");
}
