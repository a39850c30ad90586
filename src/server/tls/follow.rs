//! Keeping up with the routes: whom visitors can come for decides who is shown a certificate.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::future::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::Tls;
use crate::server::domain::RouteTable;

impl Tls {
    /// Follows the routes until `closed`. What the table holds already is known when this returns.
    pub fn follow(&self, mut routes: watch::Receiver<Arc<RouteTable>>, closed: CancellationToken) -> JoinHandle<()> {
        self.learn(routes.borrow_and_update().clone());
        let tls = self.clone();
        tokio::spawn(async move {
            while let Some(Ok(())) = routes.changed().with_cancellation_token(&closed).await {
                let table = routes.borrow_and_update().clone();
                tls.learn(table);
            }
        })
    }

    fn learn(&self, table: Arc<RouteTable>) {
        let inner = &self.0;
        inner.routes.store(table);
        if let Some(authority) = &inner.authority {
            authority.keep(|host| inner.serves(host));
        }
        inner.wake.notify_one();
    }
}
