//! Which types columns and keys may have.

use pg_query::protobuf::TypeName;

use super::judge::{Check, Judge};
use super::words::{identifier, literal, over_limit, undefined, unsupported};
use super::{edit, node};
use crate::wire::reply::ClientError;

/// What a type name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// A type that columns may have, by its name in `pg_type`.
    Storable(String),
    /// A type of the database itself or one that does not exist: the catalog knows.
    Other,
}

impl Judge<'_> {
    /// Checks a column's or domain's type, and gives bare `numeric` its precision.
    pub(super) fn column_type(&mut self, name: &TypeName) -> Result<Named, ClientError> {
        let names = node::texts(&name.names);
        let data = &self.rules.data;
        let base = match names.as_slice() {
            [base] | ["pg_catalog", base] if !name.pct_type => *base,
            _ => return Ok(Named::Other),
        };
        if names.len() == 1 && data.missing_types.iter().any(|missing| missing == base) {
            return Err(undefined(format!("type \"{base}\" does not exist")));
        }
        let known = data.types.iter().find(|known| known.name == base);
        let display = match known {
            Some(known) => known.display.as_ref().unwrap_or(&known.name),
            None => match data.refused_types.get(base) {
                Some(display) => display,
                None => return Ok(Named::Other),
            },
        };
        if !name.array_bounds.is_empty() {
            return Err(unsupported(format!("datatype {display}[] not supported")));
        }
        if !known.is_some_and(|known| self.rules.has(&known.storable)) {
            return Err(unsupported(format!("datatype {display} not supported")));
        }
        let base = base.to_owned();
        self.modifiers(&base, name)?;
        Ok(Named::Storable(base))
    }

    fn modifiers(&mut self, base: &str, name: &TypeName) -> Check {
        let first = node::each(&name.typmods).find_map(node::integer);
        let limits = &self.rules.data.limits;
        match (base, first) {
            ("numeric", None) => {
                let place = self
                    .place(name.location)
                    .and_then(|at| edit::name_at(&self.statement.text, at));
                if let Some(place) = place {
                    self.edit(place.end..place.end, "(18,6)");
                }
                Ok(())
            }
            ("numeric", Some(precision)) => self.precision(precision),
            ("bpchar", Some(length)) => length_within("char", length, limits.char),
            ("varchar", Some(length)) => length_within("varchar", length, limits.varchar),
            _ => Ok(()),
        }
    }

    fn precision(&self, precision: i64) -> Check {
        let steps = self.rules.data.numeric_precision.iter();
        let max = steps
            .filter(|step| self.rules.has(&step.since))
            .map(|step| step.max)
            .max()
            .unwrap_or(1000);
        if (1..=i64::from(max)).contains(&precision) {
            return Ok(());
        }
        Err(ClientError::error(
            crate::wire::sqlstate::INVALID_PARAMETER_VALUE,
            format!("NUMERIC precision {precision} must be between 1 and {max}"),
        ))
    }

    /// Refuses a key over a type that keys do not take.
    pub(super) fn key_type(&self, base: &str) -> Check {
        let known = self
            .rules
            .data
            .types
            .iter()
            .find(|known| known.name == base);
        match known {
            Some(known) if !(known.key && self.rules.has(&known.keyable)) => {
                let display = known.display.as_ref().unwrap_or(&known.name);
                Err(unsupported(format!(
                    "datatype {display} is not supported in a key"
                )))
            }
            _ => Ok(()),
        }
    }

    /// The same for a type that only the catalog knows.
    pub(super) fn key_type_in_catalog(&mut self, name: &TypeName) {
        let names: Vec<String> = node::texts(&name.names)
            .iter()
            .map(|name| identifier(name))
            .collect();
        self.plan.before.push(format!(
            "SELECT * FROM pg_dsql.check_key_type(pg_catalog.to_regtype({}))",
            literal(&names.join("."))
        ));
    }

    /// How `format_type` spells a type that columns may have.
    pub(super) fn display<'t>(&'t self, base: &'t str) -> &'t str {
        let known = self
            .rules
            .data
            .types
            .iter()
            .find(|known| known.name == base);
        known
            .and_then(|known| known.display.as_deref())
            .unwrap_or(base)
    }
}

fn length_within(name: &str, length: i64, max: i64) -> Check {
    if length > max {
        return Err(over_limit(format!(
            "Datatype limit greater than {max} bytes not supported for {name}"
        )));
    }
    Ok(())
}
