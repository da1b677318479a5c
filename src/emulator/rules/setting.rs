//! SET, RESET, SHOW.

use pg_query::protobuf::{AlterRoleSetStmt, VariableSetKind, VariableSetStmt};

use super::data::Feature;
use super::judge::{Check, Judge};
use super::words::{identifier, setting_refused, undefined};
use super::{Action, Answer, Column, edit, transaction};
use crate::wire::reply::ClientError;

/// OID of type text.
const TEXT: u32 = 25;

impl Judge<'_> {
    pub(super) fn set(&mut self, set: &VariableSetStmt) -> Check {
        match set.kind() {
            VariableSetKind::VarSetMulti => {
                transaction::isolation(&set.args)?;
                Err(setting_refused(&set.name))
            }
            VariableSetKind::VarResetAll => self.require(Feature::ResetAll),
            _ => self.set_one(set),
        }
    }

    fn set_one(&mut self, set: &VariableSetStmt) -> Check {
        let name = set.name.to_ascii_lowercase();
        let reset = matches!(
            set.kind(),
            VariableSetKind::VarReset | VariableSetKind::VarSetDefault
        );
        match name.as_str() {
            "role" if set.kind() == VariableSetKind::VarReset => return Ok(()),
            "role" if set.is_local && self.facts.in_block => {
                return self.require(Feature::SetLocalRole);
            }
            "session_authorization" if reset => return Ok(()),
            _ => {}
        }
        if !self.rules.setting(&name) {
            return Err(setting_refused(&set.name));
        }
        if let Some(own) = self.rules.own_setting(&name) {
            let own = own.to_owned();
            self.rename_setting(&own);
        }
        Ok(())
    }

    /// Puts the name that PostgreSQL knows a setting by in place of the client's.
    fn rename_setting(&mut self, own: &str) {
        let text = &self.statement.text;
        let found = self
            .rules
            .data
            .own_settings
            .iter()
            .find_map(|(name, known)| {
                (known == own)
                    .then(|| edit::word_from(text, 0, name))
                    .flatten()
            });
        if let Some(place) = found {
            self.edit(place, own);
        }
    }

    /// Of a role's settings only `search_path` may be set.
    pub(super) fn role_setting(&self, alter: &AlterRoleSetStmt) -> Check {
        match &alter.setstmt {
            Some(set) if set.kind() == VariableSetKind::VarResetAll => Ok(()),
            Some(set) if set.name.eq_ignore_ascii_case("search_path") => Ok(()),
            Some(set) => Err(setting_refused(&set.name)),
            None => Ok(()),
        }
    }

    pub(super) fn show(&mut self, name: &str) -> Result<Option<Action>, ClientError> {
        let lower = name.to_ascii_lowercase();
        if self.rules.missing_settings().contains(&lower) {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            return Err(undefined(message));
        }
        if lower == "all" {
            let columns = "name, setting, short_desc AS description";
            self.plan.sql = Some(format!(
                "SELECT {columns} FROM pg_dsql.pg_settings ORDER BY 1"
            ));
            self.plan.tag = Some("SHOW");
            return Ok(None);
        }
        if let Some(own) = self.rules.own_setting(&lower) {
            self.plan.sql = Some(format!(
                "SELECT pg_catalog.current_setting('{own}') AS {}",
                identifier(&lower)
            ));
            self.plan.tag = Some("SHOW");
            return Ok(None);
        }
        let known = self
            .rules
            .reported(self.facts.version)
            .find(|(reported, _)| *reported == lower);
        Ok(known.map(|(name, value)| {
            Action::Answer(Answer {
                columns: vec![Column {
                    name: name.to_owned(),
                    type_oid: TEXT,
                }],
                rows: vec![vec![Some(value)]],
                tag: "SHOW".to_owned(),
            })
        }))
    }
}
