//! The machines under the platform, called nodes by those who ask.

use std::collections::HashSet;

use super::ActionError;
use super::apps::Apps;
use crate::api::machine::{Condition, Machine, Resources};
use crate::server::domain::{self, AppName, User};

impl Apps {
    /// The machines that replicas run on, with the replicas on each of the person's own apps: how many others there are,
    /// and whose, is nobody's business.
    pub async fn machines(&self, user: &User) -> Result<Vec<Machine>, ActionError> {
        let glances = self.rooms.store.glances_open_to(user.id).await?;
        let apps: HashSet<AppName> = glances.into_iter().map(|glance| glance.app.name).collect();
        let runtime = self.rooms.deployer.runtime();
        let (machines, instances) = (runtime.machines().await?, runtime.instances().await?);
        let shown = |machine: domain::Machine| {
            let on_it = instances.iter().filter(|one| one.machine.as_ref() == Some(&machine.name));
            let mut replicas: Vec<_> =
                on_it.filter(|one| apps.contains(&one.workload.app)).map(|one| one.name.clone()).collect();
            replicas.sort();
            Machine {
                name: machine.name,
                ready: machine.ready,
                schedulable: machine.schedulable,
                versions: machine.versions.into_iter().map(|(what, version)| (what.to_owned(), version)).collect(),
                capacity: resources(machine.capacity),
                allocatable: resources(machine.allocatable),
                conditions: machine.conditions.into_iter().map(condition).collect(),
                replicas,
            }
        };
        Ok(machines.into_iter().map(shown).collect())
    }
}

fn resources(has: domain::Resources) -> Resources {
    Resources { cpu_m: has.cpu_milli, memory: has.memory_bytes }
}

fn condition(told: domain::Condition) -> Condition {
    Condition { kind: told.kind, status: told.status, bad: told.bad, message: told.message }
}
