//! Names of parse nodes, as PostgreSQL's sources have them.

use pg_query::{Node, NodeEnum};

macro_rules! names {
    ($($node:ident),* $(,)?) => {
        /// The name of a statement's parse node, e.g. `TruncateStmt`.
        pub(super) fn name(node: &NodeEnum) -> &'static str {
            match node {
                $(NodeEnum::$node(_) => stringify!($node),)*
                NodeEnum::AlterTsdictionaryStmt(_) => "AlterTSDictionaryStmt",
                NodeEnum::AlterTsconfigurationStmt(_) => "AlterTSConfigurationStmt",
                NodeEnum::PlassignStmt(_) => "PLAssignStmt",
                _ => "UnknownStmt",
            }
        }
    };
}

names!(
    InsertStmt,
    DeleteStmt,
    UpdateStmt,
    MergeStmt,
    SelectStmt,
    ReturnStmt,
    CreateSchemaStmt,
    AlterTableStmt,
    AlterCollationStmt,
    AlterDomainStmt,
    GrantStmt,
    GrantRoleStmt,
    AlterDefaultPrivilegesStmt,
    CopyStmt,
    VariableSetStmt,
    VariableShowStmt,
    CreateStmt,
    CreateTableSpaceStmt,
    DropTableSpaceStmt,
    AlterTableSpaceOptionsStmt,
    AlterTableMoveAllStmt,
    CreateExtensionStmt,
    AlterExtensionStmt,
    AlterExtensionContentsStmt,
    CreateFdwStmt,
    AlterFdwStmt,
    CreateForeignServerStmt,
    AlterForeignServerStmt,
    CreateForeignTableStmt,
    CreateUserMappingStmt,
    AlterUserMappingStmt,
    DropUserMappingStmt,
    ImportForeignSchemaStmt,
    CreatePolicyStmt,
    AlterPolicyStmt,
    CreateAmStmt,
    CreateTrigStmt,
    CreateEventTrigStmt,
    AlterEventTrigStmt,
    CreatePlangStmt,
    CreateRoleStmt,
    AlterRoleStmt,
    AlterRoleSetStmt,
    DropRoleStmt,
    CreateSeqStmt,
    AlterSeqStmt,
    DefineStmt,
    CreateDomainStmt,
    CreateOpClassStmt,
    CreateOpFamilyStmt,
    AlterOpFamilyStmt,
    DropStmt,
    TruncateStmt,
    CommentStmt,
    SecLabelStmt,
    DeclareCursorStmt,
    ClosePortalStmt,
    FetchStmt,
    IndexStmt,
    CreateStatsStmt,
    AlterStatsStmt,
    CreateFunctionStmt,
    AlterFunctionStmt,
    DoStmt,
    CallStmt,
    RenameStmt,
    AlterObjectDependsStmt,
    AlterObjectSchemaStmt,
    AlterOwnerStmt,
    AlterOperatorStmt,
    AlterTypeStmt,
    RuleStmt,
    NotifyStmt,
    ListenStmt,
    UnlistenStmt,
    TransactionStmt,
    CompositeTypeStmt,
    CreateEnumStmt,
    CreateRangeStmt,
    AlterEnumStmt,
    ViewStmt,
    LoadStmt,
    CreatedbStmt,
    AlterDatabaseStmt,
    AlterDatabaseRefreshCollStmt,
    AlterDatabaseSetStmt,
    DropdbStmt,
    AlterSystemStmt,
    ClusterStmt,
    VacuumStmt,
    ExplainStmt,
    CreateTableAsStmt,
    RefreshMatViewStmt,
    CheckPointStmt,
    DiscardStmt,
    LockStmt,
    ConstraintsSetStmt,
    ReindexStmt,
    CreateConversionStmt,
    CreateCastStmt,
    CreateTransformStmt,
    PrepareStmt,
    ExecuteStmt,
    DeallocateStmt,
    DropOwnedStmt,
    ReassignOwnedStmt,
    CreatePublicationStmt,
    AlterPublicationStmt,
    CreateSubscriptionStmt,
    AlterSubscriptionStmt,
    DropSubscriptionStmt,
);

/// The nodes of a list that say something.
pub(super) fn each(nodes: &[Node]) -> impl Iterator<Item = &NodeEnum> {
    nodes.iter().filter_map(|node| node.node.as_ref())
}

/// The text of a String node or a string constant.
pub(super) fn text(node: &NodeEnum) -> Option<&str> {
    use pg_query::protobuf::a_const::Val;
    match node {
        NodeEnum::String(text) => Some(&text.sval),
        NodeEnum::AConst(constant) => match &constant.val {
            Some(Val::Sval(text)) => Some(&text.sval),
            _ => None,
        },
        NodeEnum::TypeCast(cast) => text(cast.arg.as_ref()?.node.as_ref()?),
        _ => None,
    }
}

/// The texts of a list of String nodes, as a dotted name has them.
pub(super) fn texts(nodes: &[Node]) -> Vec<&str> {
    each(nodes).filter_map(text).collect()
}

/// The value of an Integer node, an integer constant, or a whole number too large for one.
pub(super) fn integer(node: &NodeEnum) -> Option<i64> {
    use pg_query::protobuf::a_const::Val;
    match node {
        NodeEnum::Integer(value) => Some(i64::from(value.ival)),
        NodeEnum::Float(value) => value.fval.parse().ok(),
        NodeEnum::AConst(constant) => match &constant.val {
            Some(Val::Ival(value)) => Some(i64::from(value.ival)),
            Some(Val::Fval(value)) => value.fval.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The argument of the option `name` among DefElem nodes; the inner `None`: it has none.
pub(super) fn option<'a>(options: &'a [Node], name: &str) -> Option<Option<&'a NodeEnum>> {
    each(options).find_map(|node| match node {
        NodeEnum::DefElem(option) if option.defname == name => {
            Some(option.arg.as_ref().and_then(|arg| arg.node.as_ref()))
        }
        _ => None,
    })
}
