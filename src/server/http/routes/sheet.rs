//! The description of one route while it is written.

use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ArrayItems, ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, SecurityRequirement};
use utoipa::{IntoParams, ToSchema};

/// A description that handlers' parameters and answers write into.
#[derive(Clone)]
pub struct Sheet {
    pub(super) operation: Operation,
    /// Named schemas that it points at.
    pub(super) schemas: Vec<(String, RefOr<Schema>)>,
}

impl Sheet {
    pub(super) fn of(id: &str, tag: &str, path: &str, words: &str) -> Self {
        let mut operation = Operation::new();
        operation.operation_id = Some(id.to_owned());
        operation.tags = Some(vec![tag.to_owned()]);
        operation.summary = Some(words.to_owned());
        operation.security = Some(Vec::new());
        let segments: Vec<_> = segments(path).map(|name| segment(name).into()).collect();
        operation.parameters = Some(segments).filter(|segments: &Vec<RefOr<Parameter>>| !segments.is_empty());
        Self { operation, schemas: Vec::new() }
    }

    /// It is for those who sign in as `scheme` has it, one of those in `document.rs`; several schemes are alternatives.
    pub fn needs(&mut self, scheme: &str) {
        let none: [&str; 0] = [];
        self.operation.security.get_or_insert_default().push(SecurityRequirement::new(scheme, none));
        self.refuses(401, "Nobody has signed in, or not with these credentials.");
    }

    /// It reads a JSON body.
    pub fn body<T: ToSchema>(&mut self) {
        let schema = self.named::<T>();
        let needed = matches!(T::schema(), RefOr::T(Schema::Object(object)) if !object.required.is_empty());
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let body = RequestBodyBuilder::new()
            .content("application/json", content)
            .required(Some(if needed { Required::True } else { Required::False }))
            .build();
        self.operation.request_body = Some(body.into());
        self.refuses(400, "The body is not JSON.");
        self.refuses(408, "The body did not arrive in time.");
        self.refuses(413, "The body is too large.");
        self.refuses(422, "The body does not fit, or asks for what cannot be.");
    }

    /// It reads parameters of the query.
    pub fn query<T: IntoParams>(&mut self) {
        let parameters = T::into_params(|| Some(ParameterIn::Query)).into_iter().map(RefOr::T);
        self.operation.parameters.get_or_insert_default().extend(parameters);
        self.refuses(422, "The query does not fit, or asks for what cannot be.");
    }

    /// It answers with `{"data": T}`.
    pub fn data<T: ToSchema>(&mut self, status: u16) {
        let envelope = ObjectBuilder::new().property("data", self.named::<T>()).required("data").build();
        self.answers(status, "application/json", Schema::from(envelope));
    }

    /// It answers with `T` alone.
    pub fn bare<T: ToSchema>(&mut self, status: u16) {
        let schema = self.named::<T>();
        self.answers(status, "application/json", schema);
    }

    /// It answers with something of that type.
    pub fn answers(&mut self, status: u16, content_type: &str, schema: impl Into<RefOr<Schema>>) {
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new().description(phrase(status)).content(content_type, content);
        self.operation.responses.responses.insert(status.to_string(), response.build().into());
    }

    /// It refuses with the envelope of refusals.
    pub fn refuses(&mut self, status: u16, words: &str) {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Errors"))).build();
        let response = ResponseBuilder::new().description(words).content("application/json", content);
        self.respond(status, response.build());
    }

    /// It changes to another protocol.
    pub(super) fn switches(&mut self) {
        self.respond(101, ResponseBuilder::new().description("The connection speaks WebSocket from here.").build());
    }

    /// What describes a status more closely came first.
    fn respond(&mut self, status: u16, response: Response) {
        self.operation.responses.responses.entry(status.to_string()).or_insert_with(|| response.into());
    }

    /// A type by its name where it has properties of its own (also as the items of a list), as it is otherwise.
    fn named<T: ToSchema>(&mut self) -> RefOr<Schema> {
        T::schemas(&mut self.schemas);
        match T::schema() {
            RefOr::T(Schema::Array(mut list)) => {
                if let ArrayItems::RefOrSchema(item) = &list.items
                    && has_properties(item)
                    && let Some(name) = last_name(std::any::type_name::<T>())
                {
                    self.schemas.push((name.to_owned(), (**item).clone()));
                    list.items = ArrayItems::RefOrSchema(Box::new(Ref::from_schema_name(name).into()));
                }
                Schema::Array(list).into()
            }
            schema if has_properties(&schema) => {
                self.schemas.push((T::name().into_owned(), schema));
                Ref::from_schema_name(T::name()).into()
            }
            schema => schema,
        }
    }
}

fn has_properties(schema: &RefOr<Schema>) -> bool {
    match schema {
        RefOr::T(Schema::Object(object)) => !object.properties.is_empty(),
        RefOr::T(Schema::OneOf(_) | Schema::AllOf(_) | Schema::AnyOf(_)) => true,
        _ => false,
    }
}

/// `App` of `alloc::vec::Vec<gigalixir::api::app::App>`.
fn last_name(type_name: &str) -> Option<&str> {
    type_name.trim_end_matches('>').rsplit("::").next()
}

fn phrase(status: u16) -> &'static str {
    match status {
        201 => "It is made.",
        202 => "It will be done.",
        _ => "It is done.",
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn segment(name: &str) -> Parameter {
    let words = match name {
        "app" => "The app's name.",
        "canary" => "The name of the app that gets visitors.",
        "host" => "The replica's HOSTNAME.",
        "pod" => "The replica's name, as `status` tells it.",
        "which" => "A release's version or its rollback_id; `latest` and `current` where one is shown.",
        "id" => "As the list tells it.",
        _ => "",
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(words).filter(|words| !words.is_empty()))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()))
        .build()
}
