//! What a tenant may name besides tables: functions, operators, types, settings
//! (`config/isolation.yaml`).

use std::collections::HashSet;
use std::sync::OnceLock;

use serde::Deserialize;

/// The lists that are compiled in.
const TEXT: &str = include_str!("../../../config/isolation.yaml");

/// How safe a function or operator is on rows that have not passed the tenant test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volume {
    /// It cannot tell anything of its input but by its result.
    Quiet,
    /// It may raise an error that depends on a value.
    Loud,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    functions: Functions,
    row_functions: HashSet<String>,
    operators: Operators,
    types: HashSet<String>,
    settings: HashSet<String>,
    transaction_settings: HashSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Functions {
    quiet: HashSet<String>,
    loud: HashSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operators {
    quiet: HashSet<String>,
    quiet_without_json: HashSet<String>,
    estimated: HashSet<String>,
    loud: HashSet<String>,
}

/// The lists. Names are those of `pg_catalog`.
#[derive(Debug)]
pub struct Lists(File);

/// The lists that are compiled in. An unreadable file would be an empty list, so that everything
/// is refused; a test reads it.
#[must_use]
pub fn lists() -> &'static Lists {
    static LISTS: OnceLock<Lists> = OnceLock::new();
    LISTS.get_or_init(|| {
        Lists(serde_saphyr::from_str(TEXT).unwrap_or_else(|error| {
            tracing::error!(%error, "the lists of isolation cannot be read");
            File::empty()
        }))
    })
}

impl File {
    fn empty() -> Self {
        let none = HashSet::new;
        Self {
            functions: Functions {
                quiet: none(),
                loud: none(),
            },
            row_functions: none(),
            operators: Operators {
                quiet: none(),
                quiet_without_json: none(),
                estimated: none(),
                loud: none(),
            },
            types: none(),
            settings: none(),
            transaction_settings: none(),
        }
    }
}

impl Lists {
    /// How safe function `name` is; `None`: it is not allowed.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<Volume> {
        let functions = &self.0.functions;
        if functions.quiet.contains(name) {
            Some(Volume::Quiet)
        } else {
            functions.loud.contains(name).then_some(Volume::Loud)
        }
    }

    /// How safe operator `name` is; `None`: it is not allowed. `json`: a table of the statement has
    /// a column of type json.
    #[must_use]
    pub fn operator(&self, name: &str, json: bool) -> Option<Volume> {
        let operators = &self.0.operators;
        if operators.quiet.contains(name) {
            Some(Volume::Quiet)
        } else if operators.quiet_without_json.contains(name) {
            Some(if json { Volume::Loud } else { Volume::Quiet })
        } else {
            operators.loud.contains(name).then_some(Volume::Loud)
        }
    }

    /// Whether the planner may run this operator on column statistics, where it may fail.
    #[must_use]
    pub fn is_estimated(&self, name: &str) -> bool {
        self.0.operators.estimated.contains(name)
    }

    /// Whether values may be cast to this type.
    #[must_use]
    pub fn has_type(&self, name: &str) -> bool {
        self.0.types.contains(name)
    }

    /// Whether a function of `pg_catalog` with this name takes a whole row.
    #[must_use]
    pub fn takes_row(&self, name: &str) -> bool {
        self.0.row_functions.contains(name)
    }

    /// Whether a policy may allow this setting.
    #[must_use]
    pub fn has_setting(&self, name: &str) -> bool {
        self.0.settings.contains(name)
    }

    /// Whether the setting is one of a transaction.
    #[must_use]
    pub fn has_transaction_setting(&self, name: &str) -> bool {
        self.0.transaction_settings.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_can_be_read_and_no_name_stands_in_two() {
        let File {
            functions,
            operators,
            row_functions,
            ..
        } = serde_saphyr::from_str(TEXT).unwrap();
        assert!(functions.quiet.len() > 50 && functions.loud.len() > 100);
        assert!(functions.quiet.is_disjoint(&functions.loud));
        assert!(operators.quiet.is_disjoint(&operators.loud));
        assert!(operators.quiet_without_json.is_disjoint(&operators.loud));
        assert!(row_functions.contains("row_to_json"));
    }

    /// Each of these reads, writes or tells what belongs to others (tenancy.md, section 4.2).
    #[test]
    fn dangerous_functions_are_on_no_list() {
        for name in [
            "query_to_xml",
            "table_to_xml",
            "schema_to_xml",
            "database_to_xml",
            "cursor_to_xml",
            "query_to_xmlschema",
            "ts_stat",
            "ts_rewrite",
            "xpath",
            "dblink",
            "pg_get_viewdef",
            "currval",
            "lastval",
            "setval",
            "nextval",
            "pg_relation_size",
            "pg_total_relation_size",
            "pg_stat_get_activity",
            "pg_read_file",
            "pg_ls_dir",
            "lo_get",
            "lo_from_bytea",
            "lo_import",
            "to_regclass",
            "txid_current",
            "pg_current_xact_id",
            "pg_advisory_lock",
            "pg_try_advisory_lock",
            "pg_sleep",
            "pg_cancel_backend",
            "pg_terminate_backend",
            "set_config",
            "current_setting",
            "pg_notify",
            "inet_server_addr",
            "pg_export_snapshot",
            "pg_logical_emit_message",
            "pg_input_error_info",
            "has_schema_privilege",
            "has_table_privilege",
            "pg_has_role",
            "current_user",
            "version",
            "pg_typeof",
            "pg_backend_pid",
            "pg_reload_conf",
            "xmlparse",
            "pg_get_expr",
            "pg_describe_object",
            "col_description",
            "obj_description",
            "setseed",
        ] {
            assert_eq!(lists().function(name), None, "{name}");
        }
        for name in [
            "regclass", "regproc", "oid", "xml", "xid", "tid", "name", "record", "tsquery",
        ] {
            assert!(!lists().has_type(name), "{name}");
        }
        for name in [
            "search_path",
            "role",
            "session_authorization",
            "row_security",
            "client_encoding",
        ] {
            assert!(!lists().has_setting(name), "{name}");
        }
    }
}
