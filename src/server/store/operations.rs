//! Operations: each slow change of an app is a row, so that a server killed at any instant undoes it (before the commit)
//! or finds it done (after). A release, the workloads and the operation change in one transaction or not at all.

use jiff::Timestamp;
use rusqlite::{Row, Transaction, params};

use crate::server::domain::{AppId, AppName, Formation, ProcessType, ReleaseState, ReleaseVersion};

use super::activity::record;
use super::releases::{insert, set_state};
use super::rows::{parsed, taken, to_json};
use super::schedules::follow_code;
use super::{NewRelease, Store, StoreError, StoredWorkload};

/// An operation's row; the generation of the workloads it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub i64);

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// New code.
    Deploy,
    /// An older release's code, config and formation.
    Rollback,
    /// Another config.
    Config,
    /// The same again.
    Restart,
    /// Other counts or another size.
    Scale,
    /// A replica for a rehearsal. It is undone as soon as it has begun.
    Rehearse,
    /// The end of the app.
    Destroy,
}

/// What moves when the deploy of a push has been committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushRef {
    /// `refs/heads/…`.
    pub reference: String,
    /// 40 hex digits.
    pub commit: String,
}

/// An operation that has begun.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its row.
    pub id: OperationId,
    /// Whose.
    pub app: AppId,
    /// The app's name.
    pub app_name: AppName,
    /// What.
    pub kind: Kind,
    /// The release it makes live.
    pub release: Option<ReleaseVersion>,
    /// The push it belongs to.
    pub push: Option<PushRef>,
    /// The address of who asked.
    pub by: String,
    /// Whether it has been committed (its push's ref may still have to move).
    pub committed: bool,
}

/// What becomes true when an operation is committed.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Wished replicas and size from now on.
    pub formation: Formation,
    /// Generations that are replaced: they drain.
    pub retire: Vec<(ProcessType, i64)>,
    /// Standing generations that get another number of replicas.
    pub resize: Vec<(ProcessType, i64, u32)>,
    /// Standing generations whose wish is another from now on: their running instances were brought there.
    pub renew: Vec<StoredWorkload>,
}

impl Store {
    /// Begins an operation, with its release if it makes one (`seal` gets the number and returns the sealed config).
    /// [`StoreError::Taken`] if another one of the app has not ended.
    pub async fn begin(
        &self,
        app: AppId,
        kind: Kind,
        by: String,
        push: Option<PushRef>,
        release: Option<(NewRelease, impl FnOnce(ReleaseVersion) -> Vec<u8> + Send + 'static)>,
    ) -> Result<Operation, StoreError> {
        self.write(move |tx| {
            let name = tx.query_row("SELECT name FROM apps WHERE id = ?1", [app.0], |row| row.get::<_, String>(0));
            let name = name.map_err(|error| match error {
                rusqlite::Error::QueryReturnedNoRows => StoreError::NotFound,
                other => StoreError::Sqlite(other),
            })?;
            let release = release.map(|(new, seal)| insert(tx, app, &by, &new, seal)).transpose()?;
            let (reference, commit) = push.clone().map_or((None, None), |p| (Some(p.reference), Some(p.commit)));
            tx.prepare_cached(
                "INSERT INTO operations (app, kind, state, release, reference, commit_sha, started_by, started_at)
                 VALUES (?1, ?2, 'running', ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                app.0,
                kind.as_str(),
                release.map(|version| version.0),
                reference,
                commit,
                by,
                Timestamp::now().to_string()
            ])
            .map_err(taken)?;
            let id = OperationId(tx.last_insert_rowid());
            let app_name = AppName::parse(&name).map_err(|_| StoreError::Damaged("name"))?;
            Ok(Operation { id, app, app_name, kind, release, push, by, committed: false })
        })
        .await
    }

    /// The commit point: the release becomes live, its workloads serve, the old ones drain, the formation is as said.
    pub async fn commit(&self, operation: &Operation, commit: Commit) -> Result<(), StoreError> {
        let operation = operation.clone();
        self.write(move |tx| {
            let app = operation.app;
            if let Some(version) = operation.release {
                make_live(tx, app, version)?;
                follow_code(tx, app, version, &operation.by)?;
            }
            let formation = to_json(&commit.formation)?;
            tx.execute("UPDATE apps SET formation = ?2 WHERE id = ?1", params![app.0, formation])?;
            if operation.kind == Kind::Scale {
                tx.execute(
                    "INSERT INTO scalings (app, release, formation, scaled_by, scaled_at)
                     SELECT id, live, ?2, ?3, ?4 FROM apps WHERE id = ?1 AND live IS NOT NULL",
                    params![app.0, formation, operation.by, Timestamp::now().to_string()],
                )?;
            }
            change_workloads(tx, &operation, &commit)?;
            record(tx, app, operation.kind.as_str(), &told(tx, &operation, &commit.formation)?, &operation.by)?;
            end(tx, operation.id, if operation.push.is_some() { "committed" } else { "done" })
        })
        .await
    }

    /// Undone: its release has failed, and its workloads have only to go.
    pub async fn fail(&self, operation: &Operation) -> Result<(), StoreError> {
        let operation = operation.clone();
        self.write(move |tx| {
            if let Some(version) = operation.release {
                set_state(tx, operation.app, version, ReleaseState::Failed)?;
            }
            tx.execute(
                "UPDATE workloads SET state = 'draining' WHERE app = ?1 AND generation = ?2",
                params![operation.app.0, operation.id.0],
            )?;
            end(tx, operation.id, "failed")
        })
        .await
    }

    /// The push's ref has moved: nothing is left to do.
    pub async fn finish_push(&self, id: OperationId) -> Result<(), StoreError> {
        self.write(move |tx| end(tx, id, "done")).await
    }

    /// Everything that has not ended, oldest first: what a server finds at its start.
    pub async fn open_operations(&self) -> Result<Vec<Operation>, StoreError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT o.*, apps.name FROM operations AS o JOIN apps ON apps.id = o.app
                 WHERE o.state IN ('running', 'committed') ORDER BY o.id",
            )?;
            query.query_and_then([], operation)?.collect()
        })
        .await
    }
}

/// What was done, in a release's own words where there is one.
fn told(tx: &Transaction<'_>, operation: &Operation, formation: &Formation) -> Result<String, StoreError> {
    if let Some(version) = operation.release {
        let sql = "SELECT summary FROM releases WHERE app = ?1 AND version = ?2";
        return Ok(tx.query_row(sql, params![operation.app.0, version.0], |row| row.get(0))?);
    }
    if operation.kind == Kind::Scale {
        let mut counts = formation.replicas.clone();
        counts.entry(ProcessType::web()).or_insert(formation.replicas_of(&ProcessType::web()));
        let counts: Vec<_> = counts.iter().map(|(process, count)| format!("{process}={count}")).collect();
        return Ok(format!("Scale to {}, size {}.", counts.join(", "), formation.size.as_f64()));
    }
    Ok("Restart.".to_owned())
}

fn make_live(tx: &Transaction<'_>, app: AppId, version: ReleaseVersion) -> Result<(), StoreError> {
    tx.execute("UPDATE releases SET state = 'superseded' WHERE app = ?1 AND state = 'live'", [app.0])?;
    set_state(tx, app, version, ReleaseState::Live)?;
    tx.execute("UPDATE apps SET live = ?2 WHERE id = ?1", params![app.0, version.0])?;
    Ok(())
}

fn change_workloads(tx: &Transaction<'_>, operation: &Operation, commit: &Commit) -> Result<(), StoreError> {
    let app = operation.app.0;
    tx.execute(
        "UPDATE workloads SET state = 'serving' WHERE app = ?1 AND generation = ?2 AND state = 'rising'",
        params![app, operation.id.0],
    )?;
    for (process, generation) in &commit.retire {
        tx.execute(
            "UPDATE workloads SET state = 'draining' WHERE app = ?1 AND process = ?2 AND generation = ?3",
            params![app, process.as_str(), generation],
        )?;
    }
    for (process, generation, replicas) in &commit.resize {
        tx.execute(
            "UPDATE workloads SET replicas = ?4 WHERE app = ?1 AND process = ?2 AND generation = ?3",
            params![app, process.as_str(), generation, replicas],
        )?;
    }
    for workload in &commit.renew {
        tx.execute(
            "UPDATE workloads SET digest = ?4, spec = ?5 WHERE app = ?1 AND process = ?2 AND generation = ?3",
            params![
                app,
                workload.id.process.as_str(),
                workload.id.generation,
                workload.digest.as_str(),
                workload.sealed_spec
            ],
        )?;
    }
    Ok(())
}

fn end(tx: &Transaction<'_>, id: OperationId, state: &str) -> Result<(), StoreError> {
    let sql = "UPDATE operations SET state = ?2, ended_at = ?3 WHERE id = ?1";
    tx.execute(sql, params![id.0, state, Timestamp::now().to_string()])?;
    Ok(())
}

fn operation(row: &Row<'_>) -> Result<Operation, StoreError> {
    let reference: Option<String> = row.get("reference")?;
    let commit: Option<String> = row.get("commit_sha")?;
    Ok(Operation {
        id: OperationId(row.get("id")?),
        app: AppId(row.get("app")?),
        app_name: parsed(row, "name", AppName::parse)?,
        kind: parsed(row, "kind", |text| Kind::parse(text).ok_or(()))?,
        release: row.get::<_, Option<u32>>("release")?.map(ReleaseVersion),
        push: reference.zip(commit).map(|(reference, commit)| PushRef { reference, commit }),
        by: row.get("started_by")?,
        committed: row.get::<_, String>("state")? == "committed",
    })
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Deploy, Self::Rollback, Self::Config, Self::Restart, Self::Scale, Self::Rehearse, Self::Destroy];

    /// As stored and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Config => "config",
            Self::Restart => "restart",
            Self::Scale => "scale",
            Self::Rehearse => "rehearse",
            Self::Destroy => "destroy",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{SlugId, testing};
    use super::*;
    use crate::server::domain::{Size, Slug, SlugDigest, SlugKind, Stack, WorkloadId};
    use crate::server::store::{StoredWorkload, WorkloadState};

    async fn app(store: &Store) -> AppId {
        let owner = testing::user(store, "a@example.com").await;
        let stack = Stack::parse("gigalixir-24").unwrap();
        store.create_app(owner, AppName::parse("shop").unwrap(), stack, |_| Vec::new()).await.unwrap().id
    }

    async fn slug(store: &Store, app: AppId, digit: &str) -> SlugId {
        let slug = Slug {
            digest: SlugDigest::parse(&digit.repeat(64)).unwrap(),
            size: 1,
            sha: digit.repeat(40),
            stack: Stack::parse("gigalixir-24").unwrap(),
            kind: SlugKind::Other,
            processes: BTreeMap::from([(ProcessType::web(), "run".to_owned())]),
            customer_app_name: None,
            customer_app_version: None,
            capabilities: serde_json::json!({}),
            schedules: Vec::new(),
        };
        store.record_slug(app, slug).await.unwrap()
    }

    async fn begin(store: &Store, app: AppId, kind: Kind, slug: Option<SlugId>) -> Result<Operation, StoreError> {
        let new = NewRelease { slug, formation: Formation::default(), summary: "Deploy".to_owned() };
        store.begin(app, kind, "a@example.com".to_owned(), None, Some((new, |v: ReleaseVersion| vec![v.0 as u8]))).await
    }

    fn commit(formation: Formation) -> Commit {
        Commit { formation, retire: Vec::new(), resize: Vec::new(), renew: Vec::new() }
    }

    fn row(app: AppId, operation: &Operation, digest: &str) -> StoredWorkload {
        StoredWorkload {
            app,
            id: WorkloadId { app: operation.app_name.clone(), process: ProcessType::web(), generation: operation.id.0 },
            state: WorkloadState::Rising,
            replicas: 1,
            digest: SlugDigest::parse(&digest.repeat(64)).unwrap(),
            sealed_spec: vec![7],
        }
    }

    #[tokio::test]
    async fn a_commit_changes_everything_at_once_and_a_failure_nothing() -> Result<(), StoreError> {
        let (store, _folder) = testing::open().await;
        let app = app(&store).await;
        let first_slug = slug(&store, app, "1").await;
        let first = begin(&store, app, Kind::Deploy, Some(first_slug)).await?;
        assert!(matches!(begin(&store, app, Kind::Deploy, None).await, Err(StoreError::Taken)), "one at a time");
        assert_eq!(store.releases_of(app).await?[0].version, ReleaseVersion(1), "the refused one left no release");
        store.add_workloads(vec![row(app, &first, "1")]).await?;
        store.commit(&first, commit(Formation::default())).await?;

        let second_slug = slug(&store, app, "2").await;
        let second = begin(&store, app, Kind::Deploy, Some(second_slug)).await?;
        store.add_workloads(vec![row(app, &second, "2")]).await?;
        store.fail(&second).await?;
        let live = store.live_release(app).await?.unwrap();
        assert_eq!((live.version, live.state), (ReleaseVersion(1), ReleaseState::Live));
        assert_eq!(live.sealed_config, vec![1]);
        assert_eq!(store.release(app, ReleaseVersion(2)).await?.state, ReleaseState::Failed);
        let workloads = store.all_workloads().await?;
        assert_eq!(
            workloads.iter().map(|w| w.state).collect::<Vec<_>>(),
            [WorkloadState::Serving, WorkloadState::Draining]
        );
        store.forget_workload(app, &workloads[1].id).await?;

        let third = begin(&store, app, Kind::Deploy, Some(second_slug)).await?;
        store.add_workloads(vec![row(app, &third, "2")]).await?;
        let retire = vec![(ProcessType::web(), first.id.0)];
        store.commit(&third, Commit { retire, ..commit(Formation::default()) }).await?;
        let states: Vec<_> = store.all_workloads().await?.into_iter().map(|w| w.state).collect();
        assert_eq!(states, [WorkloadState::Draining, WorkloadState::Serving]);
        let states: Vec<_> = store.releases_of(app).await?.into_iter().map(|r| r.state).collect();
        assert_eq!(states, [ReleaseState::Live, ReleaseState::Failed, ReleaseState::Superseded], "newest first");
        assert!(store.open_operations().await?.is_empty());
        Ok(())
    }

    #[tokio::test]
    async fn a_release_remembers_what_it_last_ran_with() -> Result<(), StoreError> {
        let (store, _folder) = testing::open().await;
        let app = app(&store).await;
        let first = begin(&store, app, Kind::Deploy, None).await?;
        store.commit(&first, commit(Formation::default())).await?;
        let none = None::<(NewRelease, fn(ReleaseVersion) -> Vec<u8>)>;
        let scale = store.begin(app, Kind::Scale, "a@example.com".to_owned(), None, none).await?;
        let wide = Formation { replicas: BTreeMap::from([(ProcessType::web(), 3)]), size: Size::from_milli(700) };
        store.commit(&scale, commit(wide.clone())).await?;
        assert_eq!(store.release(app, ReleaseVersion(1)).await?.formation, wide);
        assert_eq!(store.app_by_id(app).await?.formation, wide);
        assert_eq!(store.releases_of(app).await?[0].version, ReleaseVersion(1), "scaling makes no release");
        Ok(())
    }

    #[tokio::test]
    async fn archives_stay_as_long_as_somebody_may_ask_for_them() -> Result<(), StoreError> {
        let (store, _folder) = testing::open().await;
        let app = app(&store).await;
        for digit in ["1", "2", "3"] {
            let slug = slug(&store, app, digit).await;
            let operation = begin(&store, app, Kind::Deploy, Some(slug)).await?;
            if digit == "1" {
                store.add_workloads(vec![row(app, &operation, "1")]).await?;
            }
            store.commit(&operation, commit(Formation::default())).await?;
        }
        let pushing = slug(&store, app, "4").await;
        let kept = |keep: Vec<SlugDigest>| {
            let mut digits: Vec<_> = keep.iter().map(|digest| digest.as_str()[..1].to_owned()).collect();
            digits.sort();
            digits.concat()
        };
        let keep = store.slugs_to_keep(1, Timestamp::UNIX_EPOCH).await?;
        assert_eq!(kept(keep.into_iter().collect()), "134", "a workload, the newest release, a push under way");
        let keep = store.slugs_to_keep(20, Timestamp::UNIX_EPOCH).await?;
        assert_eq!(kept(keep.into_iter().collect()), "1234");
        let keep = store.slugs_to_keep(20, Timestamp::now()).await?;
        assert_eq!(kept(keep.into_iter().collect()), "134", "the live release stays however old it is");
        store.forget_unreleased_slugs(Some(app)).await?;
        let keep = store.slugs_to_keep(20, Timestamp::UNIX_EPOCH).await?;
        assert_eq!(kept(keep.into_iter().collect()), "123");
        assert_ne!(pushing, SlugId(0));
        Ok(())
    }

    #[tokio::test]
    async fn an_unfinished_operation_is_found_again() -> Result<(), StoreError> {
        let (store, _folder) = testing::open().await;
        let app = app(&store).await;
        let push = PushRef { reference: "refs/heads/main".to_owned(), commit: "a".repeat(40) };
        let none = None::<(NewRelease, fn(ReleaseVersion) -> Vec<u8>)>;
        let begun = store.begin(app, Kind::Deploy, "me".to_owned(), Some(push.clone()), none).await?;
        let open = store.open_operations().await?;
        assert_eq!((open.len(), open[0].id, open[0].committed), (1, begun.id, false));
        store.commit(&begun, commit(Formation::default())).await?;
        let open = store.open_operations().await?;
        assert_eq!((open.len(), open[0].push.as_ref(), open[0].committed), (1, Some(&push), true));
        store.finish_push(begun.id).await?;
        assert!(store.open_operations().await?.is_empty());
        Ok(())
    }
}
