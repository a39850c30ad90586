//! One writing thread that commits in groups, and a few reading connections.
//!
//! A write is answered when its group is on disk (`synchronous = FULL`), not before. An error or a panic in one write
//! undoes that write only; what undoes the whole group (a full disk, say) is answered to each write in it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::{StoreError, migrations};

/// Writes that may be committed together.
const GROUP: usize = 64;
/// Writes that may wait; more senders wait themselves.
const QUEUE: usize = 1024;
/// Reading connections.
const READERS: usize = 4;

/// A write: runs inside the group's transaction (or learns why there is none), in its own savepoint, and returns what
/// is to be told its sender later.
type Write = Box<dyn FnOnce(Result<&Transaction<'_>, &str>) -> Answer + Send>;
/// Tells the sender: called with `Ok` after the commit, with the reason otherwise.
type Answer = Box<dyn FnOnce(Result<(), &str>) + Send>;

/// The handle to the database; cheap to clone.
#[derive(Clone)]
pub struct Store {
    writer: mpsc::Sender<Write>,
    readers: Arc<Readers>,
    pub(super) access: watch::Sender<()>,
}

struct Readers {
    path: PathBuf,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

pub(super) fn open(path: &Path) -> Result<Store, StoreError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| io(&e))?;
    }
    make_private(path).map_err(|e| io(&e))?;
    let mut db = connect(path)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    migrations::run(&mut db)?;
    let (writer, queue) = mpsc::channel(QUEUE);
    std::thread::Builder::new().name("store-writer".into()).spawn(move || write_loop(db, queue)).map_err(|e| io(&e))?;
    let readers = Readers { path: path.to_owned(), places: Arc::new(Semaphore::new(READERS)), idle: Mutex::default() };
    Ok(Store { writer, readers: Arc::new(readers), access: watch::Sender::new(()) })
}

impl Store {
    /// Runs `work` in a transaction and returns when it is on disk. An error of `work` undoes all of it.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let write: Write = Box::new(move |tx| {
            let outcome = tx.map_err(|why| StoreError::Io(why.to_owned())).and_then(|tx| in_savepoint(tx, work));
            Box::new(move |committed| {
                let told = match committed {
                    Err(why) if outcome.is_ok() => Err(StoreError::Io(why.to_owned())),
                    _ => outcome,
                };
                // A sender that went away does not want to know.
                drop(reply.send(told));
            })
        });
        self.writer.send(write).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs `work` on a snapshot, off the async threads.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let readers = self.readers.clone();
        let place = self.readers.places.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        tokio::task::spawn_blocking(move || {
            let db = readers.take()?;
            let snapshot = db.unchecked_transaction()?;
            let outcome = work(&snapshot);
            snapshot.finish()?;
            readers.give_back(db);
            drop(place);
            outcome
        })
        .await
        .map_err(|panic| StoreError::Io(panic.to_string()))?
    }
}

impl Readers {
    fn take(&self) -> Result<Connection, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(db) => Ok(db),
            None => {
                let db = connect(&self.path)?;
                db.pragma_update(None, "query_only", true)?;
                Ok(db)
            }
        }
    }

    fn give_back(&self, db: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < READERS {
            idle.push(db);
        }
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "cache_size", -512)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

fn write_loop(mut db: Connection, mut queue: mpsc::Receiver<Write>) {
    let mut group = Vec::with_capacity(GROUP);
    while let Some(first) = queue.blocking_recv() {
        group.push(first);
        while group.len() < GROUP
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        commit(&mut db, &mut group);
    }
}

/// Runs a group in one transaction and answers each write once the commit has succeeded or failed.
fn commit(db: &mut Connection, group: &mut Vec<Write>) {
    let (answers, outcome): (Vec<Answer>, _) = match db.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(tx) => (group.drain(..).map(|write| write(Ok(&tx))).collect(), tx.commit()),
        Err(error) => {
            let why = error.to_string();
            (group.drain(..).map(|write| write(Err(&why))).collect(), Err(error))
        }
    };
    let outcome = outcome.map_err(|error| {
        tracing::error!(cause = %error, store.writes = answers.len(), "a group of writes was not committed");
        error.to_string()
    });
    for answer in answers {
        answer(outcome.as_ref().copied().map_err(String::as_str));
    }
}

/// Some errors (a full disk) make SQLite undo the whole transaction by itself. Nothing more may run then: it would be
/// committed at once, statement by statement; and the group's commit fails, as it should.
fn in_savepoint<T>(
    tx: &Transaction<'_>,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if tx.is_autocommit() {
        return Err(StoreError::Io("an earlier write undid the group".into()));
    }
    tx.execute_batch("SAVEPOINT work")?;
    let outcome =
        catch_unwind(AssertUnwindSafe(|| work(tx))).unwrap_or_else(|_| Err(StoreError::Io("a write panicked".into())));
    match &outcome {
        Ok(_) => tx.execute_batch("RELEASE work")?,
        Err(_) if tx.is_autocommit() => {}
        Err(_) => {
            if tx.execute_batch("ROLLBACK TO work; RELEASE work").is_err() {
                tx.execute_batch("ROLLBACK")?;
            }
        }
    }
    outcome
}

fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

fn io(error: &std::io::Error) -> StoreError {
    StoreError::Io(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    fn fresh() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("db")).unwrap();
        (folder, store)
    }

    async fn table(store: &Store) {
        store.write(|tx| Ok(tx.execute_batch("CREATE TABLE t (n INTEGER UNIQUE) STRICT")?)).await.unwrap();
    }

    async fn put(store: &Store, n: i64) -> Result<(), StoreError> {
        store.write(move |tx| Ok(tx.execute("INSERT INTO t VALUES (?)", [n]).map(drop)?)).await
    }

    async fn numbers(store: &Store) -> Vec<i64> {
        let query = |db: &Connection| {
            let mut query = db.prepare("SELECT n FROM t ORDER BY n")?;
            Ok(query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
        };
        store.read(query).await.unwrap()
    }

    /// A write that holds the writer until told, so that the writes sent meanwhile become one group.
    async fn held(store: &Store) -> (std::sync::mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
        let (go, wait) = std::sync::mpsc::channel();
        let (begun, started) = oneshot::channel();
        let store = store.clone();
        let task = tokio::spawn(async move {
            let hold = move |_: &Transaction<'_>| {
                begun.send(()).unwrap();
                wait.recv().unwrap();
                Ok(())
            };
            store.write(hold).await.unwrap();
        });
        started.await.unwrap();
        (go, task)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_write_of_a_group_fails_alone() {
        let (_folder, store) = fresh();
        table(&store).await;
        let (go, holder) = held(&store).await;
        let failing = store.write(|tx| {
            tx.execute("INSERT INTO t VALUES (2)", [])?;
            Err::<(), _>(StoreError::NotFound)
        });
        let panicking = store.write(|tx| -> Result<(), StoreError> {
            tx.execute("INSERT INTO t VALUES (3)", [])?;
            panic!("in a write")
        });
        let release = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            go.send(()).unwrap();
        };
        let (one, failed, panicked, four, ()) =
            tokio::join!(put(&store, 1), failing, panicking, put(&store, 4), release);
        holder.await.unwrap();
        assert!(one.is_ok() && four.is_ok());
        assert!(matches!(failed, Err(StoreError::NotFound)), "its own error");
        assert!(matches!(panicked, Err(StoreError::Io(_))));
        assert_eq!(numbers(&store).await, [1, 4]);
        assert!(put(&store, 5).await.is_ok(), "the writer lives on");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_group_undone_by_sqlite_is_an_error_to_all_of_it() {
        let (_folder, store) = fresh();
        table(&store).await;
        let (go, holder) = held(&store).await;
        let undoing = store.write(|tx| {
            tx.execute_batch("ROLLBACK")?;
            Err::<(), _>(StoreError::NotFound)
        });
        let release = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            go.send(()).unwrap();
        };
        let (one, undone, two, ()) = tokio::join!(put(&store, 1), undoing, put(&store, 2), release);
        holder.await.unwrap();
        assert!(one.is_err() && undone.is_err() && two.is_err());
        assert_eq!(numbers(&store).await, Vec::<i64>::new());
        assert!(put(&store, 3).await.is_ok(), "the next group is fine");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_read_is_one_snapshot_and_cannot_write() {
        let (_folder, store) = fresh();
        table(&store).await;
        let (first, reading) = oneshot::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let count = |db: &Connection| db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0));
        let twice = store.read(move |db| {
            let before = count(db)?;
            first.send(()).unwrap();
            wait.recv().unwrap();
            Ok((before, count(db)?))
        });
        let write = async {
            reading.await.unwrap();
            put(&store, 1).await.unwrap();
            go.send(()).unwrap();
        };
        assert_eq!(tokio::join!(twice, write).0.unwrap(), (0, 0));
        assert!(store.read(|db| Ok(db.execute("INSERT INTO t VALUES (9)", [])?)).await.is_err());
        let panicked = store.read(|_| -> Result<(), StoreError> { panic!("in a read") }).await;
        assert!(panicked.is_err());
        assert_eq!(numbers(&store).await, [1]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_readers_take_turns() {
        let (_folder, store) = fresh();
        table(&store).await;
        put(&store, 1).await.unwrap();
        let reads = (0..100).map(|_| numbers(&store));
        assert!(futures_util::future::join_all(reads).await.iter().all(|found| *found == [1]));
        assert!(store.readers.idle.lock().unwrap().len() <= READERS);
    }

    #[test]
    fn a_newer_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
        let refusal = Store::open(&path).err().unwrap();
        assert!(matches!(refusal, StoreError::TooNew { found: 999, .. }));
        assert!(refusal.to_string().contains("newer gigalixir"));
    }

    #[test]
    fn the_database_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, _store) = fresh();
        let mode = std::fs::metadata(folder.path().join("db")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    const CHILD: &str = "GIGALIXIR_TEST_STORE";

    /// Not a test by itself: the process that the next one kills.
    #[test]
    #[ignore = "run by what_was_acknowledged_survives_a_kill"]
    fn writes_until_killed() {
        let Some(path) = std::env::var_os(CHILD) else { return };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Store::open(Path::new(&path)).unwrap();
            table(&store).await;
            for n in 0.. {
                put(&store, n).await.unwrap();
                #[allow(clippy::print_stdout, reason = "how this child process tells its parent")]
                {
                    println!("wrote {n}");
                }
            }
        });
    }

    #[test]
    fn what_was_acknowledged_survives_a_kill() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let name = "server::store::connection::tests::writes_until_killed";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--ignored", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = lines
            .map_while(Result::ok)
            .filter_map(|line| line.split_once("wrote ").and_then(|(_, n)| n.parse::<i64>().ok()));
        let seen = acknowledged.by_ref().take(200).last();
        child.kill().unwrap();
        let last = acknowledged.last().or(seen).unwrap();
        child.wait().unwrap();
        assert!(last >= 199);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(async { numbers(&Store::open(&path).unwrap()).await });
        assert!(found.len() as i64 > last, "{} rows, {last} was acknowledged", found.len());
    }
}
