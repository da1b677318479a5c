//! SQLSTATE codes this program emits or recognises (PostgreSQL manual, appendix A).

/// A five-character SQLSTATE.
pub type SqlState = &'static str;

/// `connection_failure`: the upstream connection was lost.
pub const CONNECTION_FAILURE: SqlState = "08006";
/// `transaction_resolution_unknown`: the outcome of a commit cannot be known.
pub const TRANSACTION_RESOLUTION_UNKNOWN: SqlState = "08007";
/// `protocol_violation`.
pub const PROTOCOL_VIOLATION: SqlState = "08P01";
/// `feature_not_supported`.
pub const FEATURE_NOT_SUPPORTED: SqlState = "0A000";
/// `invalid_parameter_value`.
pub const INVALID_PARAMETER_VALUE: SqlState = "22023";
/// `bad_copy_file_format`.
pub const BAD_COPY_FILE_FORMAT: SqlState = "22P04";
/// `no_active_sql_transaction`.
pub const NO_ACTIVE_SQL_TRANSACTION: SqlState = "25P01";
/// `in_failed_sql_transaction`.
pub const IN_FAILED_SQL_TRANSACTION: SqlState = "25P02";
/// `invalid_savepoint_specification`: no such savepoint.
pub const INVALID_SAVEPOINT: SqlState = "3B001";
/// `idle_in_transaction_session_timeout`.
pub const IDLE_IN_TRANSACTION_SESSION_TIMEOUT: SqlState = "25P03";
/// `transaction_timeout`.
pub const TRANSACTION_TIMEOUT: SqlState = "25P04";
/// `serialization_failure`: DSQL aborted the transaction, nothing of it was applied.
pub const SERIALIZATION_FAILURE: SqlState = "40001";
/// `invalid_sql_statement_name`: no such prepared statement.
pub const INVALID_SQL_STATEMENT_NAME: SqlState = "26000";
/// `invalid_authorization_specification`.
pub const INVALID_AUTHORIZATION: SqlState = "28000";
/// `invalid_password`.
pub const INVALID_PASSWORD: SqlState = "28P01";
/// `invalid_catalog_name`: no such database.
pub const INVALID_CATALOG_NAME: SqlState = "3D000";
/// `duplicate_prepared_statement`.
pub const DUPLICATE_PREPARED_STATEMENT: SqlState = "42P05";
/// `too_many_connections`.
pub const TOO_MANY_CONNECTIONS: SqlState = "53300";
/// `configuration_limit_exceeded`: DSQL's connection rate limit.
pub const CONFIGURATION_LIMIT_EXCEEDED: SqlState = "53400";
/// `program_limit_exceeded`.
pub const PROGRAM_LIMIT_EXCEEDED: SqlState = "54000";
/// `object_not_in_prerequisite_state`.
pub const OBJECT_NOT_IN_PREREQUISITE_STATE: SqlState = "55000";
/// `query_canceled`.
pub const QUERY_CANCELED: SqlState = "57014";
/// `admin_shutdown`.
pub const ADMIN_SHUTDOWN: SqlState = "57P01";
/// `cannot_connect_now`.
pub const CANNOT_CONNECT_NOW: SqlState = "57P03";
/// `idle_session_timeout`.
pub const IDLE_SESSION_TIMEOUT: SqlState = "57P05";
/// `internal_error`.
pub const INTERNAL_ERROR: SqlState = "XX000";
