use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{StoreError, migrations};

/// Writes that may be committed together.
const GROUP: usize = 64;
/// Reading connections kept open.
const READERS: usize = 4;

/// A write: runs inside the group's transaction, in its own savepoint, and answers once the group is durable.
type Write = Box<dyn FnOnce(&Transaction<'_>) -> Answer + Send>;
/// Reports the outcome: called with `None` after the commit, with the commit's error otherwise.
type Answer = Box<dyn FnOnce(Option<StoreError>) + Send>;

/// The handle to the database; cheap to clone.
#[derive(Clone)]
pub struct Store {
    writer: mpsc::Sender<Write>,
    readers: Arc<Readers>,
}

struct Readers {
    path: PathBuf,
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
    let (writer, queue) = mpsc::channel(1024);
    std::thread::Builder::new().name("store-writer".into()).spawn(move || write_loop(db, queue)).map_err(|e| io(&e))?;
    Ok(Store { writer, readers: Arc::new(Readers { path: path.to_owned(), idle: Mutex::default() }) })
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
            let outcome = in_savepoint(tx, work);
            Box::new(move |failed| {
                let _ = reply.send(failed.map_or(outcome, Err));
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
        tokio::task::spawn_blocking(move || {
            let db = readers.take()?;
            let outcome = work(&db);
            readers.give_back(db);
            outcome
        })
        .await
        .map_err(|_| StoreError::Closed)?
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
    // A transaction that cannot begin drops the writes; their senders then read `Closed`.
    let Ok(tx) = db.transaction_with_behavior(TransactionBehavior::Immediate) else {
        group.clear();
        return;
    };
    let answers: Vec<Answer> = group.drain(..).map(|write| write(&tx)).collect();
    let outcome = tx.commit();
    let reason = outcome.err().map(|e| e.to_string());
    for answer in answers {
        answer(reason.as_deref().map(|text| StoreError::Io(text.to_owned())));
    }
}

fn in_savepoint<T>(
    tx: &Transaction<'_>,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    tx.execute_batch("SAVEPOINT work")?;
    let outcome = work(tx);
    tx.execute_batch(if outcome.is_ok() { "RELEASE work" } else { "ROLLBACK TO work; RELEASE work" })?;
    outcome
}

fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

fn io(error: &std::io::Error) -> StoreError {
    StoreError::Io(error.to_string())
}
