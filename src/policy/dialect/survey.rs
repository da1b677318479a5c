//! What a statement uses, wherever in it.

use pg_query::NodeEnum;

use super::{build, name};
use crate::sql::tree::{Descent, Ref, walk};

/// Functions and types of one statement.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Functions that are PostgreSQL's own as far as their names tell, without schema.
    pub functions: Vec<String>,
    /// Types that values are cast to, by catalog name.
    pub casts: Vec<String>,
}

impl Survey {
    pub(super) fn of(node: &NodeEnum) -> Self {
        let mut survey = Self::default();
        walk(Ref::of(node), &mut |node| {
            match node {
                Ref::FuncCall(call) => match build::strings(&call.funcname).as_slice() {
                    [function] | ["pg_catalog", function] => {
                        survey.functions.push((*function).to_owned());
                    }
                    _ => {}
                },
                Ref::TypeCast(cast) => {
                    if let Some(to) = &cast.type_name
                        && name::is_builtin(to)
                    {
                        survey.casts.push(name::catalog(to).to_owned());
                    }
                }
                _ => {}
            }
            Descent::Into
        });
        survey
    }
}
