//! Full text search: Aurora DSQL has configuration `simple` alone.

use pg_query::protobuf::{FuncCall, a_const};
use pg_query::{Node, NodeEnum};

use super::{Case, Changed, Draft, build};
use crate::sql::tree::{Descent, Mut, walk_mut};

/// Functions whose first argument is a configuration, if they have at least so many arguments.
const FUNCTIONS: [(&str, usize); 8] = [
    ("to_tsvector", 2),
    ("to_tsquery", 2),
    ("plainto_tsquery", 2),
    ("phraseto_tsquery", 2),
    ("websearch_to_tsquery", 2),
    ("json_to_tsvector", 3),
    ("jsonb_to_tsvector", 3),
    ("ts_headline", 4),
];

/// The only configuration.
const SIMPLE: &str = "simple";

/// Puts it in the place of others.
pub(super) fn configuration(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let survey = case.survey(&draft.tree);
    let known = |name: &String| FUNCTIONS.iter().any(|(known, _)| known == name);
    if !survey.functions.iter().any(known) && !survey.casts.iter().any(|cast| cast == "regconfig") {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    walk_mut(Mut::of(&mut draft.tree), &mut |node| {
        match node {
            Mut::FuncCall(call) => {
                if takes_configuration(call)
                    && let Some(argument) = call.args.first_mut()
                {
                    found.extend(simplify(argument));
                }
            }
            Mut::TypeCast(cast) => {
                let to = cast.type_name.as_ref().map(|name| build::last(&name.names));
                if to == Some("regconfig")
                    && let Some(value) = &mut cast.arg
                {
                    found.extend(simplify(value));
                }
            }
            _ => {}
        }
        Descent::Into
    });
    Ok(found)
}

fn takes_configuration(call: &FuncCall) -> bool {
    let name = match build::strings(&call.funcname).as_slice() {
        [name] | ["pg_catalog", name] => *name,
        _ => return false,
    };
    FUNCTIONS
        .iter()
        .any(|(known, least)| *known == name && call.args.len() >= *least)
}

/// The configuration that a constant names, which is `simple` from here on.
fn simplify(node: &mut Node) -> Option<String> {
    match &mut node.node {
        Some(NodeEnum::AConst(constant)) => match &mut constant.val {
            Some(a_const::Val::Sval(text)) => {
                let name = text.sval.trim_start_matches("pg_catalog.").to_owned();
                if name == SIMPLE {
                    return None;
                }
                SIMPLE.clone_into(&mut text.sval);
                Some(name)
            }
            _ => None,
        },
        _ => None,
    }
}
