//! CREATE FUNCTION and CALL.

use pg_query::NodeEnum;
use pg_query::protobuf::{CallStmt, CreateFunctionStmt, FuncCall};

use super::judge::{Check, Judge};
use super::words::{WRONG_TEXT, unsupported};
use super::{Action, Facts, JobArgument, node};
use crate::sql::statement::{self, Kind, Statement};
use crate::wire::reply::ClientError;

impl Judge<'_> {
    pub(super) fn create_function(&mut self, create: &CreateFunctionStmt) -> Check {
        if create.is_procedure {
            return Err(unsupported("PROCEDURE is not supported"));
        }
        let language = node::option(&create.options, "language").flatten();
        if let Some(language) = language.and_then(node::text)
            && !language.eq_ignore_ascii_case("sql")
        {
            return Err(unsupported(format!(
                "CREATE FUNCTION with language {language} not supported"
            )));
        }
        self.function_settings(create)?;
        match node::option(&create.options, "as").flatten() {
            Some(NodeEnum::List(body)) => node::texts(&body.items)
                .first()
                .map_or(Ok(()), |body| self.body(body)),
            _ => Ok(()),
        }
    }

    /// `SET name = …` of a function.
    fn function_settings(&self, create: &CreateFunctionStmt) -> Check {
        node::each(&create.options).try_for_each(|option| match option {
            NodeEnum::DefElem(option) if option.defname == "set" => {
                match option.arg.as_ref().and_then(|arg| arg.node.as_ref()) {
                    Some(NodeEnum::VariableSetStmt(set)) if !self.rules.setting(&set.name) => {
                        Err(super::words::setting_refused(&set.name))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        })
    }

    /// Refuses what is refused outside too. What cannot be read, PostgreSQL words.
    fn body(&self, body: &str) -> Check {
        let Ok(statements) = statement::parse(body) else {
            return Ok(());
        };
        let facts = Facts {
            in_block: true,
            ..*self.facts
        };
        statements.iter().try_for_each(|inner: &Statement| {
            // A body runs with other rights than its reader may have.
            if let Some(NodeEnum::VariableSetStmt(set)) = inner.node()
                && matches!(set.name.as_str(), "role" | "session_authorization")
            {
                return Err(super::words::setting_refused(&set.name));
            }
            // PostgreSQL has words of its own for transaction control in a function.
            if matches!(inner.kind(), Kind::Transaction(_)) {
                return Ok(());
            }
            self.rules.judge(inner, &facts).map(|_| ())
        })
    }

    pub(super) fn call(&mut self, call: &CallStmt) -> Result<Option<Action>, ClientError> {
        let Some(function) = &call.funccall else {
            return Ok(None);
        };
        if node::each(&function.args).any(|arg| matches!(arg, NodeEnum::SubLink(_))) {
            return Err(unsupported("cannot use subquery in CALL argument"));
        }
        match node::texts(&function.funcname).as_slice() {
            ["sys", "wait_for_job"] => job_argument(function),
            _ => Ok(None),
        }
    }
}

fn job_argument(function: &FuncCall) -> Result<Option<Action>, ClientError> {
    let mut args = node::each(&function.args);
    let (Some(argument), None) = (args.next(), args.next()) else {
        return Ok(None);
    };
    Ok(argument_value(argument)?.map(Action::WaitForJob))
}

fn argument_value(argument: &NodeEnum) -> Result<Option<JobArgument>, ClientError> {
    match argument {
        NodeEnum::ParamRef(parameter) => Ok(u16::try_from(parameter.number)
            .ok()
            .filter(|number| *number > 0)
            .map(JobArgument::Parameter)),
        NodeEnum::AConst(constant) if constant.isnull => Ok(Some(JobArgument::Null)),
        NodeEnum::TypeCast(cast) => match cast.arg.as_ref().and_then(|arg| arg.node.as_ref()) {
            Some(inner) => argument_value(inner),
            None => Ok(None),
        },
        other => match node::text(other) {
            Some(id) if is_job_id(id) => Ok(Some(JobArgument::Id(id.to_owned()))),
            Some(_) => Err(bad_job_id()),
            None => Ok(None),
        },
    }
}

/// Whether a text can be the id of a job: a UUID as 26 characters of unpadded base32.
#[must_use]
pub fn is_job_id(text: &str) -> bool {
    let letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'2'..=b'7');
    // The last character carries three bits of the 128.
    text.len() == 26
        && text.bytes().all(letter)
        && text.bytes().last().is_some_and(|last| {
            matches!(
                last.to_ascii_lowercase(),
                b'a' | b'e' | b'i' | b'm' | b'q' | b'u' | b'y' | b'4'
            )
        })
}

/// The answer to a text that is no job's id.
#[must_use]
pub fn bad_job_id() -> ClientError {
    ClientError::error(WRONG_TEXT, "Unable to convert text to UUID")
}
