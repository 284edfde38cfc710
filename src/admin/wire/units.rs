//! How the project's own units look in OpenAPI.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

use crate::units::{Address, Admission, Name, Span, Weights};

fn text(description: &str, pattern: Option<&str>) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .pattern(pattern)
        .into()
}

impl PartialSchema for Name {
    fn schema() -> RefOr<Schema> {
        text(
            "The name of a service or pool.",
            Some("^[a-z0-9][a-z0-9_-]{0,62}$"),
        )
    }
}

impl ToSchema for Name {
    fn name() -> Cow<'static, str> {
        "Name".into()
    }
}

impl PartialSchema for Address {
    fn schema() -> RefOr<Schema> {
        text("`HOST:PORT` or `unix:/absolute/path`.", None)
    }
}

impl ToSchema for Address {
    fn name() -> Cow<'static, str> {
        "Address".into()
    }
}

impl PartialSchema for Span {
    fn schema() -> RefOr<Schema> {
        text(
            "A duration such as `250ms`, `5s`, `2m` or `1h`.",
            Some("^([0-9]+(ms|s|m|h|d))+$"),
        )
    }
}

impl ToSchema for Span {
    fn name() -> Cow<'static, str> {
        "Duration".into()
    }
}

impl PartialSchema for Admission {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("What becomes of a service's requests."))
            .enum_values(Some(Self::ALL.map(Self::as_str)))
            .into()
    }
}

impl ToSchema for Admission {
    fn name() -> Cow<'static, str> {
        "Admission".into()
    }
}

impl PartialSchema for Weights {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("Integers per pool; pools without weight left out."))
            .additional_properties(Some(ObjectBuilder::new().schema_type(Type::Integer)))
            .into()
    }
}

impl ToSchema for Weights {
    fn name() -> Cow<'static, str> {
        "Weights".into()
    }
}
