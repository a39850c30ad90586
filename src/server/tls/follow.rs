//! Keeping up with the routes: whom visitors can come for decides who is shown a certificate.

use std::sync::Arc;

use tokio::sync::watch;

use super::Tls;
use crate::server::domain::RouteTable;

impl Tls {
    /// Follows the routes for as long as there are some. What the table holds already is known when this returns.
    pub(super) fn follow(&self, mut routes: watch::Receiver<Arc<RouteTable>>) -> impl Future<Output = ()> + use<> {
        self.learn(routes.borrow_and_update().clone());
        let tls = self.clone();
        async move {
            while routes.changed().await.is_ok() {
                let table = routes.borrow_and_update().clone();
                tls.learn(table);
            }
        }
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
