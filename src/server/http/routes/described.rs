//! How a handler's signature becomes a description: each parameter is a [`Part`], the answer is [`Told`].

use std::future::Future;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::sheet::Sheet;
use crate::server::http::error::HttpError;

/// A parameter of a handler that can say what it reads.
pub trait Part {
    /// Writes it down, with the refusals it makes itself.
    fn describe(sheet: &mut Sheet);
}

/// An answer that can say what it is.
pub trait Told {
    /// Writes it down.
    fn describe(sheet: &mut Sheet);
}

/// A handler whose parameters and answer can; `T` is axum's own marker of its signature.
pub trait Described<T> {
    /// Writes them down.
    fn describe(sheet: &mut Sheet);
}

macro_rules! described {
    ($($part:ident),*) => {
        impl<F, Fut, A, M, $($part: Part),*> Described<(M, $($part,)*)> for F
        where
            F: FnOnce($($part),*) -> Fut,
            Fut: Future<Output = Result<A, HttpError>>,
            A: Told,
        {
            fn describe(sheet: &mut Sheet) {
                $($part::describe(sheet);)*
                A::describe(sheet);
            }
        }
    };
}

impl<F, Fut, A> Described<((),)> for F
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<A, HttpError>>,
    A: Told,
{
    fn describe(sheet: &mut Sheet) {
        A::describe(sheet);
    }
}

described!(A1);
described!(A1, A2);
described!(A1, A2, A3);
described!(A1, A2, A3, A4);
described!(A1, A2, A3, A4, A5);
described!(A1, A2, A3, A4, A5, A6);
described!(A1, A2, A3, A4, A5, A6, A7);
described!(A1, A2, A3, A4, A5, A6, A7, A8);

/// What is no part of the wire, or says nothing by its type.
macro_rules! silent {
    ($([$($generic:ident)?] $type:ty),*) => {
        $(impl$(<$generic>)? Part for $type {
            fn describe(_: &mut Sheet) {}
        })*
    };
}

silent!([T] State<T>, [] HeaderMap, [] Request);

/// The answer is the other protocol's from there on.
impl Part for WebSocketUpgrade {
    fn describe(sheet: &mut Sheet) {
        sheet.refuses(400, "The request asks for no WebSocket.");
        sheet.refuses(426, "The connection cannot change its protocol.");
    }
}

/// A bare response is what a WebSocket's handler answers with; whatever has a shape says so by its type.
impl Told for Response {
    fn describe(sheet: &mut Sheet) {
        sheet.switches();
    }
}
