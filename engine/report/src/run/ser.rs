//! How the project's units are written in JSON: money and prices as decimal strings, moments as RFC 3339.
#![expect(clippy::ref_option, reason = "the shape that serialize_with asks for")]

use peregrine_types::{EpochNanos, Notional, Price};
use serde::Serializer;

use crate::format::utc;

pub(crate) fn notional<S: Serializer>(value: &Notional, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

pub(crate) fn price<S: Serializer>(value: &Price, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

pub(crate) fn price_option<S: Serializer>(value: &Option<Price>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(price) => to.collect_str(price),
        None => to.serialize_none(),
    }
}

pub(crate) fn time<S: Serializer>(value: &EpochNanos, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&utc(*value))
}

pub(crate) fn time_option<S: Serializer>(value: &Option<EpochNanos>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(moment) => to.serialize_str(&utc(*moment)),
        None => to.serialize_none(),
    }
}
