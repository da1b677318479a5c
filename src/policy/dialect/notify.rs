//! LISTEN, UNLISTEN, NOTIFY and pg_notify().

use pg_query::NodeEnum;
use pg_query::protobuf::a_const;

use super::{Case, build, call};
use crate::policy::{Answer, NotifyCall, Procedure, SessionCommand, TextArgument};

/// The statements.
pub(super) fn statements(tree: &NodeEnum, _: &Case<'_>) -> Option<(Answer, String)> {
    let (command, channel) = match tree {
        NodeEnum::ListenStmt(listen) => (
            SessionCommand::Listen(listen.conditionname.clone()),
            &listen.conditionname,
        ),
        NodeEnum::UnlistenStmt(unlisten) => {
            let name = &unlisten.conditionname;
            let one = (!name.is_empty()).then(|| name.clone());
            (SessionCommand::Unlisten(one), name)
        }
        NodeEnum::NotifyStmt(notify) => (
            SessionCommand::Notify {
                channel: notify.conditionname.clone(),
                payload: notify.payload.clone(),
            },
            &notify.conditionname,
        ),
        _ => return None,
    };
    Some((Answer::Session(command), channel.clone()))
}

/// `SELECT pg_notify(channel, payload)` alone, of constants and parameters.
pub(super) fn call(tree: &NodeEnum, _: &Case<'_>) -> Option<(Procedure, String)> {
    let call = call::alone(tree).filter(|call| call.name == "pg_notify")?;
    let [channel, payload] = call.arguments else {
        return None;
    };
    let (channel, payload) = (argument(channel)?, argument(payload)?);
    let parameters: Vec<String> = [&channel, &payload]
        .into_iter()
        .filter_map(|argument| match argument {
            TextArgument::Parameter(number) => Some(format!("(${number})::text")),
            TextArgument::Constant(_) => None,
        })
        .collect();
    let value = match parameters.is_empty() {
        true => "''::void".to_owned(),
        false => format!(
            "(SELECT ''::void FROM (SELECT {}) AS told)",
            parameters.join(", ")
        ),
    };
    let notify = NotifyCall {
        prepared: format!("SELECT {value} AS {}", build::quoted(call.column)),
        channel,
        payload,
        column: call.column.to_owned(),
    };
    Some((Procedure::Notify(notify), String::new()))
}

fn argument(node: &pg_query::Node) -> Option<TextArgument> {
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) if constant.isnull => Some(TextArgument::Constant(None)),
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Sval(text) => Some(TextArgument::Constant(Some(text.sval.clone()))),
            _ => None,
        },
        NodeEnum::ParamRef(parameter) => Some(TextArgument::Parameter(
            usize::try_from(parameter.number).ok()?,
        )),
        NodeEnum::TypeCast(cast) => match super::name::catalog(cast.type_name.as_ref()?) {
            "text" | "varchar" => argument(cast.arg.as_ref()?),
            _ => None,
        },
        _ => None,
    }
}
