//! Every node of PostgreSQL's syntax tree and its children. Written by `scripts/generate-tree`.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AArrayExpr, AConst, AExpr, AIndices, AIndirection, AStar, AccessPriv, Aggref, Alias,
    AlterCollationStmt, AlterDatabaseRefreshCollStmt, AlterDatabaseSetStmt, AlterDatabaseStmt,
    AlterDefaultPrivilegesStmt, AlterDomainStmt, AlterEnumStmt, AlterEventTrigStmt,
    AlterExtensionContentsStmt, AlterExtensionStmt, AlterFdwStmt, AlterForeignServerStmt,
    AlterFunctionStmt, AlterObjectDependsStmt, AlterObjectSchemaStmt, AlterOpFamilyStmt,
    AlterOperatorStmt, AlterOwnerStmt, AlterPolicyStmt, AlterPublicationStmt, AlterRoleSetStmt,
    AlterRoleStmt, AlterSeqStmt, AlterStatsStmt, AlterSubscriptionStmt, AlterSystemStmt,
    AlterTableCmd, AlterTableMoveAllStmt, AlterTableSpaceOptionsStmt, AlterTableStmt,
    AlterTsConfigurationStmt, AlterTsDictionaryStmt, AlterTypeStmt, AlterUserMappingStmt,
    AlternativeSubPlan, ArrayCoerceExpr, ArrayExpr, AtAlterConstraint, BitString, BoolExpr,
    Boolean, BooleanTest, CallContext, CallStmt, CaseExpr, CaseTestExpr, CaseWhen, CheckPointStmt,
    ClosePortalStmt, ClusterStmt, CoalesceExpr, CoerceToDomain, CoerceToDomainValue, CoerceViaIo,
    CollateClause, CollateExpr, ColumnDef, ColumnRef, CommentStmt, CommonTableExpr,
    CompositeTypeStmt, Constraint, ConstraintsSetStmt, ConvertRowtypeExpr, CopyStmt, CreateAmStmt,
    CreateCastStmt, CreateConversionStmt, CreateDomainStmt, CreateEnumStmt, CreateEventTrigStmt,
    CreateExtensionStmt, CreateFdwStmt, CreateForeignServerStmt, CreateForeignTableStmt,
    CreateFunctionStmt, CreateOpClassItem, CreateOpClassStmt, CreateOpFamilyStmt, CreatePLangStmt,
    CreatePolicyStmt, CreatePublicationStmt, CreateRangeStmt, CreateRoleStmt, CreateSchemaStmt,
    CreateSeqStmt, CreateStatsStmt, CreateStmt, CreateSubscriptionStmt, CreateTableAsStmt,
    CreateTableSpaceStmt, CreateTransformStmt, CreateTrigStmt, CreateUserMappingStmt, CreatedbStmt,
    CteCycleClause, CteSearchClause, CurrentOfExpr, DeallocateStmt, DeclareCursorStmt, DefElem,
    DefineStmt, DeleteStmt, DiscardStmt, DistinctExpr, DoStmt, DropOwnedStmt, DropRoleStmt,
    DropStmt, DropSubscriptionStmt, DropTableSpaceStmt, DropUserMappingStmt, DropdbStmt,
    ExecuteStmt, ExplainStmt, FetchStmt, FieldSelect, FieldStore, Float, FromExpr, FuncCall,
    FuncExpr, FunctionParameter, GrantRoleStmt, GrantStmt, GroupingFunc, GroupingSet,
    ImportForeignSchemaStmt, IndexElem, IndexStmt, InferClause, InferenceElem, InlineCodeBlock,
    InsertStmt, IntList, Integer, IntoClause, JoinExpr, JsonAggConstructor, JsonArgument,
    JsonArrayAgg, JsonArrayConstructor, JsonArrayQueryConstructor, JsonBehavior,
    JsonConstructorExpr, JsonExpr, JsonFormat, JsonFuncExpr, JsonIsPredicate, JsonKeyValue,
    JsonObjectAgg, JsonObjectConstructor, JsonOutput, JsonParseExpr, JsonReturning, JsonScalarExpr,
    JsonSerializeExpr, JsonTable, JsonTableColumn, JsonTablePath, JsonTablePathScan,
    JsonTablePathSpec, JsonTableSiblingJoin, JsonValueExpr, List, ListenStmt, LoadStmt, LockStmt,
    LockingClause, MergeAction, MergeStmt, MergeSupportFunc, MergeWhenClause, MinMaxExpr,
    MultiAssignRef, NamedArgExpr, NextValueExpr, Node, NotifyStmt, NullIfExpr, NullTest,
    ObjectWithArgs, OidList, OnConflictClause, OnConflictExpr, OpExpr, Param, ParamRef,
    PartitionBoundSpec, PartitionCmd, PartitionElem, PartitionRangeDatum, PartitionSpec,
    PlAssignStmt, PrepareStmt, PublicationObjSpec, PublicationTable, Query, RangeFunction,
    RangeSubselect, RangeTableFunc, RangeTableFuncCol, RangeTableSample, RangeTblEntry,
    RangeTblFunction, RangeTblRef, RangeVar, RawStmt, ReassignOwnedStmt, RefreshMatViewStmt,
    ReindexStmt, RelabelType, RenameStmt, ReplicaIdentityStmt, ResTarget, ReturnStmt,
    ReturningClause, ReturningExpr, ReturningOption, RoleSpec, RowCompareExpr, RowExpr,
    RowMarkClause, RtePermissionInfo, RuleStmt, ScalarArrayOpExpr, SecLabelStmt, SelectStmt,
    SetOperationStmt, SetToDefault, SortBy, SortGroupClause, SqlValueFunction, StatsElem, String,
    SubLink, SubPlan, SubscriptingRef, TableFunc, TableLikeClause, TableSampleClause, TargetEntry,
    TransactionStmt, TriggerTransition, TruncateStmt, TypeCast, TypeName, UnlistenStmt, UpdateStmt,
    VacuumRelation, VacuumStmt, Var, VariableSetStmt, VariableShowStmt, ViewStmt, WindowClause,
    WindowDef, WindowFunc, WindowFuncRunCondition, WithCheckOption, WithClause, XmlExpr,
    XmlSerialize,
};

/// A node that is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the names are those of PostgreSQL's own nodes")]
pub enum Ref<'a> {
    Alias(&'a Alias),
    RangeVar(&'a RangeVar),
    TableFunc(&'a TableFunc),
    IntoClause(&'a IntoClause),
    Var(&'a Var),
    Param(&'a Param),
    Aggref(&'a Aggref),
    GroupingFunc(&'a GroupingFunc),
    WindowFunc(&'a WindowFunc),
    WindowFuncRunCondition(&'a WindowFuncRunCondition),
    MergeSupportFunc(&'a MergeSupportFunc),
    SubscriptingRef(&'a SubscriptingRef),
    FuncExpr(&'a FuncExpr),
    NamedArgExpr(&'a NamedArgExpr),
    OpExpr(&'a OpExpr),
    DistinctExpr(&'a DistinctExpr),
    NullIfExpr(&'a NullIfExpr),
    ScalarArrayOpExpr(&'a ScalarArrayOpExpr),
    BoolExpr(&'a BoolExpr),
    SubLink(&'a SubLink),
    SubPlan(&'a SubPlan),
    AlternativeSubPlan(&'a AlternativeSubPlan),
    FieldSelect(&'a FieldSelect),
    FieldStore(&'a FieldStore),
    RelabelType(&'a RelabelType),
    CoerceViaIo(&'a CoerceViaIo),
    ArrayCoerceExpr(&'a ArrayCoerceExpr),
    ConvertRowtypeExpr(&'a ConvertRowtypeExpr),
    CollateExpr(&'a CollateExpr),
    CaseExpr(&'a CaseExpr),
    CaseWhen(&'a CaseWhen),
    CaseTestExpr(&'a CaseTestExpr),
    ArrayExpr(&'a ArrayExpr),
    RowExpr(&'a RowExpr),
    RowCompareExpr(&'a RowCompareExpr),
    CoalesceExpr(&'a CoalesceExpr),
    MinMaxExpr(&'a MinMaxExpr),
    SqlValueFunction(&'a SqlValueFunction),
    XmlExpr(&'a XmlExpr),
    JsonFormat(&'a JsonFormat),
    JsonReturning(&'a JsonReturning),
    JsonValueExpr(&'a JsonValueExpr),
    JsonConstructorExpr(&'a JsonConstructorExpr),
    JsonIsPredicate(&'a JsonIsPredicate),
    JsonBehavior(&'a JsonBehavior),
    JsonExpr(&'a JsonExpr),
    JsonTablePath(&'a JsonTablePath),
    JsonTablePathScan(&'a JsonTablePathScan),
    JsonTableSiblingJoin(&'a JsonTableSiblingJoin),
    NullTest(&'a NullTest),
    BooleanTest(&'a BooleanTest),
    MergeAction(&'a MergeAction),
    CoerceToDomain(&'a CoerceToDomain),
    CoerceToDomainValue(&'a CoerceToDomainValue),
    SetToDefault(&'a SetToDefault),
    CurrentOfExpr(&'a CurrentOfExpr),
    NextValueExpr(&'a NextValueExpr),
    InferenceElem(&'a InferenceElem),
    ReturningExpr(&'a ReturningExpr),
    TargetEntry(&'a TargetEntry),
    RangeTblRef(&'a RangeTblRef),
    JoinExpr(&'a JoinExpr),
    FromExpr(&'a FromExpr),
    OnConflictExpr(&'a OnConflictExpr),
    Query(&'a Query),
    TypeName(&'a TypeName),
    ColumnRef(&'a ColumnRef),
    ParamRef(&'a ParamRef),
    AExpr(&'a AExpr),
    TypeCast(&'a TypeCast),
    CollateClause(&'a CollateClause),
    RoleSpec(&'a RoleSpec),
    FuncCall(&'a FuncCall),
    AStar(&'a AStar),
    AIndices(&'a AIndices),
    AIndirection(&'a AIndirection),
    AArrayExpr(&'a AArrayExpr),
    ResTarget(&'a ResTarget),
    MultiAssignRef(&'a MultiAssignRef),
    SortBy(&'a SortBy),
    WindowDef(&'a WindowDef),
    RangeSubselect(&'a RangeSubselect),
    RangeFunction(&'a RangeFunction),
    RangeTableFunc(&'a RangeTableFunc),
    RangeTableFuncCol(&'a RangeTableFuncCol),
    RangeTableSample(&'a RangeTableSample),
    ColumnDef(&'a ColumnDef),
    TableLikeClause(&'a TableLikeClause),
    IndexElem(&'a IndexElem),
    DefElem(&'a DefElem),
    LockingClause(&'a LockingClause),
    XmlSerialize(&'a XmlSerialize),
    PartitionElem(&'a PartitionElem),
    PartitionSpec(&'a PartitionSpec),
    PartitionBoundSpec(&'a PartitionBoundSpec),
    PartitionRangeDatum(&'a PartitionRangeDatum),
    PartitionCmd(&'a PartitionCmd),
    RangeTblEntry(&'a RangeTblEntry),
    RtePermissionInfo(&'a RtePermissionInfo),
    RangeTblFunction(&'a RangeTblFunction),
    TableSampleClause(&'a TableSampleClause),
    WithCheckOption(&'a WithCheckOption),
    SortGroupClause(&'a SortGroupClause),
    GroupingSet(&'a GroupingSet),
    WindowClause(&'a WindowClause),
    RowMarkClause(&'a RowMarkClause),
    WithClause(&'a WithClause),
    InferClause(&'a InferClause),
    OnConflictClause(&'a OnConflictClause),
    CteSearchClause(&'a CteSearchClause),
    CteCycleClause(&'a CteCycleClause),
    CommonTableExpr(&'a CommonTableExpr),
    MergeWhenClause(&'a MergeWhenClause),
    ReturningOption(&'a ReturningOption),
    ReturningClause(&'a ReturningClause),
    TriggerTransition(&'a TriggerTransition),
    JsonOutput(&'a JsonOutput),
    JsonArgument(&'a JsonArgument),
    JsonFuncExpr(&'a JsonFuncExpr),
    JsonTablePathSpec(&'a JsonTablePathSpec),
    JsonTable(&'a JsonTable),
    JsonTableColumn(&'a JsonTableColumn),
    JsonKeyValue(&'a JsonKeyValue),
    JsonParseExpr(&'a JsonParseExpr),
    JsonScalarExpr(&'a JsonScalarExpr),
    JsonSerializeExpr(&'a JsonSerializeExpr),
    JsonObjectConstructor(&'a JsonObjectConstructor),
    JsonArrayConstructor(&'a JsonArrayConstructor),
    JsonArrayQueryConstructor(&'a JsonArrayQueryConstructor),
    JsonAggConstructor(&'a JsonAggConstructor),
    JsonObjectAgg(&'a JsonObjectAgg),
    JsonArrayAgg(&'a JsonArrayAgg),
    RawStmt(&'a RawStmt),
    InsertStmt(&'a InsertStmt),
    DeleteStmt(&'a DeleteStmt),
    UpdateStmt(&'a UpdateStmt),
    MergeStmt(&'a MergeStmt),
    SelectStmt(&'a SelectStmt),
    SetOperationStmt(&'a SetOperationStmt),
    ReturnStmt(&'a ReturnStmt),
    PlAssignStmt(&'a PlAssignStmt),
    CreateSchemaStmt(&'a CreateSchemaStmt),
    AlterTableStmt(&'a AlterTableStmt),
    AlterTableCmd(&'a AlterTableCmd),
    AtAlterConstraint(&'a AtAlterConstraint),
    ReplicaIdentityStmt(&'a ReplicaIdentityStmt),
    AlterCollationStmt(&'a AlterCollationStmt),
    AlterDomainStmt(&'a AlterDomainStmt),
    GrantStmt(&'a GrantStmt),
    ObjectWithArgs(&'a ObjectWithArgs),
    AccessPriv(&'a AccessPriv),
    GrantRoleStmt(&'a GrantRoleStmt),
    AlterDefaultPrivilegesStmt(&'a AlterDefaultPrivilegesStmt),
    CopyStmt(&'a CopyStmt),
    VariableSetStmt(&'a VariableSetStmt),
    VariableShowStmt(&'a VariableShowStmt),
    CreateStmt(&'a CreateStmt),
    Constraint(&'a Constraint),
    CreateTableSpaceStmt(&'a CreateTableSpaceStmt),
    DropTableSpaceStmt(&'a DropTableSpaceStmt),
    AlterTableSpaceOptionsStmt(&'a AlterTableSpaceOptionsStmt),
    AlterTableMoveAllStmt(&'a AlterTableMoveAllStmt),
    CreateExtensionStmt(&'a CreateExtensionStmt),
    AlterExtensionStmt(&'a AlterExtensionStmt),
    AlterExtensionContentsStmt(&'a AlterExtensionContentsStmt),
    CreateFdwStmt(&'a CreateFdwStmt),
    AlterFdwStmt(&'a AlterFdwStmt),
    CreateForeignServerStmt(&'a CreateForeignServerStmt),
    AlterForeignServerStmt(&'a AlterForeignServerStmt),
    CreateForeignTableStmt(&'a CreateForeignTableStmt),
    CreateUserMappingStmt(&'a CreateUserMappingStmt),
    AlterUserMappingStmt(&'a AlterUserMappingStmt),
    DropUserMappingStmt(&'a DropUserMappingStmt),
    ImportForeignSchemaStmt(&'a ImportForeignSchemaStmt),
    CreatePolicyStmt(&'a CreatePolicyStmt),
    AlterPolicyStmt(&'a AlterPolicyStmt),
    CreateAmStmt(&'a CreateAmStmt),
    CreateTrigStmt(&'a CreateTrigStmt),
    CreateEventTrigStmt(&'a CreateEventTrigStmt),
    AlterEventTrigStmt(&'a AlterEventTrigStmt),
    CreatePLangStmt(&'a CreatePLangStmt),
    CreateRoleStmt(&'a CreateRoleStmt),
    AlterRoleStmt(&'a AlterRoleStmt),
    AlterRoleSetStmt(&'a AlterRoleSetStmt),
    DropRoleStmt(&'a DropRoleStmt),
    CreateSeqStmt(&'a CreateSeqStmt),
    AlterSeqStmt(&'a AlterSeqStmt),
    DefineStmt(&'a DefineStmt),
    CreateDomainStmt(&'a CreateDomainStmt),
    CreateOpClassStmt(&'a CreateOpClassStmt),
    CreateOpClassItem(&'a CreateOpClassItem),
    CreateOpFamilyStmt(&'a CreateOpFamilyStmt),
    AlterOpFamilyStmt(&'a AlterOpFamilyStmt),
    DropStmt(&'a DropStmt),
    TruncateStmt(&'a TruncateStmt),
    CommentStmt(&'a CommentStmt),
    SecLabelStmt(&'a SecLabelStmt),
    DeclareCursorStmt(&'a DeclareCursorStmt),
    ClosePortalStmt(&'a ClosePortalStmt),
    FetchStmt(&'a FetchStmt),
    IndexStmt(&'a IndexStmt),
    CreateStatsStmt(&'a CreateStatsStmt),
    StatsElem(&'a StatsElem),
    AlterStatsStmt(&'a AlterStatsStmt),
    CreateFunctionStmt(&'a CreateFunctionStmt),
    FunctionParameter(&'a FunctionParameter),
    AlterFunctionStmt(&'a AlterFunctionStmt),
    DoStmt(&'a DoStmt),
    InlineCodeBlock(&'a InlineCodeBlock),
    CallStmt(&'a CallStmt),
    CallContext(&'a CallContext),
    RenameStmt(&'a RenameStmt),
    AlterObjectDependsStmt(&'a AlterObjectDependsStmt),
    AlterObjectSchemaStmt(&'a AlterObjectSchemaStmt),
    AlterOwnerStmt(&'a AlterOwnerStmt),
    AlterOperatorStmt(&'a AlterOperatorStmt),
    AlterTypeStmt(&'a AlterTypeStmt),
    RuleStmt(&'a RuleStmt),
    NotifyStmt(&'a NotifyStmt),
    ListenStmt(&'a ListenStmt),
    UnlistenStmt(&'a UnlistenStmt),
    TransactionStmt(&'a TransactionStmt),
    CompositeTypeStmt(&'a CompositeTypeStmt),
    CreateEnumStmt(&'a CreateEnumStmt),
    CreateRangeStmt(&'a CreateRangeStmt),
    AlterEnumStmt(&'a AlterEnumStmt),
    ViewStmt(&'a ViewStmt),
    LoadStmt(&'a LoadStmt),
    CreatedbStmt(&'a CreatedbStmt),
    AlterDatabaseStmt(&'a AlterDatabaseStmt),
    AlterDatabaseRefreshCollStmt(&'a AlterDatabaseRefreshCollStmt),
    AlterDatabaseSetStmt(&'a AlterDatabaseSetStmt),
    DropdbStmt(&'a DropdbStmt),
    AlterSystemStmt(&'a AlterSystemStmt),
    ClusterStmt(&'a ClusterStmt),
    VacuumStmt(&'a VacuumStmt),
    VacuumRelation(&'a VacuumRelation),
    ExplainStmt(&'a ExplainStmt),
    CreateTableAsStmt(&'a CreateTableAsStmt),
    RefreshMatViewStmt(&'a RefreshMatViewStmt),
    CheckPointStmt(&'a CheckPointStmt),
    DiscardStmt(&'a DiscardStmt),
    LockStmt(&'a LockStmt),
    ConstraintsSetStmt(&'a ConstraintsSetStmt),
    ReindexStmt(&'a ReindexStmt),
    CreateConversionStmt(&'a CreateConversionStmt),
    CreateCastStmt(&'a CreateCastStmt),
    CreateTransformStmt(&'a CreateTransformStmt),
    PrepareStmt(&'a PrepareStmt),
    ExecuteStmt(&'a ExecuteStmt),
    DeallocateStmt(&'a DeallocateStmt),
    DropOwnedStmt(&'a DropOwnedStmt),
    ReassignOwnedStmt(&'a ReassignOwnedStmt),
    AlterTsDictionaryStmt(&'a AlterTsDictionaryStmt),
    AlterTsConfigurationStmt(&'a AlterTsConfigurationStmt),
    PublicationTable(&'a PublicationTable),
    PublicationObjSpec(&'a PublicationObjSpec),
    CreatePublicationStmt(&'a CreatePublicationStmt),
    AlterPublicationStmt(&'a AlterPublicationStmt),
    CreateSubscriptionStmt(&'a CreateSubscriptionStmt),
    AlterSubscriptionStmt(&'a AlterSubscriptionStmt),
    DropSubscriptionStmt(&'a DropSubscriptionStmt),
    Integer(&'a Integer),
    Float(&'a Float),
    Boolean(&'a Boolean),
    String(&'a String),
    BitString(&'a BitString),
    List(&'a List),
    IntList(&'a IntList),
    OidList(&'a OidList),
    AConst(&'a AConst),
}

/// A node that is changed. Where the grammar allows different kinds of nodes, the place itself
/// comes first, as [`Mut::Slot`], and what is in it is its only child.
#[derive(Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of PostgreSQL's own nodes")]
pub enum Mut<'a> {
    Slot(&'a mut Node),
    Alias(&'a mut Alias),
    RangeVar(&'a mut RangeVar),
    TableFunc(&'a mut TableFunc),
    IntoClause(&'a mut IntoClause),
    Var(&'a mut Var),
    Param(&'a mut Param),
    Aggref(&'a mut Aggref),
    GroupingFunc(&'a mut GroupingFunc),
    WindowFunc(&'a mut WindowFunc),
    WindowFuncRunCondition(&'a mut WindowFuncRunCondition),
    MergeSupportFunc(&'a mut MergeSupportFunc),
    SubscriptingRef(&'a mut SubscriptingRef),
    FuncExpr(&'a mut FuncExpr),
    NamedArgExpr(&'a mut NamedArgExpr),
    OpExpr(&'a mut OpExpr),
    DistinctExpr(&'a mut DistinctExpr),
    NullIfExpr(&'a mut NullIfExpr),
    ScalarArrayOpExpr(&'a mut ScalarArrayOpExpr),
    BoolExpr(&'a mut BoolExpr),
    SubLink(&'a mut SubLink),
    SubPlan(&'a mut SubPlan),
    AlternativeSubPlan(&'a mut AlternativeSubPlan),
    FieldSelect(&'a mut FieldSelect),
    FieldStore(&'a mut FieldStore),
    RelabelType(&'a mut RelabelType),
    CoerceViaIo(&'a mut CoerceViaIo),
    ArrayCoerceExpr(&'a mut ArrayCoerceExpr),
    ConvertRowtypeExpr(&'a mut ConvertRowtypeExpr),
    CollateExpr(&'a mut CollateExpr),
    CaseExpr(&'a mut CaseExpr),
    CaseWhen(&'a mut CaseWhen),
    CaseTestExpr(&'a mut CaseTestExpr),
    ArrayExpr(&'a mut ArrayExpr),
    RowExpr(&'a mut RowExpr),
    RowCompareExpr(&'a mut RowCompareExpr),
    CoalesceExpr(&'a mut CoalesceExpr),
    MinMaxExpr(&'a mut MinMaxExpr),
    SqlValueFunction(&'a mut SqlValueFunction),
    XmlExpr(&'a mut XmlExpr),
    JsonFormat(&'a mut JsonFormat),
    JsonReturning(&'a mut JsonReturning),
    JsonValueExpr(&'a mut JsonValueExpr),
    JsonConstructorExpr(&'a mut JsonConstructorExpr),
    JsonIsPredicate(&'a mut JsonIsPredicate),
    JsonBehavior(&'a mut JsonBehavior),
    JsonExpr(&'a mut JsonExpr),
    JsonTablePath(&'a mut JsonTablePath),
    JsonTablePathScan(&'a mut JsonTablePathScan),
    JsonTableSiblingJoin(&'a mut JsonTableSiblingJoin),
    NullTest(&'a mut NullTest),
    BooleanTest(&'a mut BooleanTest),
    MergeAction(&'a mut MergeAction),
    CoerceToDomain(&'a mut CoerceToDomain),
    CoerceToDomainValue(&'a mut CoerceToDomainValue),
    SetToDefault(&'a mut SetToDefault),
    CurrentOfExpr(&'a mut CurrentOfExpr),
    NextValueExpr(&'a mut NextValueExpr),
    InferenceElem(&'a mut InferenceElem),
    ReturningExpr(&'a mut ReturningExpr),
    TargetEntry(&'a mut TargetEntry),
    RangeTblRef(&'a mut RangeTblRef),
    JoinExpr(&'a mut JoinExpr),
    FromExpr(&'a mut FromExpr),
    OnConflictExpr(&'a mut OnConflictExpr),
    Query(&'a mut Query),
    TypeName(&'a mut TypeName),
    ColumnRef(&'a mut ColumnRef),
    ParamRef(&'a mut ParamRef),
    AExpr(&'a mut AExpr),
    TypeCast(&'a mut TypeCast),
    CollateClause(&'a mut CollateClause),
    RoleSpec(&'a mut RoleSpec),
    FuncCall(&'a mut FuncCall),
    AStar(&'a mut AStar),
    AIndices(&'a mut AIndices),
    AIndirection(&'a mut AIndirection),
    AArrayExpr(&'a mut AArrayExpr),
    ResTarget(&'a mut ResTarget),
    MultiAssignRef(&'a mut MultiAssignRef),
    SortBy(&'a mut SortBy),
    WindowDef(&'a mut WindowDef),
    RangeSubselect(&'a mut RangeSubselect),
    RangeFunction(&'a mut RangeFunction),
    RangeTableFunc(&'a mut RangeTableFunc),
    RangeTableFuncCol(&'a mut RangeTableFuncCol),
    RangeTableSample(&'a mut RangeTableSample),
    ColumnDef(&'a mut ColumnDef),
    TableLikeClause(&'a mut TableLikeClause),
    IndexElem(&'a mut IndexElem),
    DefElem(&'a mut DefElem),
    LockingClause(&'a mut LockingClause),
    XmlSerialize(&'a mut XmlSerialize),
    PartitionElem(&'a mut PartitionElem),
    PartitionSpec(&'a mut PartitionSpec),
    PartitionBoundSpec(&'a mut PartitionBoundSpec),
    PartitionRangeDatum(&'a mut PartitionRangeDatum),
    PartitionCmd(&'a mut PartitionCmd),
    RangeTblEntry(&'a mut RangeTblEntry),
    RtePermissionInfo(&'a mut RtePermissionInfo),
    RangeTblFunction(&'a mut RangeTblFunction),
    TableSampleClause(&'a mut TableSampleClause),
    WithCheckOption(&'a mut WithCheckOption),
    SortGroupClause(&'a mut SortGroupClause),
    GroupingSet(&'a mut GroupingSet),
    WindowClause(&'a mut WindowClause),
    RowMarkClause(&'a mut RowMarkClause),
    WithClause(&'a mut WithClause),
    InferClause(&'a mut InferClause),
    OnConflictClause(&'a mut OnConflictClause),
    CteSearchClause(&'a mut CteSearchClause),
    CteCycleClause(&'a mut CteCycleClause),
    CommonTableExpr(&'a mut CommonTableExpr),
    MergeWhenClause(&'a mut MergeWhenClause),
    ReturningOption(&'a mut ReturningOption),
    ReturningClause(&'a mut ReturningClause),
    TriggerTransition(&'a mut TriggerTransition),
    JsonOutput(&'a mut JsonOutput),
    JsonArgument(&'a mut JsonArgument),
    JsonFuncExpr(&'a mut JsonFuncExpr),
    JsonTablePathSpec(&'a mut JsonTablePathSpec),
    JsonTable(&'a mut JsonTable),
    JsonTableColumn(&'a mut JsonTableColumn),
    JsonKeyValue(&'a mut JsonKeyValue),
    JsonParseExpr(&'a mut JsonParseExpr),
    JsonScalarExpr(&'a mut JsonScalarExpr),
    JsonSerializeExpr(&'a mut JsonSerializeExpr),
    JsonObjectConstructor(&'a mut JsonObjectConstructor),
    JsonArrayConstructor(&'a mut JsonArrayConstructor),
    JsonArrayQueryConstructor(&'a mut JsonArrayQueryConstructor),
    JsonAggConstructor(&'a mut JsonAggConstructor),
    JsonObjectAgg(&'a mut JsonObjectAgg),
    JsonArrayAgg(&'a mut JsonArrayAgg),
    RawStmt(&'a mut RawStmt),
    InsertStmt(&'a mut InsertStmt),
    DeleteStmt(&'a mut DeleteStmt),
    UpdateStmt(&'a mut UpdateStmt),
    MergeStmt(&'a mut MergeStmt),
    SelectStmt(&'a mut SelectStmt),
    SetOperationStmt(&'a mut SetOperationStmt),
    ReturnStmt(&'a mut ReturnStmt),
    PlAssignStmt(&'a mut PlAssignStmt),
    CreateSchemaStmt(&'a mut CreateSchemaStmt),
    AlterTableStmt(&'a mut AlterTableStmt),
    AlterTableCmd(&'a mut AlterTableCmd),
    AtAlterConstraint(&'a mut AtAlterConstraint),
    ReplicaIdentityStmt(&'a mut ReplicaIdentityStmt),
    AlterCollationStmt(&'a mut AlterCollationStmt),
    AlterDomainStmt(&'a mut AlterDomainStmt),
    GrantStmt(&'a mut GrantStmt),
    ObjectWithArgs(&'a mut ObjectWithArgs),
    AccessPriv(&'a mut AccessPriv),
    GrantRoleStmt(&'a mut GrantRoleStmt),
    AlterDefaultPrivilegesStmt(&'a mut AlterDefaultPrivilegesStmt),
    CopyStmt(&'a mut CopyStmt),
    VariableSetStmt(&'a mut VariableSetStmt),
    VariableShowStmt(&'a mut VariableShowStmt),
    CreateStmt(&'a mut CreateStmt),
    Constraint(&'a mut Constraint),
    CreateTableSpaceStmt(&'a mut CreateTableSpaceStmt),
    DropTableSpaceStmt(&'a mut DropTableSpaceStmt),
    AlterTableSpaceOptionsStmt(&'a mut AlterTableSpaceOptionsStmt),
    AlterTableMoveAllStmt(&'a mut AlterTableMoveAllStmt),
    CreateExtensionStmt(&'a mut CreateExtensionStmt),
    AlterExtensionStmt(&'a mut AlterExtensionStmt),
    AlterExtensionContentsStmt(&'a mut AlterExtensionContentsStmt),
    CreateFdwStmt(&'a mut CreateFdwStmt),
    AlterFdwStmt(&'a mut AlterFdwStmt),
    CreateForeignServerStmt(&'a mut CreateForeignServerStmt),
    AlterForeignServerStmt(&'a mut AlterForeignServerStmt),
    CreateForeignTableStmt(&'a mut CreateForeignTableStmt),
    CreateUserMappingStmt(&'a mut CreateUserMappingStmt),
    AlterUserMappingStmt(&'a mut AlterUserMappingStmt),
    DropUserMappingStmt(&'a mut DropUserMappingStmt),
    ImportForeignSchemaStmt(&'a mut ImportForeignSchemaStmt),
    CreatePolicyStmt(&'a mut CreatePolicyStmt),
    AlterPolicyStmt(&'a mut AlterPolicyStmt),
    CreateAmStmt(&'a mut CreateAmStmt),
    CreateTrigStmt(&'a mut CreateTrigStmt),
    CreateEventTrigStmt(&'a mut CreateEventTrigStmt),
    AlterEventTrigStmt(&'a mut AlterEventTrigStmt),
    CreatePLangStmt(&'a mut CreatePLangStmt),
    CreateRoleStmt(&'a mut CreateRoleStmt),
    AlterRoleStmt(&'a mut AlterRoleStmt),
    AlterRoleSetStmt(&'a mut AlterRoleSetStmt),
    DropRoleStmt(&'a mut DropRoleStmt),
    CreateSeqStmt(&'a mut CreateSeqStmt),
    AlterSeqStmt(&'a mut AlterSeqStmt),
    DefineStmt(&'a mut DefineStmt),
    CreateDomainStmt(&'a mut CreateDomainStmt),
    CreateOpClassStmt(&'a mut CreateOpClassStmt),
    CreateOpClassItem(&'a mut CreateOpClassItem),
    CreateOpFamilyStmt(&'a mut CreateOpFamilyStmt),
    AlterOpFamilyStmt(&'a mut AlterOpFamilyStmt),
    DropStmt(&'a mut DropStmt),
    TruncateStmt(&'a mut TruncateStmt),
    CommentStmt(&'a mut CommentStmt),
    SecLabelStmt(&'a mut SecLabelStmt),
    DeclareCursorStmt(&'a mut DeclareCursorStmt),
    ClosePortalStmt(&'a mut ClosePortalStmt),
    FetchStmt(&'a mut FetchStmt),
    IndexStmt(&'a mut IndexStmt),
    CreateStatsStmt(&'a mut CreateStatsStmt),
    StatsElem(&'a mut StatsElem),
    AlterStatsStmt(&'a mut AlterStatsStmt),
    CreateFunctionStmt(&'a mut CreateFunctionStmt),
    FunctionParameter(&'a mut FunctionParameter),
    AlterFunctionStmt(&'a mut AlterFunctionStmt),
    DoStmt(&'a mut DoStmt),
    InlineCodeBlock(&'a mut InlineCodeBlock),
    CallStmt(&'a mut CallStmt),
    CallContext(&'a mut CallContext),
    RenameStmt(&'a mut RenameStmt),
    AlterObjectDependsStmt(&'a mut AlterObjectDependsStmt),
    AlterObjectSchemaStmt(&'a mut AlterObjectSchemaStmt),
    AlterOwnerStmt(&'a mut AlterOwnerStmt),
    AlterOperatorStmt(&'a mut AlterOperatorStmt),
    AlterTypeStmt(&'a mut AlterTypeStmt),
    RuleStmt(&'a mut RuleStmt),
    NotifyStmt(&'a mut NotifyStmt),
    ListenStmt(&'a mut ListenStmt),
    UnlistenStmt(&'a mut UnlistenStmt),
    TransactionStmt(&'a mut TransactionStmt),
    CompositeTypeStmt(&'a mut CompositeTypeStmt),
    CreateEnumStmt(&'a mut CreateEnumStmt),
    CreateRangeStmt(&'a mut CreateRangeStmt),
    AlterEnumStmt(&'a mut AlterEnumStmt),
    ViewStmt(&'a mut ViewStmt),
    LoadStmt(&'a mut LoadStmt),
    CreatedbStmt(&'a mut CreatedbStmt),
    AlterDatabaseStmt(&'a mut AlterDatabaseStmt),
    AlterDatabaseRefreshCollStmt(&'a mut AlterDatabaseRefreshCollStmt),
    AlterDatabaseSetStmt(&'a mut AlterDatabaseSetStmt),
    DropdbStmt(&'a mut DropdbStmt),
    AlterSystemStmt(&'a mut AlterSystemStmt),
    ClusterStmt(&'a mut ClusterStmt),
    VacuumStmt(&'a mut VacuumStmt),
    VacuumRelation(&'a mut VacuumRelation),
    ExplainStmt(&'a mut ExplainStmt),
    CreateTableAsStmt(&'a mut CreateTableAsStmt),
    RefreshMatViewStmt(&'a mut RefreshMatViewStmt),
    CheckPointStmt(&'a mut CheckPointStmt),
    DiscardStmt(&'a mut DiscardStmt),
    LockStmt(&'a mut LockStmt),
    ConstraintsSetStmt(&'a mut ConstraintsSetStmt),
    ReindexStmt(&'a mut ReindexStmt),
    CreateConversionStmt(&'a mut CreateConversionStmt),
    CreateCastStmt(&'a mut CreateCastStmt),
    CreateTransformStmt(&'a mut CreateTransformStmt),
    PrepareStmt(&'a mut PrepareStmt),
    ExecuteStmt(&'a mut ExecuteStmt),
    DeallocateStmt(&'a mut DeallocateStmt),
    DropOwnedStmt(&'a mut DropOwnedStmt),
    ReassignOwnedStmt(&'a mut ReassignOwnedStmt),
    AlterTsDictionaryStmt(&'a mut AlterTsDictionaryStmt),
    AlterTsConfigurationStmt(&'a mut AlterTsConfigurationStmt),
    PublicationTable(&'a mut PublicationTable),
    PublicationObjSpec(&'a mut PublicationObjSpec),
    CreatePublicationStmt(&'a mut CreatePublicationStmt),
    AlterPublicationStmt(&'a mut AlterPublicationStmt),
    CreateSubscriptionStmt(&'a mut CreateSubscriptionStmt),
    AlterSubscriptionStmt(&'a mut AlterSubscriptionStmt),
    DropSubscriptionStmt(&'a mut DropSubscriptionStmt),
    Integer(&'a mut Integer),
    Float(&'a mut Float),
    Boolean(&'a mut Boolean),
    String(&'a mut String),
    BitString(&'a mut BitString),
    List(&'a mut List),
    IntList(&'a mut IntList),
    OidList(&'a mut OidList),
    AConst(&'a mut AConst),
}

fn one<'a>(node: Option<&'a Node>, each: &mut dyn FnMut(Ref<'a>)) {
    if let Some(node) = node.and_then(|node| node.node.as_ref()) {
        each(Ref::of(node));
    }
}

fn list<'a>(nodes: &'a [Node], each: &mut dyn FnMut(Ref<'a>)) {
    for node in nodes {
        one(Some(node), each);
    }
}

fn one_mut(node: Option<&mut Node>, each: &mut dyn FnMut(Mut<'_>)) {
    if let Some(node) = node {
        each(Mut::Slot(node));
    }
}

fn list_mut(nodes: &mut [Node], each: &mut dyn FnMut(Mut<'_>)) {
    for node in nodes {
        each(Mut::Slot(node));
    }
}

impl<'a> Ref<'a> {
    /// The node inside the grammar's general one.
    #[must_use]
    pub fn of(node: &'a NodeEnum) -> Self {
        match node {
            NodeEnum::Alias(node) => Self::Alias(node),
            NodeEnum::RangeVar(node) => Self::RangeVar(node),
            NodeEnum::TableFunc(node) => Self::TableFunc(node),
            NodeEnum::IntoClause(node) => Self::IntoClause(node),
            NodeEnum::Var(node) => Self::Var(node),
            NodeEnum::Param(node) => Self::Param(node),
            NodeEnum::Aggref(node) => Self::Aggref(node),
            NodeEnum::GroupingFunc(node) => Self::GroupingFunc(node),
            NodeEnum::WindowFunc(node) => Self::WindowFunc(node),
            NodeEnum::WindowFuncRunCondition(node) => Self::WindowFuncRunCondition(node),
            NodeEnum::MergeSupportFunc(node) => Self::MergeSupportFunc(node),
            NodeEnum::SubscriptingRef(node) => Self::SubscriptingRef(node),
            NodeEnum::FuncExpr(node) => Self::FuncExpr(node),
            NodeEnum::NamedArgExpr(node) => Self::NamedArgExpr(node),
            NodeEnum::OpExpr(node) => Self::OpExpr(node),
            NodeEnum::DistinctExpr(node) => Self::DistinctExpr(node),
            NodeEnum::NullIfExpr(node) => Self::NullIfExpr(node),
            NodeEnum::ScalarArrayOpExpr(node) => Self::ScalarArrayOpExpr(node),
            NodeEnum::BoolExpr(node) => Self::BoolExpr(node),
            NodeEnum::SubLink(node) => Self::SubLink(node),
            NodeEnum::SubPlan(node) => Self::SubPlan(node),
            NodeEnum::AlternativeSubPlan(node) => Self::AlternativeSubPlan(node),
            NodeEnum::FieldSelect(node) => Self::FieldSelect(node),
            NodeEnum::FieldStore(node) => Self::FieldStore(node),
            NodeEnum::RelabelType(node) => Self::RelabelType(node),
            NodeEnum::CoerceViaIo(node) => Self::CoerceViaIo(node),
            NodeEnum::ArrayCoerceExpr(node) => Self::ArrayCoerceExpr(node),
            NodeEnum::ConvertRowtypeExpr(node) => Self::ConvertRowtypeExpr(node),
            NodeEnum::CollateExpr(node) => Self::CollateExpr(node),
            NodeEnum::CaseExpr(node) => Self::CaseExpr(node),
            NodeEnum::CaseWhen(node) => Self::CaseWhen(node),
            NodeEnum::CaseTestExpr(node) => Self::CaseTestExpr(node),
            NodeEnum::ArrayExpr(node) => Self::ArrayExpr(node),
            NodeEnum::RowExpr(node) => Self::RowExpr(node),
            NodeEnum::RowCompareExpr(node) => Self::RowCompareExpr(node),
            NodeEnum::CoalesceExpr(node) => Self::CoalesceExpr(node),
            NodeEnum::MinMaxExpr(node) => Self::MinMaxExpr(node),
            NodeEnum::SqlvalueFunction(node) => Self::SqlValueFunction(node),
            NodeEnum::XmlExpr(node) => Self::XmlExpr(node),
            NodeEnum::JsonFormat(node) => Self::JsonFormat(node),
            NodeEnum::JsonReturning(node) => Self::JsonReturning(node),
            NodeEnum::JsonValueExpr(node) => Self::JsonValueExpr(node),
            NodeEnum::JsonConstructorExpr(node) => Self::JsonConstructorExpr(node),
            NodeEnum::JsonIsPredicate(node) => Self::JsonIsPredicate(node),
            NodeEnum::JsonBehavior(node) => Self::JsonBehavior(node),
            NodeEnum::JsonExpr(node) => Self::JsonExpr(node),
            NodeEnum::JsonTablePath(node) => Self::JsonTablePath(node),
            NodeEnum::JsonTablePathScan(node) => Self::JsonTablePathScan(node),
            NodeEnum::JsonTableSiblingJoin(node) => Self::JsonTableSiblingJoin(node),
            NodeEnum::NullTest(node) => Self::NullTest(node),
            NodeEnum::BooleanTest(node) => Self::BooleanTest(node),
            NodeEnum::MergeAction(node) => Self::MergeAction(node),
            NodeEnum::CoerceToDomain(node) => Self::CoerceToDomain(node),
            NodeEnum::CoerceToDomainValue(node) => Self::CoerceToDomainValue(node),
            NodeEnum::SetToDefault(node) => Self::SetToDefault(node),
            NodeEnum::CurrentOfExpr(node) => Self::CurrentOfExpr(node),
            NodeEnum::NextValueExpr(node) => Self::NextValueExpr(node),
            NodeEnum::InferenceElem(node) => Self::InferenceElem(node),
            NodeEnum::ReturningExpr(node) => Self::ReturningExpr(node),
            NodeEnum::TargetEntry(node) => Self::TargetEntry(node),
            NodeEnum::RangeTblRef(node) => Self::RangeTblRef(node),
            NodeEnum::JoinExpr(node) => Self::JoinExpr(node),
            NodeEnum::FromExpr(node) => Self::FromExpr(node),
            NodeEnum::OnConflictExpr(node) => Self::OnConflictExpr(node),
            NodeEnum::Query(node) => Self::Query(node),
            NodeEnum::TypeName(node) => Self::TypeName(node),
            NodeEnum::ColumnRef(node) => Self::ColumnRef(node),
            NodeEnum::ParamRef(node) => Self::ParamRef(node),
            NodeEnum::AExpr(node) => Self::AExpr(node),
            NodeEnum::TypeCast(node) => Self::TypeCast(node),
            NodeEnum::CollateClause(node) => Self::CollateClause(node),
            NodeEnum::RoleSpec(node) => Self::RoleSpec(node),
            NodeEnum::FuncCall(node) => Self::FuncCall(node),
            NodeEnum::AStar(node) => Self::AStar(node),
            NodeEnum::AIndices(node) => Self::AIndices(node),
            NodeEnum::AIndirection(node) => Self::AIndirection(node),
            NodeEnum::AArrayExpr(node) => Self::AArrayExpr(node),
            NodeEnum::ResTarget(node) => Self::ResTarget(node),
            NodeEnum::MultiAssignRef(node) => Self::MultiAssignRef(node),
            NodeEnum::SortBy(node) => Self::SortBy(node),
            NodeEnum::WindowDef(node) => Self::WindowDef(node),
            NodeEnum::RangeSubselect(node) => Self::RangeSubselect(node),
            NodeEnum::RangeFunction(node) => Self::RangeFunction(node),
            NodeEnum::RangeTableFunc(node) => Self::RangeTableFunc(node),
            NodeEnum::RangeTableFuncCol(node) => Self::RangeTableFuncCol(node),
            NodeEnum::RangeTableSample(node) => Self::RangeTableSample(node),
            NodeEnum::ColumnDef(node) => Self::ColumnDef(node),
            NodeEnum::TableLikeClause(node) => Self::TableLikeClause(node),
            NodeEnum::IndexElem(node) => Self::IndexElem(node),
            NodeEnum::DefElem(node) => Self::DefElem(node),
            NodeEnum::LockingClause(node) => Self::LockingClause(node),
            NodeEnum::XmlSerialize(node) => Self::XmlSerialize(node),
            NodeEnum::PartitionElem(node) => Self::PartitionElem(node),
            NodeEnum::PartitionSpec(node) => Self::PartitionSpec(node),
            NodeEnum::PartitionBoundSpec(node) => Self::PartitionBoundSpec(node),
            NodeEnum::PartitionRangeDatum(node) => Self::PartitionRangeDatum(node),
            NodeEnum::PartitionCmd(node) => Self::PartitionCmd(node),
            NodeEnum::RangeTblEntry(node) => Self::RangeTblEntry(node),
            NodeEnum::RtepermissionInfo(node) => Self::RtePermissionInfo(node),
            NodeEnum::RangeTblFunction(node) => Self::RangeTblFunction(node),
            NodeEnum::TableSampleClause(node) => Self::TableSampleClause(node),
            NodeEnum::WithCheckOption(node) => Self::WithCheckOption(node),
            NodeEnum::SortGroupClause(node) => Self::SortGroupClause(node),
            NodeEnum::GroupingSet(node) => Self::GroupingSet(node),
            NodeEnum::WindowClause(node) => Self::WindowClause(node),
            NodeEnum::RowMarkClause(node) => Self::RowMarkClause(node),
            NodeEnum::WithClause(node) => Self::WithClause(node),
            NodeEnum::InferClause(node) => Self::InferClause(node),
            NodeEnum::OnConflictClause(node) => Self::OnConflictClause(node),
            NodeEnum::CtesearchClause(node) => Self::CteSearchClause(node),
            NodeEnum::CtecycleClause(node) => Self::CteCycleClause(node),
            NodeEnum::CommonTableExpr(node) => Self::CommonTableExpr(node),
            NodeEnum::MergeWhenClause(node) => Self::MergeWhenClause(node),
            NodeEnum::ReturningOption(node) => Self::ReturningOption(node),
            NodeEnum::ReturningClause(node) => Self::ReturningClause(node),
            NodeEnum::TriggerTransition(node) => Self::TriggerTransition(node),
            NodeEnum::JsonOutput(node) => Self::JsonOutput(node),
            NodeEnum::JsonArgument(node) => Self::JsonArgument(node),
            NodeEnum::JsonFuncExpr(node) => Self::JsonFuncExpr(node),
            NodeEnum::JsonTablePathSpec(node) => Self::JsonTablePathSpec(node),
            NodeEnum::JsonTable(node) => Self::JsonTable(node),
            NodeEnum::JsonTableColumn(node) => Self::JsonTableColumn(node),
            NodeEnum::JsonKeyValue(node) => Self::JsonKeyValue(node),
            NodeEnum::JsonParseExpr(node) => Self::JsonParseExpr(node),
            NodeEnum::JsonScalarExpr(node) => Self::JsonScalarExpr(node),
            NodeEnum::JsonSerializeExpr(node) => Self::JsonSerializeExpr(node),
            NodeEnum::JsonObjectConstructor(node) => Self::JsonObjectConstructor(node),
            NodeEnum::JsonArrayConstructor(node) => Self::JsonArrayConstructor(node),
            NodeEnum::JsonArrayQueryConstructor(node) => Self::JsonArrayQueryConstructor(node),
            NodeEnum::JsonAggConstructor(node) => Self::JsonAggConstructor(node),
            NodeEnum::JsonObjectAgg(node) => Self::JsonObjectAgg(node),
            NodeEnum::JsonArrayAgg(node) => Self::JsonArrayAgg(node),
            NodeEnum::RawStmt(node) => Self::RawStmt(node),
            NodeEnum::InsertStmt(node) => Self::InsertStmt(node),
            NodeEnum::DeleteStmt(node) => Self::DeleteStmt(node),
            NodeEnum::UpdateStmt(node) => Self::UpdateStmt(node),
            NodeEnum::MergeStmt(node) => Self::MergeStmt(node),
            NodeEnum::SelectStmt(node) => Self::SelectStmt(node),
            NodeEnum::SetOperationStmt(node) => Self::SetOperationStmt(node),
            NodeEnum::ReturnStmt(node) => Self::ReturnStmt(node),
            NodeEnum::PlassignStmt(node) => Self::PlAssignStmt(node),
            NodeEnum::CreateSchemaStmt(node) => Self::CreateSchemaStmt(node),
            NodeEnum::AlterTableStmt(node) => Self::AlterTableStmt(node),
            NodeEnum::AlterTableCmd(node) => Self::AlterTableCmd(node),
            NodeEnum::AtalterConstraint(node) => Self::AtAlterConstraint(node),
            NodeEnum::ReplicaIdentityStmt(node) => Self::ReplicaIdentityStmt(node),
            NodeEnum::AlterCollationStmt(node) => Self::AlterCollationStmt(node),
            NodeEnum::AlterDomainStmt(node) => Self::AlterDomainStmt(node),
            NodeEnum::GrantStmt(node) => Self::GrantStmt(node),
            NodeEnum::ObjectWithArgs(node) => Self::ObjectWithArgs(node),
            NodeEnum::AccessPriv(node) => Self::AccessPriv(node),
            NodeEnum::GrantRoleStmt(node) => Self::GrantRoleStmt(node),
            NodeEnum::AlterDefaultPrivilegesStmt(node) => Self::AlterDefaultPrivilegesStmt(node),
            NodeEnum::CopyStmt(node) => Self::CopyStmt(node),
            NodeEnum::VariableSetStmt(node) => Self::VariableSetStmt(node),
            NodeEnum::VariableShowStmt(node) => Self::VariableShowStmt(node),
            NodeEnum::CreateStmt(node) => Self::CreateStmt(node),
            NodeEnum::Constraint(node) => Self::Constraint(node),
            NodeEnum::CreateTableSpaceStmt(node) => Self::CreateTableSpaceStmt(node),
            NodeEnum::DropTableSpaceStmt(node) => Self::DropTableSpaceStmt(node),
            NodeEnum::AlterTableSpaceOptionsStmt(node) => Self::AlterTableSpaceOptionsStmt(node),
            NodeEnum::AlterTableMoveAllStmt(node) => Self::AlterTableMoveAllStmt(node),
            NodeEnum::CreateExtensionStmt(node) => Self::CreateExtensionStmt(node),
            NodeEnum::AlterExtensionStmt(node) => Self::AlterExtensionStmt(node),
            NodeEnum::AlterExtensionContentsStmt(node) => Self::AlterExtensionContentsStmt(node),
            NodeEnum::CreateFdwStmt(node) => Self::CreateFdwStmt(node),
            NodeEnum::AlterFdwStmt(node) => Self::AlterFdwStmt(node),
            NodeEnum::CreateForeignServerStmt(node) => Self::CreateForeignServerStmt(node),
            NodeEnum::AlterForeignServerStmt(node) => Self::AlterForeignServerStmt(node),
            NodeEnum::CreateForeignTableStmt(node) => Self::CreateForeignTableStmt(node),
            NodeEnum::CreateUserMappingStmt(node) => Self::CreateUserMappingStmt(node),
            NodeEnum::AlterUserMappingStmt(node) => Self::AlterUserMappingStmt(node),
            NodeEnum::DropUserMappingStmt(node) => Self::DropUserMappingStmt(node),
            NodeEnum::ImportForeignSchemaStmt(node) => Self::ImportForeignSchemaStmt(node),
            NodeEnum::CreatePolicyStmt(node) => Self::CreatePolicyStmt(node),
            NodeEnum::AlterPolicyStmt(node) => Self::AlterPolicyStmt(node),
            NodeEnum::CreateAmStmt(node) => Self::CreateAmStmt(node),
            NodeEnum::CreateTrigStmt(node) => Self::CreateTrigStmt(node),
            NodeEnum::CreateEventTrigStmt(node) => Self::CreateEventTrigStmt(node),
            NodeEnum::AlterEventTrigStmt(node) => Self::AlterEventTrigStmt(node),
            NodeEnum::CreatePlangStmt(node) => Self::CreatePLangStmt(node),
            NodeEnum::CreateRoleStmt(node) => Self::CreateRoleStmt(node),
            NodeEnum::AlterRoleStmt(node) => Self::AlterRoleStmt(node),
            NodeEnum::AlterRoleSetStmt(node) => Self::AlterRoleSetStmt(node),
            NodeEnum::DropRoleStmt(node) => Self::DropRoleStmt(node),
            NodeEnum::CreateSeqStmt(node) => Self::CreateSeqStmt(node),
            NodeEnum::AlterSeqStmt(node) => Self::AlterSeqStmt(node),
            NodeEnum::DefineStmt(node) => Self::DefineStmt(node),
            NodeEnum::CreateDomainStmt(node) => Self::CreateDomainStmt(node),
            NodeEnum::CreateOpClassStmt(node) => Self::CreateOpClassStmt(node),
            NodeEnum::CreateOpClassItem(node) => Self::CreateOpClassItem(node),
            NodeEnum::CreateOpFamilyStmt(node) => Self::CreateOpFamilyStmt(node),
            NodeEnum::AlterOpFamilyStmt(node) => Self::AlterOpFamilyStmt(node),
            NodeEnum::DropStmt(node) => Self::DropStmt(node),
            NodeEnum::TruncateStmt(node) => Self::TruncateStmt(node),
            NodeEnum::CommentStmt(node) => Self::CommentStmt(node),
            NodeEnum::SecLabelStmt(node) => Self::SecLabelStmt(node),
            NodeEnum::DeclareCursorStmt(node) => Self::DeclareCursorStmt(node),
            NodeEnum::ClosePortalStmt(node) => Self::ClosePortalStmt(node),
            NodeEnum::FetchStmt(node) => Self::FetchStmt(node),
            NodeEnum::IndexStmt(node) => Self::IndexStmt(node),
            NodeEnum::CreateStatsStmt(node) => Self::CreateStatsStmt(node),
            NodeEnum::StatsElem(node) => Self::StatsElem(node),
            NodeEnum::AlterStatsStmt(node) => Self::AlterStatsStmt(node),
            NodeEnum::CreateFunctionStmt(node) => Self::CreateFunctionStmt(node),
            NodeEnum::FunctionParameter(node) => Self::FunctionParameter(node),
            NodeEnum::AlterFunctionStmt(node) => Self::AlterFunctionStmt(node),
            NodeEnum::DoStmt(node) => Self::DoStmt(node),
            NodeEnum::InlineCodeBlock(node) => Self::InlineCodeBlock(node),
            NodeEnum::CallStmt(node) => Self::CallStmt(node),
            NodeEnum::CallContext(node) => Self::CallContext(node),
            NodeEnum::RenameStmt(node) => Self::RenameStmt(node),
            NodeEnum::AlterObjectDependsStmt(node) => Self::AlterObjectDependsStmt(node),
            NodeEnum::AlterObjectSchemaStmt(node) => Self::AlterObjectSchemaStmt(node),
            NodeEnum::AlterOwnerStmt(node) => Self::AlterOwnerStmt(node),
            NodeEnum::AlterOperatorStmt(node) => Self::AlterOperatorStmt(node),
            NodeEnum::AlterTypeStmt(node) => Self::AlterTypeStmt(node),
            NodeEnum::RuleStmt(node) => Self::RuleStmt(node),
            NodeEnum::NotifyStmt(node) => Self::NotifyStmt(node),
            NodeEnum::ListenStmt(node) => Self::ListenStmt(node),
            NodeEnum::UnlistenStmt(node) => Self::UnlistenStmt(node),
            NodeEnum::TransactionStmt(node) => Self::TransactionStmt(node),
            NodeEnum::CompositeTypeStmt(node) => Self::CompositeTypeStmt(node),
            NodeEnum::CreateEnumStmt(node) => Self::CreateEnumStmt(node),
            NodeEnum::CreateRangeStmt(node) => Self::CreateRangeStmt(node),
            NodeEnum::AlterEnumStmt(node) => Self::AlterEnumStmt(node),
            NodeEnum::ViewStmt(node) => Self::ViewStmt(node),
            NodeEnum::LoadStmt(node) => Self::LoadStmt(node),
            NodeEnum::CreatedbStmt(node) => Self::CreatedbStmt(node),
            NodeEnum::AlterDatabaseStmt(node) => Self::AlterDatabaseStmt(node),
            NodeEnum::AlterDatabaseRefreshCollStmt(node) => {
                Self::AlterDatabaseRefreshCollStmt(node)
            }
            NodeEnum::AlterDatabaseSetStmt(node) => Self::AlterDatabaseSetStmt(node),
            NodeEnum::DropdbStmt(node) => Self::DropdbStmt(node),
            NodeEnum::AlterSystemStmt(node) => Self::AlterSystemStmt(node),
            NodeEnum::ClusterStmt(node) => Self::ClusterStmt(node),
            NodeEnum::VacuumStmt(node) => Self::VacuumStmt(node),
            NodeEnum::VacuumRelation(node) => Self::VacuumRelation(node),
            NodeEnum::ExplainStmt(node) => Self::ExplainStmt(node),
            NodeEnum::CreateTableAsStmt(node) => Self::CreateTableAsStmt(node),
            NodeEnum::RefreshMatViewStmt(node) => Self::RefreshMatViewStmt(node),
            NodeEnum::CheckPointStmt(node) => Self::CheckPointStmt(node),
            NodeEnum::DiscardStmt(node) => Self::DiscardStmt(node),
            NodeEnum::LockStmt(node) => Self::LockStmt(node),
            NodeEnum::ConstraintsSetStmt(node) => Self::ConstraintsSetStmt(node),
            NodeEnum::ReindexStmt(node) => Self::ReindexStmt(node),
            NodeEnum::CreateConversionStmt(node) => Self::CreateConversionStmt(node),
            NodeEnum::CreateCastStmt(node) => Self::CreateCastStmt(node),
            NodeEnum::CreateTransformStmt(node) => Self::CreateTransformStmt(node),
            NodeEnum::PrepareStmt(node) => Self::PrepareStmt(node),
            NodeEnum::ExecuteStmt(node) => Self::ExecuteStmt(node),
            NodeEnum::DeallocateStmt(node) => Self::DeallocateStmt(node),
            NodeEnum::DropOwnedStmt(node) => Self::DropOwnedStmt(node),
            NodeEnum::ReassignOwnedStmt(node) => Self::ReassignOwnedStmt(node),
            NodeEnum::AlterTsdictionaryStmt(node) => Self::AlterTsDictionaryStmt(node),
            NodeEnum::AlterTsconfigurationStmt(node) => Self::AlterTsConfigurationStmt(node),
            NodeEnum::PublicationTable(node) => Self::PublicationTable(node),
            NodeEnum::PublicationObjSpec(node) => Self::PublicationObjSpec(node),
            NodeEnum::CreatePublicationStmt(node) => Self::CreatePublicationStmt(node),
            NodeEnum::AlterPublicationStmt(node) => Self::AlterPublicationStmt(node),
            NodeEnum::CreateSubscriptionStmt(node) => Self::CreateSubscriptionStmt(node),
            NodeEnum::AlterSubscriptionStmt(node) => Self::AlterSubscriptionStmt(node),
            NodeEnum::DropSubscriptionStmt(node) => Self::DropSubscriptionStmt(node),
            NodeEnum::Integer(node) => Self::Integer(node),
            NodeEnum::Float(node) => Self::Float(node),
            NodeEnum::Boolean(node) => Self::Boolean(node),
            NodeEnum::String(node) => Self::String(node),
            NodeEnum::BitString(node) => Self::BitString(node),
            NodeEnum::List(node) => Self::List(node),
            NodeEnum::IntList(node) => Self::IntList(node),
            NodeEnum::OidList(node) => Self::OidList(node),
            NodeEnum::AConst(node) => Self::AConst(node),
        }
    }

    /// PostgreSQL's name of the node, such as `CreateStmt`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alias(_) => "Alias",
            Self::RangeVar(_) => "RangeVar",
            Self::TableFunc(_) => "TableFunc",
            Self::IntoClause(_) => "IntoClause",
            Self::Var(_) => "Var",
            Self::Param(_) => "Param",
            Self::Aggref(_) => "Aggref",
            Self::GroupingFunc(_) => "GroupingFunc",
            Self::WindowFunc(_) => "WindowFunc",
            Self::WindowFuncRunCondition(_) => "WindowFuncRunCondition",
            Self::MergeSupportFunc(_) => "MergeSupportFunc",
            Self::SubscriptingRef(_) => "SubscriptingRef",
            Self::FuncExpr(_) => "FuncExpr",
            Self::NamedArgExpr(_) => "NamedArgExpr",
            Self::OpExpr(_) => "OpExpr",
            Self::DistinctExpr(_) => "DistinctExpr",
            Self::NullIfExpr(_) => "NullIfExpr",
            Self::ScalarArrayOpExpr(_) => "ScalarArrayOpExpr",
            Self::BoolExpr(_) => "BoolExpr",
            Self::SubLink(_) => "SubLink",
            Self::SubPlan(_) => "SubPlan",
            Self::AlternativeSubPlan(_) => "AlternativeSubPlan",
            Self::FieldSelect(_) => "FieldSelect",
            Self::FieldStore(_) => "FieldStore",
            Self::RelabelType(_) => "RelabelType",
            Self::CoerceViaIo(_) => "CoerceViaIo",
            Self::ArrayCoerceExpr(_) => "ArrayCoerceExpr",
            Self::ConvertRowtypeExpr(_) => "ConvertRowtypeExpr",
            Self::CollateExpr(_) => "CollateExpr",
            Self::CaseExpr(_) => "CaseExpr",
            Self::CaseWhen(_) => "CaseWhen",
            Self::CaseTestExpr(_) => "CaseTestExpr",
            Self::ArrayExpr(_) => "ArrayExpr",
            Self::RowExpr(_) => "RowExpr",
            Self::RowCompareExpr(_) => "RowCompareExpr",
            Self::CoalesceExpr(_) => "CoalesceExpr",
            Self::MinMaxExpr(_) => "MinMaxExpr",
            Self::SqlValueFunction(_) => "SqlValueFunction",
            Self::XmlExpr(_) => "XmlExpr",
            Self::JsonFormat(_) => "JsonFormat",
            Self::JsonReturning(_) => "JsonReturning",
            Self::JsonValueExpr(_) => "JsonValueExpr",
            Self::JsonConstructorExpr(_) => "JsonConstructorExpr",
            Self::JsonIsPredicate(_) => "JsonIsPredicate",
            Self::JsonBehavior(_) => "JsonBehavior",
            Self::JsonExpr(_) => "JsonExpr",
            Self::JsonTablePath(_) => "JsonTablePath",
            Self::JsonTablePathScan(_) => "JsonTablePathScan",
            Self::JsonTableSiblingJoin(_) => "JsonTableSiblingJoin",
            Self::NullTest(_) => "NullTest",
            Self::BooleanTest(_) => "BooleanTest",
            Self::MergeAction(_) => "MergeAction",
            Self::CoerceToDomain(_) => "CoerceToDomain",
            Self::CoerceToDomainValue(_) => "CoerceToDomainValue",
            Self::SetToDefault(_) => "SetToDefault",
            Self::CurrentOfExpr(_) => "CurrentOfExpr",
            Self::NextValueExpr(_) => "NextValueExpr",
            Self::InferenceElem(_) => "InferenceElem",
            Self::ReturningExpr(_) => "ReturningExpr",
            Self::TargetEntry(_) => "TargetEntry",
            Self::RangeTblRef(_) => "RangeTblRef",
            Self::JoinExpr(_) => "JoinExpr",
            Self::FromExpr(_) => "FromExpr",
            Self::OnConflictExpr(_) => "OnConflictExpr",
            Self::Query(_) => "Query",
            Self::TypeName(_) => "TypeName",
            Self::ColumnRef(_) => "ColumnRef",
            Self::ParamRef(_) => "ParamRef",
            Self::AExpr(_) => "AExpr",
            Self::TypeCast(_) => "TypeCast",
            Self::CollateClause(_) => "CollateClause",
            Self::RoleSpec(_) => "RoleSpec",
            Self::FuncCall(_) => "FuncCall",
            Self::AStar(_) => "AStar",
            Self::AIndices(_) => "AIndices",
            Self::AIndirection(_) => "AIndirection",
            Self::AArrayExpr(_) => "AArrayExpr",
            Self::ResTarget(_) => "ResTarget",
            Self::MultiAssignRef(_) => "MultiAssignRef",
            Self::SortBy(_) => "SortBy",
            Self::WindowDef(_) => "WindowDef",
            Self::RangeSubselect(_) => "RangeSubselect",
            Self::RangeFunction(_) => "RangeFunction",
            Self::RangeTableFunc(_) => "RangeTableFunc",
            Self::RangeTableFuncCol(_) => "RangeTableFuncCol",
            Self::RangeTableSample(_) => "RangeTableSample",
            Self::ColumnDef(_) => "ColumnDef",
            Self::TableLikeClause(_) => "TableLikeClause",
            Self::IndexElem(_) => "IndexElem",
            Self::DefElem(_) => "DefElem",
            Self::LockingClause(_) => "LockingClause",
            Self::XmlSerialize(_) => "XmlSerialize",
            Self::PartitionElem(_) => "PartitionElem",
            Self::PartitionSpec(_) => "PartitionSpec",
            Self::PartitionBoundSpec(_) => "PartitionBoundSpec",
            Self::PartitionRangeDatum(_) => "PartitionRangeDatum",
            Self::PartitionCmd(_) => "PartitionCmd",
            Self::RangeTblEntry(_) => "RangeTblEntry",
            Self::RtePermissionInfo(_) => "RtePermissionInfo",
            Self::RangeTblFunction(_) => "RangeTblFunction",
            Self::TableSampleClause(_) => "TableSampleClause",
            Self::WithCheckOption(_) => "WithCheckOption",
            Self::SortGroupClause(_) => "SortGroupClause",
            Self::GroupingSet(_) => "GroupingSet",
            Self::WindowClause(_) => "WindowClause",
            Self::RowMarkClause(_) => "RowMarkClause",
            Self::WithClause(_) => "WithClause",
            Self::InferClause(_) => "InferClause",
            Self::OnConflictClause(_) => "OnConflictClause",
            Self::CteSearchClause(_) => "CteSearchClause",
            Self::CteCycleClause(_) => "CteCycleClause",
            Self::CommonTableExpr(_) => "CommonTableExpr",
            Self::MergeWhenClause(_) => "MergeWhenClause",
            Self::ReturningOption(_) => "ReturningOption",
            Self::ReturningClause(_) => "ReturningClause",
            Self::TriggerTransition(_) => "TriggerTransition",
            Self::JsonOutput(_) => "JsonOutput",
            Self::JsonArgument(_) => "JsonArgument",
            Self::JsonFuncExpr(_) => "JsonFuncExpr",
            Self::JsonTablePathSpec(_) => "JsonTablePathSpec",
            Self::JsonTable(_) => "JsonTable",
            Self::JsonTableColumn(_) => "JsonTableColumn",
            Self::JsonKeyValue(_) => "JsonKeyValue",
            Self::JsonParseExpr(_) => "JsonParseExpr",
            Self::JsonScalarExpr(_) => "JsonScalarExpr",
            Self::JsonSerializeExpr(_) => "JsonSerializeExpr",
            Self::JsonObjectConstructor(_) => "JsonObjectConstructor",
            Self::JsonArrayConstructor(_) => "JsonArrayConstructor",
            Self::JsonArrayQueryConstructor(_) => "JsonArrayQueryConstructor",
            Self::JsonAggConstructor(_) => "JsonAggConstructor",
            Self::JsonObjectAgg(_) => "JsonObjectAgg",
            Self::JsonArrayAgg(_) => "JsonArrayAgg",
            Self::RawStmt(_) => "RawStmt",
            Self::InsertStmt(_) => "InsertStmt",
            Self::DeleteStmt(_) => "DeleteStmt",
            Self::UpdateStmt(_) => "UpdateStmt",
            Self::MergeStmt(_) => "MergeStmt",
            Self::SelectStmt(_) => "SelectStmt",
            Self::SetOperationStmt(_) => "SetOperationStmt",
            Self::ReturnStmt(_) => "ReturnStmt",
            Self::PlAssignStmt(_) => "PlAssignStmt",
            Self::CreateSchemaStmt(_) => "CreateSchemaStmt",
            Self::AlterTableStmt(_) => "AlterTableStmt",
            Self::AlterTableCmd(_) => "AlterTableCmd",
            Self::AtAlterConstraint(_) => "AtAlterConstraint",
            Self::ReplicaIdentityStmt(_) => "ReplicaIdentityStmt",
            Self::AlterCollationStmt(_) => "AlterCollationStmt",
            Self::AlterDomainStmt(_) => "AlterDomainStmt",
            Self::GrantStmt(_) => "GrantStmt",
            Self::ObjectWithArgs(_) => "ObjectWithArgs",
            Self::AccessPriv(_) => "AccessPriv",
            Self::GrantRoleStmt(_) => "GrantRoleStmt",
            Self::AlterDefaultPrivilegesStmt(_) => "AlterDefaultPrivilegesStmt",
            Self::CopyStmt(_) => "CopyStmt",
            Self::VariableSetStmt(_) => "VariableSetStmt",
            Self::VariableShowStmt(_) => "VariableShowStmt",
            Self::CreateStmt(_) => "CreateStmt",
            Self::Constraint(_) => "Constraint",
            Self::CreateTableSpaceStmt(_) => "CreateTableSpaceStmt",
            Self::DropTableSpaceStmt(_) => "DropTableSpaceStmt",
            Self::AlterTableSpaceOptionsStmt(_) => "AlterTableSpaceOptionsStmt",
            Self::AlterTableMoveAllStmt(_) => "AlterTableMoveAllStmt",
            Self::CreateExtensionStmt(_) => "CreateExtensionStmt",
            Self::AlterExtensionStmt(_) => "AlterExtensionStmt",
            Self::AlterExtensionContentsStmt(_) => "AlterExtensionContentsStmt",
            Self::CreateFdwStmt(_) => "CreateFdwStmt",
            Self::AlterFdwStmt(_) => "AlterFdwStmt",
            Self::CreateForeignServerStmt(_) => "CreateForeignServerStmt",
            Self::AlterForeignServerStmt(_) => "AlterForeignServerStmt",
            Self::CreateForeignTableStmt(_) => "CreateForeignTableStmt",
            Self::CreateUserMappingStmt(_) => "CreateUserMappingStmt",
            Self::AlterUserMappingStmt(_) => "AlterUserMappingStmt",
            Self::DropUserMappingStmt(_) => "DropUserMappingStmt",
            Self::ImportForeignSchemaStmt(_) => "ImportForeignSchemaStmt",
            Self::CreatePolicyStmt(_) => "CreatePolicyStmt",
            Self::AlterPolicyStmt(_) => "AlterPolicyStmt",
            Self::CreateAmStmt(_) => "CreateAmStmt",
            Self::CreateTrigStmt(_) => "CreateTrigStmt",
            Self::CreateEventTrigStmt(_) => "CreateEventTrigStmt",
            Self::AlterEventTrigStmt(_) => "AlterEventTrigStmt",
            Self::CreatePLangStmt(_) => "CreatePLangStmt",
            Self::CreateRoleStmt(_) => "CreateRoleStmt",
            Self::AlterRoleStmt(_) => "AlterRoleStmt",
            Self::AlterRoleSetStmt(_) => "AlterRoleSetStmt",
            Self::DropRoleStmt(_) => "DropRoleStmt",
            Self::CreateSeqStmt(_) => "CreateSeqStmt",
            Self::AlterSeqStmt(_) => "AlterSeqStmt",
            Self::DefineStmt(_) => "DefineStmt",
            Self::CreateDomainStmt(_) => "CreateDomainStmt",
            Self::CreateOpClassStmt(_) => "CreateOpClassStmt",
            Self::CreateOpClassItem(_) => "CreateOpClassItem",
            Self::CreateOpFamilyStmt(_) => "CreateOpFamilyStmt",
            Self::AlterOpFamilyStmt(_) => "AlterOpFamilyStmt",
            Self::DropStmt(_) => "DropStmt",
            Self::TruncateStmt(_) => "TruncateStmt",
            Self::CommentStmt(_) => "CommentStmt",
            Self::SecLabelStmt(_) => "SecLabelStmt",
            Self::DeclareCursorStmt(_) => "DeclareCursorStmt",
            Self::ClosePortalStmt(_) => "ClosePortalStmt",
            Self::FetchStmt(_) => "FetchStmt",
            Self::IndexStmt(_) => "IndexStmt",
            Self::CreateStatsStmt(_) => "CreateStatsStmt",
            Self::StatsElem(_) => "StatsElem",
            Self::AlterStatsStmt(_) => "AlterStatsStmt",
            Self::CreateFunctionStmt(_) => "CreateFunctionStmt",
            Self::FunctionParameter(_) => "FunctionParameter",
            Self::AlterFunctionStmt(_) => "AlterFunctionStmt",
            Self::DoStmt(_) => "DoStmt",
            Self::InlineCodeBlock(_) => "InlineCodeBlock",
            Self::CallStmt(_) => "CallStmt",
            Self::CallContext(_) => "CallContext",
            Self::RenameStmt(_) => "RenameStmt",
            Self::AlterObjectDependsStmt(_) => "AlterObjectDependsStmt",
            Self::AlterObjectSchemaStmt(_) => "AlterObjectSchemaStmt",
            Self::AlterOwnerStmt(_) => "AlterOwnerStmt",
            Self::AlterOperatorStmt(_) => "AlterOperatorStmt",
            Self::AlterTypeStmt(_) => "AlterTypeStmt",
            Self::RuleStmt(_) => "RuleStmt",
            Self::NotifyStmt(_) => "NotifyStmt",
            Self::ListenStmt(_) => "ListenStmt",
            Self::UnlistenStmt(_) => "UnlistenStmt",
            Self::TransactionStmt(_) => "TransactionStmt",
            Self::CompositeTypeStmt(_) => "CompositeTypeStmt",
            Self::CreateEnumStmt(_) => "CreateEnumStmt",
            Self::CreateRangeStmt(_) => "CreateRangeStmt",
            Self::AlterEnumStmt(_) => "AlterEnumStmt",
            Self::ViewStmt(_) => "ViewStmt",
            Self::LoadStmt(_) => "LoadStmt",
            Self::CreatedbStmt(_) => "CreatedbStmt",
            Self::AlterDatabaseStmt(_) => "AlterDatabaseStmt",
            Self::AlterDatabaseRefreshCollStmt(_) => "AlterDatabaseRefreshCollStmt",
            Self::AlterDatabaseSetStmt(_) => "AlterDatabaseSetStmt",
            Self::DropdbStmt(_) => "DropdbStmt",
            Self::AlterSystemStmt(_) => "AlterSystemStmt",
            Self::ClusterStmt(_) => "ClusterStmt",
            Self::VacuumStmt(_) => "VacuumStmt",
            Self::VacuumRelation(_) => "VacuumRelation",
            Self::ExplainStmt(_) => "ExplainStmt",
            Self::CreateTableAsStmt(_) => "CreateTableAsStmt",
            Self::RefreshMatViewStmt(_) => "RefreshMatViewStmt",
            Self::CheckPointStmt(_) => "CheckPointStmt",
            Self::DiscardStmt(_) => "DiscardStmt",
            Self::LockStmt(_) => "LockStmt",
            Self::ConstraintsSetStmt(_) => "ConstraintsSetStmt",
            Self::ReindexStmt(_) => "ReindexStmt",
            Self::CreateConversionStmt(_) => "CreateConversionStmt",
            Self::CreateCastStmt(_) => "CreateCastStmt",
            Self::CreateTransformStmt(_) => "CreateTransformStmt",
            Self::PrepareStmt(_) => "PrepareStmt",
            Self::ExecuteStmt(_) => "ExecuteStmt",
            Self::DeallocateStmt(_) => "DeallocateStmt",
            Self::DropOwnedStmt(_) => "DropOwnedStmt",
            Self::ReassignOwnedStmt(_) => "ReassignOwnedStmt",
            Self::AlterTsDictionaryStmt(_) => "AlterTsDictionaryStmt",
            Self::AlterTsConfigurationStmt(_) => "AlterTsConfigurationStmt",
            Self::PublicationTable(_) => "PublicationTable",
            Self::PublicationObjSpec(_) => "PublicationObjSpec",
            Self::CreatePublicationStmt(_) => "CreatePublicationStmt",
            Self::AlterPublicationStmt(_) => "AlterPublicationStmt",
            Self::CreateSubscriptionStmt(_) => "CreateSubscriptionStmt",
            Self::AlterSubscriptionStmt(_) => "AlterSubscriptionStmt",
            Self::DropSubscriptionStmt(_) => "DropSubscriptionStmt",
            Self::Integer(_) => "Integer",
            Self::Float(_) => "Float",
            Self::Boolean(_) => "Boolean",
            Self::String(_) => "String",
            Self::BitString(_) => "BitString",
            Self::List(_) => "List",
            Self::IntList(_) => "IntList",
            Self::OidList(_) => "OidList",
            Self::AConst(_) => "AConst",
        }
    }

    /// Calls `each` with every child, in the order of the fields.
    pub fn children(self, each: &mut dyn FnMut(Ref<'a>)) {
        match self {
            Self::Alias(Alias {
                aliasname: _,
                colnames,
            }) => {
                list(colnames, each);
            }
            Self::RangeVar(RangeVar {
                catalogname: _,
                schemaname: _,
                relname: _,
                inh: _,
                relpersistence: _,
                alias,
                location: _,
            }) => {
                if let Some(child) = alias {
                    each(Ref::Alias(child));
                }
            }
            Self::TableFunc(TableFunc {
                functype: _,
                ns_uris,
                ns_names,
                docexpr,
                rowexpr,
                colnames,
                coltypes,
                coltypmods,
                colcollations,
                colexprs,
                coldefexprs,
                colvalexprs,
                passingvalexprs,
                notnulls: _,
                plan,
                ordinalitycol: _,
                location: _,
            }) => {
                list(ns_uris, each);
                list(ns_names, each);
                one(docexpr.as_deref(), each);
                one(rowexpr.as_deref(), each);
                list(colnames, each);
                list(coltypes, each);
                list(coltypmods, each);
                list(colcollations, each);
                list(colexprs, each);
                list(coldefexprs, each);
                list(colvalexprs, each);
                list(passingvalexprs, each);
                one(plan.as_deref(), each);
            }
            Self::IntoClause(IntoClause {
                rel,
                col_names,
                access_method: _,
                options,
                on_commit: _,
                table_space_name: _,
                view_query,
                skip_data: _,
            }) => {
                if let Some(child) = rel {
                    each(Ref::RangeVar(child));
                }
                list(col_names, each);
                list(options, each);
                if let Some(child) = view_query {
                    each(Ref::Query(child));
                }
            }
            Self::Var(Var {
                xpr,
                varno: _,
                varattno: _,
                vartype: _,
                vartypmod: _,
                varcollid: _,
                varnullingrels: _,
                varlevelsup: _,
                varreturningtype: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
            }
            Self::Param(Param {
                xpr,
                paramkind: _,
                paramid: _,
                paramtype: _,
                paramtypmod: _,
                paramcollid: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
            }
            Self::Aggref(Aggref {
                xpr,
                aggfnoid: _,
                aggtype: _,
                aggcollid: _,
                inputcollid: _,
                aggargtypes,
                aggdirectargs,
                args,
                aggorder,
                aggdistinct,
                aggfilter,
                aggstar: _,
                aggvariadic: _,
                aggkind: _,
                agglevelsup: _,
                aggsplit: _,
                aggno: _,
                aggtransno: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                list(aggargtypes, each);
                list(aggdirectargs, each);
                list(args, each);
                list(aggorder, each);
                list(aggdistinct, each);
                one(aggfilter.as_deref(), each);
            }
            Self::GroupingFunc(GroupingFunc {
                xpr,
                args,
                refs,
                agglevelsup: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                list(args, each);
                list(refs, each);
            }
            Self::WindowFunc(WindowFunc {
                xpr,
                winfnoid: _,
                wintype: _,
                wincollid: _,
                inputcollid: _,
                args,
                aggfilter,
                run_condition,
                winref: _,
                winstar: _,
                winagg: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                list(args, each);
                one(aggfilter.as_deref(), each);
                list(run_condition, each);
            }
            Self::WindowFuncRunCondition(WindowFuncRunCondition {
                xpr,
                opno: _,
                inputcollid: _,
                wfunc_left: _,
                arg,
            }) => {
                one(xpr.as_deref(), each);
                one(arg.as_deref(), each);
            }
            Self::MergeSupportFunc(MergeSupportFunc {
                xpr,
                msftype: _,
                msfcollid: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
            }
            Self::SubscriptingRef(SubscriptingRef {
                xpr,
                refcontainertype: _,
                refelemtype: _,
                refrestype: _,
                reftypmod: _,
                refcollid: _,
                refupperindexpr,
                reflowerindexpr,
                refexpr,
                refassgnexpr,
            }) => {
                one(xpr.as_deref(), each);
                list(refupperindexpr, each);
                list(reflowerindexpr, each);
                one(refexpr.as_deref(), each);
                one(refassgnexpr.as_deref(), each);
            }
            Self::FuncExpr(FuncExpr {
                xpr,
                funcid: _,
                funcresulttype: _,
                funcretset: _,
                funcvariadic: _,
                funcformat: _,
                funccollid: _,
                inputcollid: _,
                args,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                list(args, each);
            }
            Self::NamedArgExpr(NamedArgExpr {
                xpr,
                arg,
                name: _,
                argnumber: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                one(arg.as_deref(), each);
            }
            Self::OpExpr(OpExpr {
                xpr,
                opno: _,
                opresulttype: _,
                opretset: _,
                opcollid: _,
                inputcollid: _,
                args,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                list(args, each);
            }
            Self::DistinctExpr(DistinctExpr {
                xpr,
                opno: _,
                opresulttype: _,
                opretset: _,
                opcollid: _,
                inputcollid: _,
                args,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                list(args, each);
            }
            Self::NullIfExpr(NullIfExpr {
                xpr,
                opno: _,
                opresulttype: _,
                opretset: _,
                opcollid: _,
                inputcollid: _,
                args,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                list(args, each);
            }
            Self::ScalarArrayOpExpr(ScalarArrayOpExpr {
                xpr,
                opno: _,
                use_or: _,
                inputcollid: _,
                args,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                list(args, each);
            }
            Self::BoolExpr(BoolExpr {
                xpr,
                boolop: _,
                args,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                list(args, each);
            }
            Self::SubLink(SubLink {
                xpr,
                sub_link_type: _,
                sub_link_id: _,
                testexpr,
                oper_name,
                subselect,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                one(testexpr.as_deref(), each);
                list(oper_name, each);
                one(subselect.as_deref(), each);
            }
            Self::SubPlan(SubPlan {
                xpr,
                sub_link_type: _,
                testexpr,
                param_ids,
                plan_id: _,
                plan_name: _,
                first_col_type: _,
                first_col_typmod: _,
                first_col_collation: _,
                use_hash_table: _,
                unknown_eq_false: _,
                parallel_safe: _,
                set_param,
                par_param,
                args,
                startup_cost: _,
                per_call_cost: _,
            }) => {
                one(xpr.as_deref(), each);
                one(testexpr.as_deref(), each);
                list(param_ids, each);
                list(set_param, each);
                list(par_param, each);
                list(args, each);
            }
            Self::AlternativeSubPlan(AlternativeSubPlan { xpr, subplans }) => {
                one(xpr.as_deref(), each);
                list(subplans, each);
            }
            Self::FieldSelect(FieldSelect {
                xpr,
                arg,
                fieldnum: _,
                resulttype: _,
                resulttypmod: _,
                resultcollid: _,
            }) => {
                one(xpr.as_deref(), each);
                one(arg.as_deref(), each);
            }
            Self::FieldStore(FieldStore {
                xpr,
                arg,
                newvals,
                fieldnums,
                resulttype: _,
            }) => {
                one(xpr.as_deref(), each);
                one(arg.as_deref(), each);
                list(newvals, each);
                list(fieldnums, each);
            }
            Self::RelabelType(RelabelType {
                xpr,
                arg,
                resulttype: _,
                resulttypmod: _,
                resultcollid: _,
                relabelformat: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                one(arg.as_deref(), each);
            }
            Self::CoerceViaIo(CoerceViaIo {
                xpr,
                arg,
                resulttype: _,
                resultcollid: _,
                coerceformat: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                one(arg.as_deref(), each);
            }
            Self::ArrayCoerceExpr(ArrayCoerceExpr {
                xpr,
                arg,
                elemexpr,
                resulttype: _,
                resulttypmod: _,
                resultcollid: _,
                coerceformat: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                one(arg.as_deref(), each);
                one(elemexpr.as_deref(), each);
            }
            Self::ConvertRowtypeExpr(ConvertRowtypeExpr {
                xpr,
                arg,
                resulttype: _,
                convertformat: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                one(arg.as_deref(), each);
            }
            Self::CollateExpr(CollateExpr {
                xpr,
                arg,
                coll_oid: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                one(arg.as_deref(), each);
            }
            Self::CaseExpr(CaseExpr {
                xpr,
                casetype: _,
                casecollid: _,
                arg,
                args,
                defresult,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                one(arg.as_deref(), each);
                list(args, each);
                one(defresult.as_deref(), each);
            }
            Self::CaseWhen(CaseWhen {
                xpr,
                expr,
                result,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                one(expr.as_deref(), each);
                one(result.as_deref(), each);
            }
            Self::CaseTestExpr(CaseTestExpr {
                xpr,
                type_id: _,
                type_mod: _,
                collation: _,
            }) => {
                one(xpr.as_deref(), each);
            }
            Self::ArrayExpr(ArrayExpr {
                xpr,
                array_typeid: _,
                array_collid: _,
                element_typeid: _,
                elements,
                multidims: _,
                list_start: _,
                list_end: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                list(elements, each);
            }
            Self::RowExpr(RowExpr {
                xpr,
                args,
                row_typeid: _,
                row_format: _,
                colnames,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                list(args, each);
                list(colnames, each);
            }
            Self::RowCompareExpr(RowCompareExpr {
                xpr,
                cmptype: _,
                opnos,
                opfamilies,
                inputcollids,
                largs,
                rargs,
            }) => {
                one(xpr.as_deref(), each);
                list(opnos, each);
                list(opfamilies, each);
                list(inputcollids, each);
                list(largs, each);
                list(rargs, each);
            }
            Self::CoalesceExpr(CoalesceExpr {
                xpr,
                coalescetype: _,
                coalescecollid: _,
                args,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                list(args, each);
            }
            Self::MinMaxExpr(MinMaxExpr {
                xpr,
                minmaxtype: _,
                minmaxcollid: _,
                inputcollid: _,
                op: _,
                args,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                list(args, each);
            }
            Self::SqlValueFunction(SqlValueFunction {
                xpr,
                op: _,
                r#type: _,
                typmod: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
            }
            Self::XmlExpr(XmlExpr {
                xpr,
                op: _,
                name: _,
                named_args,
                arg_names,
                args,
                xmloption: _,
                indent: _,
                r#type: _,
                typmod: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                list(named_args, each);
                list(arg_names, each);
                list(args, each);
            }
            Self::JsonFormat(JsonFormat {
                format_type: _,
                encoding: _,
                location: _,
            }) => {}
            Self::JsonReturning(JsonReturning {
                format,
                typid: _,
                typmod: _,
            }) => {
                if let Some(child) = format {
                    each(Ref::JsonFormat(child));
                }
            }
            Self::JsonValueExpr(JsonValueExpr {
                raw_expr,
                formatted_expr,
                format,
            }) => {
                one(raw_expr.as_deref(), each);
                one(formatted_expr.as_deref(), each);
                if let Some(child) = format {
                    each(Ref::JsonFormat(child));
                }
            }
            Self::JsonConstructorExpr(JsonConstructorExpr {
                xpr,
                r#type: _,
                args,
                func,
                coercion,
                returning,
                absent_on_null: _,
                unique: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                list(args, each);
                one(func.as_deref(), each);
                one(coercion.as_deref(), each);
                if let Some(child) = returning {
                    each(Ref::JsonReturning(child));
                }
            }
            Self::JsonIsPredicate(JsonIsPredicate {
                expr,
                format,
                item_type: _,
                unique_keys: _,
                location: _,
            }) => {
                one(expr.as_deref(), each);
                if let Some(child) = format {
                    each(Ref::JsonFormat(child));
                }
            }
            Self::JsonBehavior(JsonBehavior {
                btype: _,
                expr,
                coerce: _,
                location: _,
            }) => {
                one(expr.as_deref(), each);
            }
            Self::JsonExpr(JsonExpr {
                xpr,
                op: _,
                column_name: _,
                formatted_expr,
                format,
                path_spec,
                returning,
                passing_names,
                passing_values,
                on_empty,
                on_error,
                use_io_coercion: _,
                use_json_coercion: _,
                wrapper: _,
                omit_quotes: _,
                collation: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                one(formatted_expr.as_deref(), each);
                if let Some(child) = format {
                    each(Ref::JsonFormat(child));
                }
                one(path_spec.as_deref(), each);
                if let Some(child) = returning {
                    each(Ref::JsonReturning(child));
                }
                list(passing_names, each);
                list(passing_values, each);
                if let Some(child) = on_empty {
                    each(Ref::JsonBehavior(child));
                }
                if let Some(child) = on_error {
                    each(Ref::JsonBehavior(child));
                }
            }
            Self::JsonTablePath(JsonTablePath { name: _ }) => {}
            Self::JsonTablePathScan(JsonTablePathScan {
                plan,
                path,
                error_on_error: _,
                child,
                col_min: _,
                col_max: _,
            }) => {
                one(plan.as_deref(), each);
                if let Some(child) = path {
                    each(Ref::JsonTablePath(child));
                }
                one(child.as_deref(), each);
            }
            Self::JsonTableSiblingJoin(JsonTableSiblingJoin { plan, lplan, rplan }) => {
                one(plan.as_deref(), each);
                one(lplan.as_deref(), each);
                one(rplan.as_deref(), each);
            }
            Self::NullTest(NullTest {
                xpr,
                arg,
                nulltesttype: _,
                argisrow: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                one(arg.as_deref(), each);
            }
            Self::BooleanTest(BooleanTest {
                xpr,
                arg,
                booltesttype: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                one(arg.as_deref(), each);
            }
            Self::MergeAction(MergeAction {
                match_kind: _,
                command_type: _,
                r#override: _,
                qual,
                target_list,
                update_colnos,
            }) => {
                one(qual.as_deref(), each);
                list(target_list, each);
                list(update_colnos, each);
            }
            Self::CoerceToDomain(CoerceToDomain {
                xpr,
                arg,
                resulttype: _,
                resulttypmod: _,
                resultcollid: _,
                coercionformat: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
                one(arg.as_deref(), each);
            }
            Self::CoerceToDomainValue(CoerceToDomainValue {
                xpr,
                type_id: _,
                type_mod: _,
                collation: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
            }
            Self::SetToDefault(SetToDefault {
                xpr,
                type_id: _,
                type_mod: _,
                collation: _,
                location: _,
            }) => {
                one(xpr.as_deref(), each);
            }
            Self::CurrentOfExpr(CurrentOfExpr {
                xpr,
                cvarno: _,
                cursor_name: _,
                cursor_param: _,
            }) => {
                one(xpr.as_deref(), each);
            }
            Self::NextValueExpr(NextValueExpr {
                xpr,
                seqid: _,
                type_id: _,
            }) => {
                one(xpr.as_deref(), each);
            }
            Self::InferenceElem(InferenceElem {
                xpr,
                expr,
                infercollid: _,
                inferopclass: _,
            }) => {
                one(xpr.as_deref(), each);
                one(expr.as_deref(), each);
            }
            Self::ReturningExpr(ReturningExpr {
                xpr,
                retlevelsup: _,
                retold: _,
                retexpr,
            }) => {
                one(xpr.as_deref(), each);
                one(retexpr.as_deref(), each);
            }
            Self::TargetEntry(TargetEntry {
                xpr,
                expr,
                resno: _,
                resname: _,
                ressortgroupref: _,
                resorigtbl: _,
                resorigcol: _,
                resjunk: _,
            }) => {
                one(xpr.as_deref(), each);
                one(expr.as_deref(), each);
            }
            Self::RangeTblRef(RangeTblRef { rtindex: _ }) => {}
            Self::JoinExpr(JoinExpr {
                jointype: _,
                is_natural: _,
                larg,
                rarg,
                using_clause,
                join_using_alias,
                quals,
                alias,
                rtindex: _,
            }) => {
                one(larg.as_deref(), each);
                one(rarg.as_deref(), each);
                list(using_clause, each);
                if let Some(child) = join_using_alias {
                    each(Ref::Alias(child));
                }
                one(quals.as_deref(), each);
                if let Some(child) = alias {
                    each(Ref::Alias(child));
                }
            }
            Self::FromExpr(FromExpr { fromlist, quals }) => {
                list(fromlist, each);
                one(quals.as_deref(), each);
            }
            Self::OnConflictExpr(OnConflictExpr {
                action: _,
                arbiter_elems,
                arbiter_where,
                constraint: _,
                on_conflict_set,
                on_conflict_where,
                excl_rel_index: _,
                excl_rel_tlist,
            }) => {
                list(arbiter_elems, each);
                one(arbiter_where.as_deref(), each);
                list(on_conflict_set, each);
                one(on_conflict_where.as_deref(), each);
                list(excl_rel_tlist, each);
            }
            Self::Query(Query {
                command_type: _,
                query_source: _,
                can_set_tag: _,
                utility_stmt,
                result_relation: _,
                has_aggs: _,
                has_window_funcs: _,
                has_target_srfs: _,
                has_sub_links: _,
                has_distinct_on: _,
                has_recursive: _,
                has_modifying_cte: _,
                has_for_update: _,
                has_row_security: _,
                has_group_rte: _,
                is_return: _,
                cte_list,
                rtable,
                rteperminfos,
                jointree,
                merge_action_list,
                merge_target_relation: _,
                merge_join_condition,
                target_list,
                r#override: _,
                on_conflict,
                returning_old_alias: _,
                returning_new_alias: _,
                returning_list,
                group_clause,
                group_distinct: _,
                grouping_sets,
                having_qual,
                window_clause,
                distinct_clause,
                sort_clause,
                limit_offset,
                limit_count,
                limit_option: _,
                row_marks,
                set_operations,
                constraint_deps,
                with_check_options,
                stmt_location: _,
                stmt_len: _,
            }) => {
                one(utility_stmt.as_deref(), each);
                list(cte_list, each);
                list(rtable, each);
                list(rteperminfos, each);
                if let Some(child) = jointree {
                    each(Ref::FromExpr(child));
                }
                list(merge_action_list, each);
                one(merge_join_condition.as_deref(), each);
                list(target_list, each);
                if let Some(child) = on_conflict {
                    each(Ref::OnConflictExpr(child));
                }
                list(returning_list, each);
                list(group_clause, each);
                list(grouping_sets, each);
                one(having_qual.as_deref(), each);
                list(window_clause, each);
                list(distinct_clause, each);
                list(sort_clause, each);
                one(limit_offset.as_deref(), each);
                one(limit_count.as_deref(), each);
                list(row_marks, each);
                one(set_operations.as_deref(), each);
                list(constraint_deps, each);
                list(with_check_options, each);
            }
            Self::TypeName(TypeName {
                names,
                type_oid: _,
                setof: _,
                pct_type: _,
                typmods,
                typemod: _,
                array_bounds,
                location: _,
            }) => {
                list(names, each);
                list(typmods, each);
                list(array_bounds, each);
            }
            Self::ColumnRef(ColumnRef {
                fields,
                location: _,
            }) => {
                list(fields, each);
            }
            Self::ParamRef(ParamRef {
                number: _,
                location: _,
            }) => {}
            Self::AExpr(AExpr {
                kind: _,
                name,
                lexpr,
                rexpr,
                rexpr_list_start: _,
                rexpr_list_end: _,
                location: _,
            }) => {
                list(name, each);
                one(lexpr.as_deref(), each);
                one(rexpr.as_deref(), each);
            }
            Self::TypeCast(TypeCast {
                arg,
                type_name,
                location: _,
            }) => {
                one(arg.as_deref(), each);
                if let Some(child) = type_name {
                    each(Ref::TypeName(child));
                }
            }
            Self::CollateClause(CollateClause {
                arg,
                collname,
                location: _,
            }) => {
                one(arg.as_deref(), each);
                list(collname, each);
            }
            Self::RoleSpec(RoleSpec {
                roletype: _,
                rolename: _,
                location: _,
            }) => {}
            Self::FuncCall(FuncCall {
                funcname,
                args,
                agg_order,
                agg_filter,
                over,
                agg_within_group: _,
                agg_star: _,
                agg_distinct: _,
                func_variadic: _,
                funcformat: _,
                location: _,
            }) => {
                list(funcname, each);
                list(args, each);
                list(agg_order, each);
                one(agg_filter.as_deref(), each);
                if let Some(child) = over {
                    each(Ref::WindowDef(child));
                }
            }
            Self::AStar(AStar {}) => {}
            Self::AIndices(AIndices {
                is_slice: _,
                lidx,
                uidx,
            }) => {
                one(lidx.as_deref(), each);
                one(uidx.as_deref(), each);
            }
            Self::AIndirection(AIndirection { arg, indirection }) => {
                one(arg.as_deref(), each);
                list(indirection, each);
            }
            Self::AArrayExpr(AArrayExpr {
                elements,
                list_start: _,
                list_end: _,
                location: _,
            }) => {
                list(elements, each);
            }
            Self::ResTarget(ResTarget {
                name: _,
                indirection,
                val,
                location: _,
            }) => {
                list(indirection, each);
                one(val.as_deref(), each);
            }
            Self::MultiAssignRef(MultiAssignRef {
                source,
                colno: _,
                ncolumns: _,
            }) => {
                one(source.as_deref(), each);
            }
            Self::SortBy(SortBy {
                node,
                sortby_dir: _,
                sortby_nulls: _,
                use_op,
                location: _,
            }) => {
                one(node.as_deref(), each);
                list(use_op, each);
            }
            Self::WindowDef(WindowDef {
                name: _,
                refname: _,
                partition_clause,
                order_clause,
                frame_options: _,
                start_offset,
                end_offset,
                location: _,
            }) => {
                list(partition_clause, each);
                list(order_clause, each);
                one(start_offset.as_deref(), each);
                one(end_offset.as_deref(), each);
            }
            Self::RangeSubselect(RangeSubselect {
                lateral: _,
                subquery,
                alias,
            }) => {
                one(subquery.as_deref(), each);
                if let Some(child) = alias {
                    each(Ref::Alias(child));
                }
            }
            Self::RangeFunction(RangeFunction {
                lateral: _,
                ordinality: _,
                is_rowsfrom: _,
                functions,
                alias,
                coldeflist,
            }) => {
                list(functions, each);
                if let Some(child) = alias {
                    each(Ref::Alias(child));
                }
                list(coldeflist, each);
            }
            Self::RangeTableFunc(RangeTableFunc {
                lateral: _,
                docexpr,
                rowexpr,
                namespaces,
                columns,
                alias,
                location: _,
            }) => {
                one(docexpr.as_deref(), each);
                one(rowexpr.as_deref(), each);
                list(namespaces, each);
                list(columns, each);
                if let Some(child) = alias {
                    each(Ref::Alias(child));
                }
            }
            Self::RangeTableFuncCol(RangeTableFuncCol {
                colname: _,
                type_name,
                for_ordinality: _,
                is_not_null: _,
                colexpr,
                coldefexpr,
                location: _,
            }) => {
                if let Some(child) = type_name {
                    each(Ref::TypeName(child));
                }
                one(colexpr.as_deref(), each);
                one(coldefexpr.as_deref(), each);
            }
            Self::RangeTableSample(RangeTableSample {
                relation,
                method,
                args,
                repeatable,
                location: _,
            }) => {
                one(relation.as_deref(), each);
                list(method, each);
                list(args, each);
                one(repeatable.as_deref(), each);
            }
            Self::ColumnDef(ColumnDef {
                colname: _,
                type_name,
                compression: _,
                inhcount: _,
                is_local: _,
                is_not_null: _,
                is_from_type: _,
                storage: _,
                storage_name: _,
                raw_default,
                cooked_default,
                identity: _,
                identity_sequence,
                generated: _,
                coll_clause,
                coll_oid: _,
                constraints,
                fdwoptions,
                location: _,
            }) => {
                if let Some(child) = type_name {
                    each(Ref::TypeName(child));
                }
                one(raw_default.as_deref(), each);
                one(cooked_default.as_deref(), each);
                if let Some(child) = identity_sequence {
                    each(Ref::RangeVar(child));
                }
                if let Some(child) = coll_clause {
                    each(Ref::CollateClause(child));
                }
                list(constraints, each);
                list(fdwoptions, each);
            }
            Self::TableLikeClause(TableLikeClause {
                relation,
                options: _,
                relation_oid: _,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
            }
            Self::IndexElem(IndexElem {
                name: _,
                expr,
                indexcolname: _,
                collation,
                opclass,
                opclassopts,
                ordering: _,
                nulls_ordering: _,
            }) => {
                one(expr.as_deref(), each);
                list(collation, each);
                list(opclass, each);
                list(opclassopts, each);
            }
            Self::DefElem(DefElem {
                defnamespace: _,
                defname: _,
                arg,
                defaction: _,
                location: _,
                arg_location: _,
            }) => {
                one(arg.as_deref(), each);
            }
            Self::LockingClause(LockingClause {
                locked_rels,
                strength: _,
                wait_policy: _,
            }) => {
                list(locked_rels, each);
            }
            Self::XmlSerialize(XmlSerialize {
                xmloption: _,
                expr,
                type_name,
                indent: _,
                location: _,
            }) => {
                one(expr.as_deref(), each);
                if let Some(child) = type_name {
                    each(Ref::TypeName(child));
                }
            }
            Self::PartitionElem(PartitionElem {
                name: _,
                expr,
                collation,
                opclass,
                location: _,
            }) => {
                one(expr.as_deref(), each);
                list(collation, each);
                list(opclass, each);
            }
            Self::PartitionSpec(PartitionSpec {
                strategy: _,
                part_params,
                location: _,
            }) => {
                list(part_params, each);
            }
            Self::PartitionBoundSpec(PartitionBoundSpec {
                strategy: _,
                is_default: _,
                modulus: _,
                remainder: _,
                listdatums,
                lowerdatums,
                upperdatums,
                location: _,
            }) => {
                list(listdatums, each);
                list(lowerdatums, each);
                list(upperdatums, each);
            }
            Self::PartitionRangeDatum(PartitionRangeDatum {
                kind: _,
                value,
                location: _,
            }) => {
                one(value.as_deref(), each);
            }
            Self::PartitionCmd(PartitionCmd {
                name,
                bound,
                concurrent: _,
            }) => {
                if let Some(child) = name {
                    each(Ref::RangeVar(child));
                }
                if let Some(child) = bound {
                    each(Ref::PartitionBoundSpec(child));
                }
            }
            Self::RangeTblEntry(RangeTblEntry {
                alias,
                eref,
                rtekind: _,
                relid: _,
                inh: _,
                relkind: _,
                rellockmode: _,
                perminfoindex: _,
                tablesample,
                subquery,
                security_barrier: _,
                jointype: _,
                joinmergedcols: _,
                joinaliasvars,
                joinleftcols,
                joinrightcols,
                join_using_alias,
                functions,
                funcordinality: _,
                tablefunc,
                values_lists,
                ctename: _,
                ctelevelsup: _,
                self_reference: _,
                coltypes,
                coltypmods,
                colcollations,
                enrname: _,
                enrtuples: _,
                groupexprs,
                lateral: _,
                in_from_cl: _,
                security_quals,
            }) => {
                if let Some(child) = alias {
                    each(Ref::Alias(child));
                }
                if let Some(child) = eref {
                    each(Ref::Alias(child));
                }
                if let Some(child) = tablesample {
                    each(Ref::TableSampleClause(child));
                }
                if let Some(child) = subquery {
                    each(Ref::Query(child));
                }
                list(joinaliasvars, each);
                list(joinleftcols, each);
                list(joinrightcols, each);
                if let Some(child) = join_using_alias {
                    each(Ref::Alias(child));
                }
                list(functions, each);
                if let Some(child) = tablefunc {
                    each(Ref::TableFunc(child));
                }
                list(values_lists, each);
                list(coltypes, each);
                list(coltypmods, each);
                list(colcollations, each);
                list(groupexprs, each);
                list(security_quals, each);
            }
            Self::RtePermissionInfo(RtePermissionInfo {
                relid: _,
                inh: _,
                required_perms: _,
                check_as_user: _,
                selected_cols: _,
                inserted_cols: _,
                updated_cols: _,
            }) => {}
            Self::RangeTblFunction(RangeTblFunction {
                funcexpr,
                funccolcount: _,
                funccolnames,
                funccoltypes,
                funccoltypmods,
                funccolcollations,
                funcparams: _,
            }) => {
                one(funcexpr.as_deref(), each);
                list(funccolnames, each);
                list(funccoltypes, each);
                list(funccoltypmods, each);
                list(funccolcollations, each);
            }
            Self::TableSampleClause(TableSampleClause {
                tsmhandler: _,
                args,
                repeatable,
            }) => {
                list(args, each);
                one(repeatable.as_deref(), each);
            }
            Self::WithCheckOption(WithCheckOption {
                kind: _,
                relname: _,
                polname: _,
                qual,
                cascaded: _,
            }) => {
                one(qual.as_deref(), each);
            }
            Self::SortGroupClause(SortGroupClause {
                tle_sort_group_ref: _,
                eqop: _,
                sortop: _,
                reverse_sort: _,
                nulls_first: _,
                hashable: _,
            }) => {}
            Self::GroupingSet(GroupingSet {
                kind: _,
                content,
                location: _,
            }) => {
                list(content, each);
            }
            Self::WindowClause(WindowClause {
                name: _,
                refname: _,
                partition_clause,
                order_clause,
                frame_options: _,
                start_offset,
                end_offset,
                start_in_range_func: _,
                end_in_range_func: _,
                in_range_coll: _,
                in_range_asc: _,
                in_range_nulls_first: _,
                winref: _,
                copied_order: _,
            }) => {
                list(partition_clause, each);
                list(order_clause, each);
                one(start_offset.as_deref(), each);
                one(end_offset.as_deref(), each);
            }
            Self::RowMarkClause(RowMarkClause {
                rti: _,
                strength: _,
                wait_policy: _,
                pushed_down: _,
            }) => {}
            Self::WithClause(WithClause {
                ctes,
                recursive: _,
                location: _,
            }) => {
                list(ctes, each);
            }
            Self::InferClause(InferClause {
                index_elems,
                where_clause,
                conname: _,
                location: _,
            }) => {
                list(index_elems, each);
                one(where_clause.as_deref(), each);
            }
            Self::OnConflictClause(OnConflictClause {
                action: _,
                infer,
                target_list,
                where_clause,
                location: _,
            }) => {
                if let Some(child) = infer {
                    each(Ref::InferClause(child));
                }
                list(target_list, each);
                one(where_clause.as_deref(), each);
            }
            Self::CteSearchClause(CteSearchClause {
                search_col_list,
                search_breadth_first: _,
                search_seq_column: _,
                location: _,
            }) => {
                list(search_col_list, each);
            }
            Self::CteCycleClause(CteCycleClause {
                cycle_col_list,
                cycle_mark_column: _,
                cycle_mark_value,
                cycle_mark_default,
                cycle_path_column: _,
                location: _,
                cycle_mark_type: _,
                cycle_mark_typmod: _,
                cycle_mark_collation: _,
                cycle_mark_neop: _,
            }) => {
                list(cycle_col_list, each);
                one(cycle_mark_value.as_deref(), each);
                one(cycle_mark_default.as_deref(), each);
            }
            Self::CommonTableExpr(CommonTableExpr {
                ctename: _,
                aliascolnames,
                ctematerialized: _,
                ctequery,
                search_clause,
                cycle_clause,
                location: _,
                cterecursive: _,
                cterefcount: _,
                ctecolnames,
                ctecoltypes,
                ctecoltypmods,
                ctecolcollations,
            }) => {
                list(aliascolnames, each);
                one(ctequery.as_deref(), each);
                if let Some(child) = search_clause {
                    each(Ref::CteSearchClause(child));
                }
                if let Some(child) = cycle_clause {
                    each(Ref::CteCycleClause(child));
                }
                list(ctecolnames, each);
                list(ctecoltypes, each);
                list(ctecoltypmods, each);
                list(ctecolcollations, each);
            }
            Self::MergeWhenClause(MergeWhenClause {
                match_kind: _,
                command_type: _,
                r#override: _,
                condition,
                target_list,
                values,
            }) => {
                one(condition.as_deref(), each);
                list(target_list, each);
                list(values, each);
            }
            Self::ReturningOption(ReturningOption {
                option: _,
                value: _,
                location: _,
            }) => {}
            Self::ReturningClause(ReturningClause { options, exprs }) => {
                list(options, each);
                list(exprs, each);
            }
            Self::TriggerTransition(TriggerTransition {
                name: _,
                is_new: _,
                is_table: _,
            }) => {}
            Self::JsonOutput(JsonOutput {
                type_name,
                returning,
            }) => {
                if let Some(child) = type_name {
                    each(Ref::TypeName(child));
                }
                if let Some(child) = returning {
                    each(Ref::JsonReturning(child));
                }
            }
            Self::JsonArgument(JsonArgument { val, name: _ }) => {
                if let Some(child) = val {
                    each(Ref::JsonValueExpr(child));
                }
            }
            Self::JsonFuncExpr(JsonFuncExpr {
                op: _,
                column_name: _,
                context_item,
                pathspec,
                passing,
                output,
                on_empty,
                on_error,
                wrapper: _,
                quotes: _,
                location: _,
            }) => {
                if let Some(child) = context_item {
                    each(Ref::JsonValueExpr(child));
                }
                one(pathspec.as_deref(), each);
                list(passing, each);
                if let Some(child) = output {
                    each(Ref::JsonOutput(child));
                }
                if let Some(child) = on_empty {
                    each(Ref::JsonBehavior(child));
                }
                if let Some(child) = on_error {
                    each(Ref::JsonBehavior(child));
                }
            }
            Self::JsonTablePathSpec(JsonTablePathSpec {
                string,
                name: _,
                name_location: _,
                location: _,
            }) => {
                one(string.as_deref(), each);
            }
            Self::JsonTable(JsonTable {
                context_item,
                pathspec,
                passing,
                columns,
                on_error,
                alias,
                lateral: _,
                location: _,
            }) => {
                if let Some(child) = context_item {
                    each(Ref::JsonValueExpr(child));
                }
                if let Some(child) = pathspec {
                    each(Ref::JsonTablePathSpec(child));
                }
                list(passing, each);
                list(columns, each);
                if let Some(child) = on_error {
                    each(Ref::JsonBehavior(child));
                }
                if let Some(child) = alias {
                    each(Ref::Alias(child));
                }
            }
            Self::JsonTableColumn(JsonTableColumn {
                coltype: _,
                name: _,
                type_name,
                pathspec,
                format,
                wrapper: _,
                quotes: _,
                columns,
                on_empty,
                on_error,
                location: _,
            }) => {
                if let Some(child) = type_name {
                    each(Ref::TypeName(child));
                }
                if let Some(child) = pathspec {
                    each(Ref::JsonTablePathSpec(child));
                }
                if let Some(child) = format {
                    each(Ref::JsonFormat(child));
                }
                list(columns, each);
                if let Some(child) = on_empty {
                    each(Ref::JsonBehavior(child));
                }
                if let Some(child) = on_error {
                    each(Ref::JsonBehavior(child));
                }
            }
            Self::JsonKeyValue(JsonKeyValue { key, value }) => {
                one(key.as_deref(), each);
                if let Some(child) = value {
                    each(Ref::JsonValueExpr(child));
                }
            }
            Self::JsonParseExpr(JsonParseExpr {
                expr,
                output,
                unique_keys: _,
                location: _,
            }) => {
                if let Some(child) = expr {
                    each(Ref::JsonValueExpr(child));
                }
                if let Some(child) = output {
                    each(Ref::JsonOutput(child));
                }
            }
            Self::JsonScalarExpr(JsonScalarExpr {
                expr,
                output,
                location: _,
            }) => {
                one(expr.as_deref(), each);
                if let Some(child) = output {
                    each(Ref::JsonOutput(child));
                }
            }
            Self::JsonSerializeExpr(JsonSerializeExpr {
                expr,
                output,
                location: _,
            }) => {
                if let Some(child) = expr {
                    each(Ref::JsonValueExpr(child));
                }
                if let Some(child) = output {
                    each(Ref::JsonOutput(child));
                }
            }
            Self::JsonObjectConstructor(JsonObjectConstructor {
                exprs,
                output,
                absent_on_null: _,
                unique: _,
                location: _,
            }) => {
                list(exprs, each);
                if let Some(child) = output {
                    each(Ref::JsonOutput(child));
                }
            }
            Self::JsonArrayConstructor(JsonArrayConstructor {
                exprs,
                output,
                absent_on_null: _,
                location: _,
            }) => {
                list(exprs, each);
                if let Some(child) = output {
                    each(Ref::JsonOutput(child));
                }
            }
            Self::JsonArrayQueryConstructor(JsonArrayQueryConstructor {
                query,
                output,
                format,
                absent_on_null: _,
                location: _,
            }) => {
                one(query.as_deref(), each);
                if let Some(child) = output {
                    each(Ref::JsonOutput(child));
                }
                if let Some(child) = format {
                    each(Ref::JsonFormat(child));
                }
            }
            Self::JsonAggConstructor(JsonAggConstructor {
                output,
                agg_filter,
                agg_order,
                over,
                location: _,
            }) => {
                if let Some(child) = output {
                    each(Ref::JsonOutput(child));
                }
                one(agg_filter.as_deref(), each);
                list(agg_order, each);
                if let Some(child) = over {
                    each(Ref::WindowDef(child));
                }
            }
            Self::JsonObjectAgg(JsonObjectAgg {
                constructor,
                arg,
                absent_on_null: _,
                unique: _,
            }) => {
                if let Some(child) = constructor {
                    each(Ref::JsonAggConstructor(child));
                }
                if let Some(child) = arg {
                    each(Ref::JsonKeyValue(child));
                }
            }
            Self::JsonArrayAgg(JsonArrayAgg {
                constructor,
                arg,
                absent_on_null: _,
            }) => {
                if let Some(child) = constructor {
                    each(Ref::JsonAggConstructor(child));
                }
                if let Some(child) = arg {
                    each(Ref::JsonValueExpr(child));
                }
            }
            Self::RawStmt(RawStmt {
                stmt,
                stmt_location: _,
                stmt_len: _,
            }) => {
                one(stmt.as_deref(), each);
            }
            Self::InsertStmt(InsertStmt {
                relation,
                cols,
                select_stmt,
                on_conflict_clause,
                returning_clause,
                with_clause,
                r#override: _,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                list(cols, each);
                one(select_stmt.as_deref(), each);
                if let Some(child) = on_conflict_clause {
                    each(Ref::OnConflictClause(child));
                }
                if let Some(child) = returning_clause {
                    each(Ref::ReturningClause(child));
                }
                if let Some(child) = with_clause {
                    each(Ref::WithClause(child));
                }
            }
            Self::DeleteStmt(DeleteStmt {
                relation,
                using_clause,
                where_clause,
                returning_clause,
                with_clause,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                list(using_clause, each);
                one(where_clause.as_deref(), each);
                if let Some(child) = returning_clause {
                    each(Ref::ReturningClause(child));
                }
                if let Some(child) = with_clause {
                    each(Ref::WithClause(child));
                }
            }
            Self::UpdateStmt(UpdateStmt {
                relation,
                target_list,
                where_clause,
                from_clause,
                returning_clause,
                with_clause,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                list(target_list, each);
                one(where_clause.as_deref(), each);
                list(from_clause, each);
                if let Some(child) = returning_clause {
                    each(Ref::ReturningClause(child));
                }
                if let Some(child) = with_clause {
                    each(Ref::WithClause(child));
                }
            }
            Self::MergeStmt(MergeStmt {
                relation,
                source_relation,
                join_condition,
                merge_when_clauses,
                returning_clause,
                with_clause,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                one(source_relation.as_deref(), each);
                one(join_condition.as_deref(), each);
                list(merge_when_clauses, each);
                if let Some(child) = returning_clause {
                    each(Ref::ReturningClause(child));
                }
                if let Some(child) = with_clause {
                    each(Ref::WithClause(child));
                }
            }
            Self::SelectStmt(SelectStmt {
                distinct_clause,
                into_clause,
                target_list,
                from_clause,
                where_clause,
                group_clause,
                group_distinct: _,
                having_clause,
                window_clause,
                values_lists,
                sort_clause,
                limit_offset,
                limit_count,
                limit_option: _,
                locking_clause,
                with_clause,
                op: _,
                all: _,
                larg,
                rarg,
            }) => {
                list(distinct_clause, each);
                if let Some(child) = into_clause {
                    each(Ref::IntoClause(child));
                }
                list(target_list, each);
                list(from_clause, each);
                one(where_clause.as_deref(), each);
                list(group_clause, each);
                one(having_clause.as_deref(), each);
                list(window_clause, each);
                list(values_lists, each);
                list(sort_clause, each);
                one(limit_offset.as_deref(), each);
                one(limit_count.as_deref(), each);
                list(locking_clause, each);
                if let Some(child) = with_clause {
                    each(Ref::WithClause(child));
                }
                if let Some(child) = larg {
                    each(Ref::SelectStmt(child));
                }
                if let Some(child) = rarg {
                    each(Ref::SelectStmt(child));
                }
            }
            Self::SetOperationStmt(SetOperationStmt {
                op: _,
                all: _,
                larg,
                rarg,
                col_types,
                col_typmods,
                col_collations,
                group_clauses,
            }) => {
                one(larg.as_deref(), each);
                one(rarg.as_deref(), each);
                list(col_types, each);
                list(col_typmods, each);
                list(col_collations, each);
                list(group_clauses, each);
            }
            Self::ReturnStmt(ReturnStmt { returnval }) => {
                one(returnval.as_deref(), each);
            }
            Self::PlAssignStmt(PlAssignStmt {
                name: _,
                indirection,
                nnames: _,
                val,
                location: _,
            }) => {
                list(indirection, each);
                if let Some(child) = val {
                    each(Ref::SelectStmt(child));
                }
            }
            Self::CreateSchemaStmt(CreateSchemaStmt {
                schemaname: _,
                authrole,
                schema_elts,
                if_not_exists: _,
            }) => {
                if let Some(child) = authrole {
                    each(Ref::RoleSpec(child));
                }
                list(schema_elts, each);
            }
            Self::AlterTableStmt(AlterTableStmt {
                relation,
                cmds,
                objtype: _,
                missing_ok: _,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                list(cmds, each);
            }
            Self::AlterTableCmd(AlterTableCmd {
                subtype: _,
                name: _,
                num: _,
                newowner,
                def,
                behavior: _,
                missing_ok: _,
                recurse: _,
            }) => {
                if let Some(child) = newowner {
                    each(Ref::RoleSpec(child));
                }
                one(def.as_deref(), each);
            }
            Self::AtAlterConstraint(AtAlterConstraint {
                conname: _,
                alter_enforceability: _,
                is_enforced: _,
                alter_deferrability: _,
                deferrable: _,
                initdeferred: _,
                alter_inheritability: _,
                noinherit: _,
            }) => {}
            Self::ReplicaIdentityStmt(ReplicaIdentityStmt {
                identity_type: _,
                name: _,
            }) => {}
            Self::AlterCollationStmt(AlterCollationStmt { collname }) => {
                list(collname, each);
            }
            Self::AlterDomainStmt(AlterDomainStmt {
                subtype: _,
                type_name,
                name: _,
                def,
                behavior: _,
                missing_ok: _,
            }) => {
                list(type_name, each);
                one(def.as_deref(), each);
            }
            Self::GrantStmt(GrantStmt {
                is_grant: _,
                targtype: _,
                objtype: _,
                objects,
                privileges,
                grantees,
                grant_option: _,
                grantor,
                behavior: _,
            }) => {
                list(objects, each);
                list(privileges, each);
                list(grantees, each);
                if let Some(child) = grantor {
                    each(Ref::RoleSpec(child));
                }
            }
            Self::ObjectWithArgs(ObjectWithArgs {
                objname,
                objargs,
                objfuncargs,
                args_unspecified: _,
            }) => {
                list(objname, each);
                list(objargs, each);
                list(objfuncargs, each);
            }
            Self::AccessPriv(AccessPriv { priv_name: _, cols }) => {
                list(cols, each);
            }
            Self::GrantRoleStmt(GrantRoleStmt {
                granted_roles,
                grantee_roles,
                is_grant: _,
                opt,
                grantor,
                behavior: _,
            }) => {
                list(granted_roles, each);
                list(grantee_roles, each);
                list(opt, each);
                if let Some(child) = grantor {
                    each(Ref::RoleSpec(child));
                }
            }
            Self::AlterDefaultPrivilegesStmt(AlterDefaultPrivilegesStmt { options, action }) => {
                list(options, each);
                if let Some(child) = action {
                    each(Ref::GrantStmt(child));
                }
            }
            Self::CopyStmt(CopyStmt {
                relation,
                query,
                attlist,
                is_from: _,
                is_program: _,
                filename: _,
                options,
                where_clause,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                one(query.as_deref(), each);
                list(attlist, each);
                list(options, each);
                one(where_clause.as_deref(), each);
            }
            Self::VariableSetStmt(VariableSetStmt {
                kind: _,
                name: _,
                args,
                jumble_args: _,
                is_local: _,
                location: _,
            }) => {
                list(args, each);
            }
            Self::VariableShowStmt(VariableShowStmt { name: _ }) => {}
            Self::CreateStmt(CreateStmt {
                relation,
                table_elts,
                inh_relations,
                partbound,
                partspec,
                of_typename,
                constraints,
                nnconstraints,
                options,
                oncommit: _,
                tablespacename: _,
                access_method: _,
                if_not_exists: _,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                list(table_elts, each);
                list(inh_relations, each);
                if let Some(child) = partbound {
                    each(Ref::PartitionBoundSpec(child));
                }
                if let Some(child) = partspec {
                    each(Ref::PartitionSpec(child));
                }
                if let Some(child) = of_typename {
                    each(Ref::TypeName(child));
                }
                list(constraints, each);
                list(nnconstraints, each);
                list(options, each);
            }
            Self::Constraint(Constraint {
                contype: _,
                conname: _,
                deferrable: _,
                initdeferred: _,
                is_enforced: _,
                skip_validation: _,
                initially_valid: _,
                is_no_inherit: _,
                raw_expr,
                cooked_expr: _,
                generated_when: _,
                generated_kind: _,
                nulls_not_distinct: _,
                keys,
                without_overlaps: _,
                including,
                exclusions,
                options,
                indexname: _,
                indexspace: _,
                reset_default_tblspc: _,
                access_method: _,
                where_clause,
                pktable,
                fk_attrs,
                pk_attrs,
                fk_with_period: _,
                pk_with_period: _,
                fk_matchtype: _,
                fk_upd_action: _,
                fk_del_action: _,
                fk_del_set_cols,
                old_conpfeqop,
                old_pktable_oid: _,
                location: _,
            }) => {
                one(raw_expr.as_deref(), each);
                list(keys, each);
                list(including, each);
                list(exclusions, each);
                list(options, each);
                one(where_clause.as_deref(), each);
                if let Some(child) = pktable {
                    each(Ref::RangeVar(child));
                }
                list(fk_attrs, each);
                list(pk_attrs, each);
                list(fk_del_set_cols, each);
                list(old_conpfeqop, each);
            }
            Self::CreateTableSpaceStmt(CreateTableSpaceStmt {
                tablespacename: _,
                owner,
                location: _,
                options,
            }) => {
                if let Some(child) = owner {
                    each(Ref::RoleSpec(child));
                }
                list(options, each);
            }
            Self::DropTableSpaceStmt(DropTableSpaceStmt {
                tablespacename: _,
                missing_ok: _,
            }) => {}
            Self::AlterTableSpaceOptionsStmt(AlterTableSpaceOptionsStmt {
                tablespacename: _,
                options,
                is_reset: _,
            }) => {
                list(options, each);
            }
            Self::AlterTableMoveAllStmt(AlterTableMoveAllStmt {
                orig_tablespacename: _,
                objtype: _,
                roles,
                new_tablespacename: _,
                nowait: _,
            }) => {
                list(roles, each);
            }
            Self::CreateExtensionStmt(CreateExtensionStmt {
                extname: _,
                if_not_exists: _,
                options,
            }) => {
                list(options, each);
            }
            Self::AlterExtensionStmt(AlterExtensionStmt {
                extname: _,
                options,
            }) => {
                list(options, each);
            }
            Self::AlterExtensionContentsStmt(AlterExtensionContentsStmt {
                extname: _,
                action: _,
                objtype: _,
                object,
            }) => {
                one(object.as_deref(), each);
            }
            Self::CreateFdwStmt(CreateFdwStmt {
                fdwname: _,
                func_options,
                options,
            }) => {
                list(func_options, each);
                list(options, each);
            }
            Self::AlterFdwStmt(AlterFdwStmt {
                fdwname: _,
                func_options,
                options,
            }) => {
                list(func_options, each);
                list(options, each);
            }
            Self::CreateForeignServerStmt(CreateForeignServerStmt {
                servername: _,
                servertype: _,
                version: _,
                fdwname: _,
                if_not_exists: _,
                options,
            }) => {
                list(options, each);
            }
            Self::AlterForeignServerStmt(AlterForeignServerStmt {
                servername: _,
                version: _,
                options,
                has_version: _,
            }) => {
                list(options, each);
            }
            Self::CreateForeignTableStmt(CreateForeignTableStmt {
                base_stmt,
                servername: _,
                options,
            }) => {
                if let Some(child) = base_stmt {
                    each(Ref::CreateStmt(child));
                }
                list(options, each);
            }
            Self::CreateUserMappingStmt(CreateUserMappingStmt {
                user,
                servername: _,
                if_not_exists: _,
                options,
            }) => {
                if let Some(child) = user {
                    each(Ref::RoleSpec(child));
                }
                list(options, each);
            }
            Self::AlterUserMappingStmt(AlterUserMappingStmt {
                user,
                servername: _,
                options,
            }) => {
                if let Some(child) = user {
                    each(Ref::RoleSpec(child));
                }
                list(options, each);
            }
            Self::DropUserMappingStmt(DropUserMappingStmt {
                user,
                servername: _,
                missing_ok: _,
            }) => {
                if let Some(child) = user {
                    each(Ref::RoleSpec(child));
                }
            }
            Self::ImportForeignSchemaStmt(ImportForeignSchemaStmt {
                server_name: _,
                remote_schema: _,
                local_schema: _,
                list_type: _,
                table_list,
                options,
            }) => {
                list(table_list, each);
                list(options, each);
            }
            Self::CreatePolicyStmt(CreatePolicyStmt {
                policy_name: _,
                table,
                cmd_name: _,
                permissive: _,
                roles,
                qual,
                with_check,
            }) => {
                if let Some(child) = table {
                    each(Ref::RangeVar(child));
                }
                list(roles, each);
                one(qual.as_deref(), each);
                one(with_check.as_deref(), each);
            }
            Self::AlterPolicyStmt(AlterPolicyStmt {
                policy_name: _,
                table,
                roles,
                qual,
                with_check,
            }) => {
                if let Some(child) = table {
                    each(Ref::RangeVar(child));
                }
                list(roles, each);
                one(qual.as_deref(), each);
                one(with_check.as_deref(), each);
            }
            Self::CreateAmStmt(CreateAmStmt {
                amname: _,
                handler_name,
                amtype: _,
            }) => {
                list(handler_name, each);
            }
            Self::CreateTrigStmt(CreateTrigStmt {
                replace: _,
                isconstraint: _,
                trigname: _,
                relation,
                funcname,
                args,
                row: _,
                timing: _,
                events: _,
                columns,
                when_clause,
                transition_rels,
                deferrable: _,
                initdeferred: _,
                constrrel,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                list(funcname, each);
                list(args, each);
                list(columns, each);
                one(when_clause.as_deref(), each);
                list(transition_rels, each);
                if let Some(child) = constrrel {
                    each(Ref::RangeVar(child));
                }
            }
            Self::CreateEventTrigStmt(CreateEventTrigStmt {
                trigname: _,
                eventname: _,
                whenclause,
                funcname,
            }) => {
                list(whenclause, each);
                list(funcname, each);
            }
            Self::AlterEventTrigStmt(AlterEventTrigStmt {
                trigname: _,
                tgenabled: _,
            }) => {}
            Self::CreatePLangStmt(CreatePLangStmt {
                replace: _,
                plname: _,
                plhandler,
                plinline,
                plvalidator,
                pltrusted: _,
            }) => {
                list(plhandler, each);
                list(plinline, each);
                list(plvalidator, each);
            }
            Self::CreateRoleStmt(CreateRoleStmt {
                stmt_type: _,
                role: _,
                options,
            }) => {
                list(options, each);
            }
            Self::AlterRoleStmt(AlterRoleStmt {
                role,
                options,
                action: _,
            }) => {
                if let Some(child) = role {
                    each(Ref::RoleSpec(child));
                }
                list(options, each);
            }
            Self::AlterRoleSetStmt(AlterRoleSetStmt {
                role,
                database: _,
                setstmt,
            }) => {
                if let Some(child) = role {
                    each(Ref::RoleSpec(child));
                }
                if let Some(child) = setstmt {
                    each(Ref::VariableSetStmt(child));
                }
            }
            Self::DropRoleStmt(DropRoleStmt {
                roles,
                missing_ok: _,
            }) => {
                list(roles, each);
            }
            Self::CreateSeqStmt(CreateSeqStmt {
                sequence,
                options,
                owner_id: _,
                for_identity: _,
                if_not_exists: _,
            }) => {
                if let Some(child) = sequence {
                    each(Ref::RangeVar(child));
                }
                list(options, each);
            }
            Self::AlterSeqStmt(AlterSeqStmt {
                sequence,
                options,
                for_identity: _,
                missing_ok: _,
            }) => {
                if let Some(child) = sequence {
                    each(Ref::RangeVar(child));
                }
                list(options, each);
            }
            Self::DefineStmt(DefineStmt {
                kind: _,
                oldstyle: _,
                defnames,
                args,
                definition,
                if_not_exists: _,
                replace: _,
            }) => {
                list(defnames, each);
                list(args, each);
                list(definition, each);
            }
            Self::CreateDomainStmt(CreateDomainStmt {
                domainname,
                type_name,
                coll_clause,
                constraints,
            }) => {
                list(domainname, each);
                if let Some(child) = type_name {
                    each(Ref::TypeName(child));
                }
                if let Some(child) = coll_clause {
                    each(Ref::CollateClause(child));
                }
                list(constraints, each);
            }
            Self::CreateOpClassStmt(CreateOpClassStmt {
                opclassname,
                opfamilyname,
                amname: _,
                datatype,
                items,
                is_default: _,
            }) => {
                list(opclassname, each);
                list(opfamilyname, each);
                if let Some(child) = datatype {
                    each(Ref::TypeName(child));
                }
                list(items, each);
            }
            Self::CreateOpClassItem(CreateOpClassItem {
                itemtype: _,
                name,
                number: _,
                order_family,
                class_args,
                storedtype,
            }) => {
                if let Some(child) = name {
                    each(Ref::ObjectWithArgs(child));
                }
                list(order_family, each);
                list(class_args, each);
                if let Some(child) = storedtype {
                    each(Ref::TypeName(child));
                }
            }
            Self::CreateOpFamilyStmt(CreateOpFamilyStmt {
                opfamilyname,
                amname: _,
            }) => {
                list(opfamilyname, each);
            }
            Self::AlterOpFamilyStmt(AlterOpFamilyStmt {
                opfamilyname,
                amname: _,
                is_drop: _,
                items,
            }) => {
                list(opfamilyname, each);
                list(items, each);
            }
            Self::DropStmt(DropStmt {
                objects,
                remove_type: _,
                behavior: _,
                missing_ok: _,
                concurrent: _,
            }) => {
                list(objects, each);
            }
            Self::TruncateStmt(TruncateStmt {
                relations,
                restart_seqs: _,
                behavior: _,
            }) => {
                list(relations, each);
            }
            Self::CommentStmt(CommentStmt {
                objtype: _,
                object,
                comment: _,
            }) => {
                one(object.as_deref(), each);
            }
            Self::SecLabelStmt(SecLabelStmt {
                objtype: _,
                object,
                provider: _,
                label: _,
            }) => {
                one(object.as_deref(), each);
            }
            Self::DeclareCursorStmt(DeclareCursorStmt {
                portalname: _,
                options: _,
                query,
            }) => {
                one(query.as_deref(), each);
            }
            Self::ClosePortalStmt(ClosePortalStmt { portalname: _ }) => {}
            Self::FetchStmt(FetchStmt {
                direction: _,
                how_many: _,
                portalname: _,
                ismove: _,
            }) => {}
            Self::IndexStmt(IndexStmt {
                idxname: _,
                relation,
                access_method: _,
                table_space: _,
                index_params,
                index_including_params,
                options,
                where_clause,
                exclude_op_names,
                idxcomment: _,
                index_oid: _,
                old_number: _,
                old_create_subid: _,
                old_first_relfilelocator_subid: _,
                unique: _,
                nulls_not_distinct: _,
                primary: _,
                isconstraint: _,
                iswithoutoverlaps: _,
                deferrable: _,
                initdeferred: _,
                transformed: _,
                concurrent: _,
                if_not_exists: _,
                reset_default_tblspc: _,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                list(index_params, each);
                list(index_including_params, each);
                list(options, each);
                one(where_clause.as_deref(), each);
                list(exclude_op_names, each);
            }
            Self::CreateStatsStmt(CreateStatsStmt {
                defnames,
                stat_types,
                exprs,
                relations,
                stxcomment: _,
                transformed: _,
                if_not_exists: _,
            }) => {
                list(defnames, each);
                list(stat_types, each);
                list(exprs, each);
                list(relations, each);
            }
            Self::StatsElem(StatsElem { name: _, expr }) => {
                one(expr.as_deref(), each);
            }
            Self::AlterStatsStmt(AlterStatsStmt {
                defnames,
                stxstattarget,
                missing_ok: _,
            }) => {
                list(defnames, each);
                one(stxstattarget.as_deref(), each);
            }
            Self::CreateFunctionStmt(CreateFunctionStmt {
                is_procedure: _,
                replace: _,
                funcname,
                parameters,
                return_type,
                options,
                sql_body,
            }) => {
                list(funcname, each);
                list(parameters, each);
                if let Some(child) = return_type {
                    each(Ref::TypeName(child));
                }
                list(options, each);
                one(sql_body.as_deref(), each);
            }
            Self::FunctionParameter(FunctionParameter {
                name: _,
                arg_type,
                mode: _,
                defexpr,
                location: _,
            }) => {
                if let Some(child) = arg_type {
                    each(Ref::TypeName(child));
                }
                one(defexpr.as_deref(), each);
            }
            Self::AlterFunctionStmt(AlterFunctionStmt {
                objtype: _,
                func,
                actions,
            }) => {
                if let Some(child) = func {
                    each(Ref::ObjectWithArgs(child));
                }
                list(actions, each);
            }
            Self::DoStmt(DoStmt { args }) => {
                list(args, each);
            }
            Self::InlineCodeBlock(InlineCodeBlock {
                source_text: _,
                lang_oid: _,
                lang_is_trusted: _,
                atomic: _,
            }) => {}
            Self::CallStmt(CallStmt {
                funccall,
                funcexpr,
                outargs,
            }) => {
                if let Some(child) = funccall {
                    each(Ref::FuncCall(child));
                }
                if let Some(child) = funcexpr {
                    each(Ref::FuncExpr(child));
                }
                list(outargs, each);
            }
            Self::CallContext(CallContext { atomic: _ }) => {}
            Self::RenameStmt(RenameStmt {
                rename_type: _,
                relation_type: _,
                relation,
                object,
                subname: _,
                newname: _,
                behavior: _,
                missing_ok: _,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                one(object.as_deref(), each);
            }
            Self::AlterObjectDependsStmt(AlterObjectDependsStmt {
                object_type: _,
                relation,
                object,
                extname,
                remove: _,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                one(object.as_deref(), each);
                if let Some(child) = extname {
                    each(Ref::String(child));
                }
            }
            Self::AlterObjectSchemaStmt(AlterObjectSchemaStmt {
                object_type: _,
                relation,
                object,
                newschema: _,
                missing_ok: _,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                one(object.as_deref(), each);
            }
            Self::AlterOwnerStmt(AlterOwnerStmt {
                object_type: _,
                relation,
                object,
                newowner,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                one(object.as_deref(), each);
                if let Some(child) = newowner {
                    each(Ref::RoleSpec(child));
                }
            }
            Self::AlterOperatorStmt(AlterOperatorStmt { opername, options }) => {
                if let Some(child) = opername {
                    each(Ref::ObjectWithArgs(child));
                }
                list(options, each);
            }
            Self::AlterTypeStmt(AlterTypeStmt { type_name, options }) => {
                list(type_name, each);
                list(options, each);
            }
            Self::RuleStmt(RuleStmt {
                relation,
                rulename: _,
                where_clause,
                event: _,
                instead: _,
                actions,
                replace: _,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                one(where_clause.as_deref(), each);
                list(actions, each);
            }
            Self::NotifyStmt(NotifyStmt {
                conditionname: _,
                payload: _,
                payload_location: _,
            }) => {}
            Self::ListenStmt(ListenStmt { conditionname: _ }) => {}
            Self::UnlistenStmt(UnlistenStmt { conditionname: _ }) => {}
            Self::TransactionStmt(TransactionStmt {
                kind: _,
                options,
                savepoint_name: _,
                gid: _,
                chain: _,
                location: _,
            }) => {
                list(options, each);
            }
            Self::CompositeTypeStmt(CompositeTypeStmt {
                typevar,
                coldeflist,
            }) => {
                if let Some(child) = typevar {
                    each(Ref::RangeVar(child));
                }
                list(coldeflist, each);
            }
            Self::CreateEnumStmt(CreateEnumStmt { type_name, vals }) => {
                list(type_name, each);
                list(vals, each);
            }
            Self::CreateRangeStmt(CreateRangeStmt { type_name, params }) => {
                list(type_name, each);
                list(params, each);
            }
            Self::AlterEnumStmt(AlterEnumStmt {
                type_name,
                old_val: _,
                new_val: _,
                new_val_neighbor: _,
                new_val_is_after: _,
                skip_if_new_val_exists: _,
            }) => {
                list(type_name, each);
            }
            Self::ViewStmt(ViewStmt {
                view,
                aliases,
                query,
                replace: _,
                options,
                with_check_option: _,
            }) => {
                if let Some(child) = view {
                    each(Ref::RangeVar(child));
                }
                list(aliases, each);
                one(query.as_deref(), each);
                list(options, each);
            }
            Self::LoadStmt(LoadStmt { filename: _ }) => {}
            Self::CreatedbStmt(CreatedbStmt { dbname: _, options }) => {
                list(options, each);
            }
            Self::AlterDatabaseStmt(AlterDatabaseStmt { dbname: _, options }) => {
                list(options, each);
            }
            Self::AlterDatabaseRefreshCollStmt(AlterDatabaseRefreshCollStmt { dbname: _ }) => {}
            Self::AlterDatabaseSetStmt(AlterDatabaseSetStmt { dbname: _, setstmt }) => {
                if let Some(child) = setstmt {
                    each(Ref::VariableSetStmt(child));
                }
            }
            Self::DropdbStmt(DropdbStmt {
                dbname: _,
                missing_ok: _,
                options,
            }) => {
                list(options, each);
            }
            Self::AlterSystemStmt(AlterSystemStmt { setstmt }) => {
                if let Some(child) = setstmt {
                    each(Ref::VariableSetStmt(child));
                }
            }
            Self::ClusterStmt(ClusterStmt {
                relation,
                indexname: _,
                params,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                list(params, each);
            }
            Self::VacuumStmt(VacuumStmt {
                options,
                rels,
                is_vacuumcmd: _,
            }) => {
                list(options, each);
                list(rels, each);
            }
            Self::VacuumRelation(VacuumRelation {
                relation,
                oid: _,
                va_cols,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                list(va_cols, each);
            }
            Self::ExplainStmt(ExplainStmt { query, options }) => {
                one(query.as_deref(), each);
                list(options, each);
            }
            Self::CreateTableAsStmt(CreateTableAsStmt {
                query,
                into,
                objtype: _,
                is_select_into: _,
                if_not_exists: _,
            }) => {
                one(query.as_deref(), each);
                if let Some(child) = into {
                    each(Ref::IntoClause(child));
                }
            }
            Self::RefreshMatViewStmt(RefreshMatViewStmt {
                concurrent: _,
                skip_data: _,
                relation,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
            }
            Self::CheckPointStmt(CheckPointStmt {}) => {}
            Self::DiscardStmt(DiscardStmt { target: _ }) => {}
            Self::LockStmt(LockStmt {
                relations,
                mode: _,
                nowait: _,
            }) => {
                list(relations, each);
            }
            Self::ConstraintsSetStmt(ConstraintsSetStmt {
                constraints,
                deferred: _,
            }) => {
                list(constraints, each);
            }
            Self::ReindexStmt(ReindexStmt {
                kind: _,
                relation,
                name: _,
                params,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                list(params, each);
            }
            Self::CreateConversionStmt(CreateConversionStmt {
                conversion_name,
                for_encoding_name: _,
                to_encoding_name: _,
                func_name,
                def: _,
            }) => {
                list(conversion_name, each);
                list(func_name, each);
            }
            Self::CreateCastStmt(CreateCastStmt {
                sourcetype,
                targettype,
                func,
                context: _,
                inout: _,
            }) => {
                if let Some(child) = sourcetype {
                    each(Ref::TypeName(child));
                }
                if let Some(child) = targettype {
                    each(Ref::TypeName(child));
                }
                if let Some(child) = func {
                    each(Ref::ObjectWithArgs(child));
                }
            }
            Self::CreateTransformStmt(CreateTransformStmt {
                replace: _,
                type_name,
                lang: _,
                fromsql,
                tosql,
            }) => {
                if let Some(child) = type_name {
                    each(Ref::TypeName(child));
                }
                if let Some(child) = fromsql {
                    each(Ref::ObjectWithArgs(child));
                }
                if let Some(child) = tosql {
                    each(Ref::ObjectWithArgs(child));
                }
            }
            Self::PrepareStmt(PrepareStmt {
                name: _,
                argtypes,
                query,
            }) => {
                list(argtypes, each);
                one(query.as_deref(), each);
            }
            Self::ExecuteStmt(ExecuteStmt { name: _, params }) => {
                list(params, each);
            }
            Self::DeallocateStmt(DeallocateStmt {
                name: _,
                isall: _,
                location: _,
            }) => {}
            Self::DropOwnedStmt(DropOwnedStmt { roles, behavior: _ }) => {
                list(roles, each);
            }
            Self::ReassignOwnedStmt(ReassignOwnedStmt { roles, newrole }) => {
                list(roles, each);
                if let Some(child) = newrole {
                    each(Ref::RoleSpec(child));
                }
            }
            Self::AlterTsDictionaryStmt(AlterTsDictionaryStmt { dictname, options }) => {
                list(dictname, each);
                list(options, each);
            }
            Self::AlterTsConfigurationStmt(AlterTsConfigurationStmt {
                kind: _,
                cfgname,
                tokentype,
                dicts,
                r#override: _,
                replace: _,
                missing_ok: _,
            }) => {
                list(cfgname, each);
                list(tokentype, each);
                list(dicts, each);
            }
            Self::PublicationTable(PublicationTable {
                relation,
                where_clause,
                columns,
            }) => {
                if let Some(child) = relation {
                    each(Ref::RangeVar(child));
                }
                one(where_clause.as_deref(), each);
                list(columns, each);
            }
            Self::PublicationObjSpec(PublicationObjSpec {
                pubobjtype: _,
                name: _,
                pubtable,
                location: _,
            }) => {
                if let Some(child) = pubtable {
                    each(Ref::PublicationTable(child));
                }
            }
            Self::CreatePublicationStmt(CreatePublicationStmt {
                pubname: _,
                options,
                pubobjects,
                for_all_tables: _,
            }) => {
                list(options, each);
                list(pubobjects, each);
            }
            Self::AlterPublicationStmt(AlterPublicationStmt {
                pubname: _,
                options,
                pubobjects,
                for_all_tables: _,
                action: _,
            }) => {
                list(options, each);
                list(pubobjects, each);
            }
            Self::CreateSubscriptionStmt(CreateSubscriptionStmt {
                subname: _,
                conninfo: _,
                publication,
                options,
                conninfo_location: _,
            }) => {
                list(publication, each);
                list(options, each);
            }
            Self::AlterSubscriptionStmt(AlterSubscriptionStmt {
                kind: _,
                subname: _,
                conninfo: _,
                publication,
                options,
                conninfo_location: _,
            }) => {
                list(publication, each);
                list(options, each);
            }
            Self::DropSubscriptionStmt(DropSubscriptionStmt {
                subname: _,
                missing_ok: _,
                behavior: _,
            }) => {}
            Self::Integer(Integer { ival: _ }) => {}
            Self::Float(Float { fval: _ }) => {}
            Self::Boolean(Boolean { boolval: _ }) => {}
            Self::String(String { sval: _ }) => {}
            Self::BitString(BitString { bsval: _ }) => {}
            Self::List(List { items }) => {
                list(items, each);
            }
            Self::IntList(IntList { items }) => {
                list(items, each);
            }
            Self::OidList(OidList { items }) => {
                list(items, each);
            }
            Self::AConst(AConst {
                isnull: _,
                location: _,
                val: _,
            }) => {}
        }
    }
}

impl<'a> Mut<'a> {
    /// The node inside the grammar's general one.
    #[must_use]
    pub fn of(node: &'a mut NodeEnum) -> Self {
        match node {
            NodeEnum::Alias(node) => Self::Alias(node),
            NodeEnum::RangeVar(node) => Self::RangeVar(node),
            NodeEnum::TableFunc(node) => Self::TableFunc(node),
            NodeEnum::IntoClause(node) => Self::IntoClause(node),
            NodeEnum::Var(node) => Self::Var(node),
            NodeEnum::Param(node) => Self::Param(node),
            NodeEnum::Aggref(node) => Self::Aggref(node),
            NodeEnum::GroupingFunc(node) => Self::GroupingFunc(node),
            NodeEnum::WindowFunc(node) => Self::WindowFunc(node),
            NodeEnum::WindowFuncRunCondition(node) => Self::WindowFuncRunCondition(node),
            NodeEnum::MergeSupportFunc(node) => Self::MergeSupportFunc(node),
            NodeEnum::SubscriptingRef(node) => Self::SubscriptingRef(node),
            NodeEnum::FuncExpr(node) => Self::FuncExpr(node),
            NodeEnum::NamedArgExpr(node) => Self::NamedArgExpr(node),
            NodeEnum::OpExpr(node) => Self::OpExpr(node),
            NodeEnum::DistinctExpr(node) => Self::DistinctExpr(node),
            NodeEnum::NullIfExpr(node) => Self::NullIfExpr(node),
            NodeEnum::ScalarArrayOpExpr(node) => Self::ScalarArrayOpExpr(node),
            NodeEnum::BoolExpr(node) => Self::BoolExpr(node),
            NodeEnum::SubLink(node) => Self::SubLink(node),
            NodeEnum::SubPlan(node) => Self::SubPlan(node),
            NodeEnum::AlternativeSubPlan(node) => Self::AlternativeSubPlan(node),
            NodeEnum::FieldSelect(node) => Self::FieldSelect(node),
            NodeEnum::FieldStore(node) => Self::FieldStore(node),
            NodeEnum::RelabelType(node) => Self::RelabelType(node),
            NodeEnum::CoerceViaIo(node) => Self::CoerceViaIo(node),
            NodeEnum::ArrayCoerceExpr(node) => Self::ArrayCoerceExpr(node),
            NodeEnum::ConvertRowtypeExpr(node) => Self::ConvertRowtypeExpr(node),
            NodeEnum::CollateExpr(node) => Self::CollateExpr(node),
            NodeEnum::CaseExpr(node) => Self::CaseExpr(node),
            NodeEnum::CaseWhen(node) => Self::CaseWhen(node),
            NodeEnum::CaseTestExpr(node) => Self::CaseTestExpr(node),
            NodeEnum::ArrayExpr(node) => Self::ArrayExpr(node),
            NodeEnum::RowExpr(node) => Self::RowExpr(node),
            NodeEnum::RowCompareExpr(node) => Self::RowCompareExpr(node),
            NodeEnum::CoalesceExpr(node) => Self::CoalesceExpr(node),
            NodeEnum::MinMaxExpr(node) => Self::MinMaxExpr(node),
            NodeEnum::SqlvalueFunction(node) => Self::SqlValueFunction(node),
            NodeEnum::XmlExpr(node) => Self::XmlExpr(node),
            NodeEnum::JsonFormat(node) => Self::JsonFormat(node),
            NodeEnum::JsonReturning(node) => Self::JsonReturning(node),
            NodeEnum::JsonValueExpr(node) => Self::JsonValueExpr(node),
            NodeEnum::JsonConstructorExpr(node) => Self::JsonConstructorExpr(node),
            NodeEnum::JsonIsPredicate(node) => Self::JsonIsPredicate(node),
            NodeEnum::JsonBehavior(node) => Self::JsonBehavior(node),
            NodeEnum::JsonExpr(node) => Self::JsonExpr(node),
            NodeEnum::JsonTablePath(node) => Self::JsonTablePath(node),
            NodeEnum::JsonTablePathScan(node) => Self::JsonTablePathScan(node),
            NodeEnum::JsonTableSiblingJoin(node) => Self::JsonTableSiblingJoin(node),
            NodeEnum::NullTest(node) => Self::NullTest(node),
            NodeEnum::BooleanTest(node) => Self::BooleanTest(node),
            NodeEnum::MergeAction(node) => Self::MergeAction(node),
            NodeEnum::CoerceToDomain(node) => Self::CoerceToDomain(node),
            NodeEnum::CoerceToDomainValue(node) => Self::CoerceToDomainValue(node),
            NodeEnum::SetToDefault(node) => Self::SetToDefault(node),
            NodeEnum::CurrentOfExpr(node) => Self::CurrentOfExpr(node),
            NodeEnum::NextValueExpr(node) => Self::NextValueExpr(node),
            NodeEnum::InferenceElem(node) => Self::InferenceElem(node),
            NodeEnum::ReturningExpr(node) => Self::ReturningExpr(node),
            NodeEnum::TargetEntry(node) => Self::TargetEntry(node),
            NodeEnum::RangeTblRef(node) => Self::RangeTblRef(node),
            NodeEnum::JoinExpr(node) => Self::JoinExpr(node),
            NodeEnum::FromExpr(node) => Self::FromExpr(node),
            NodeEnum::OnConflictExpr(node) => Self::OnConflictExpr(node),
            NodeEnum::Query(node) => Self::Query(node),
            NodeEnum::TypeName(node) => Self::TypeName(node),
            NodeEnum::ColumnRef(node) => Self::ColumnRef(node),
            NodeEnum::ParamRef(node) => Self::ParamRef(node),
            NodeEnum::AExpr(node) => Self::AExpr(node),
            NodeEnum::TypeCast(node) => Self::TypeCast(node),
            NodeEnum::CollateClause(node) => Self::CollateClause(node),
            NodeEnum::RoleSpec(node) => Self::RoleSpec(node),
            NodeEnum::FuncCall(node) => Self::FuncCall(node),
            NodeEnum::AStar(node) => Self::AStar(node),
            NodeEnum::AIndices(node) => Self::AIndices(node),
            NodeEnum::AIndirection(node) => Self::AIndirection(node),
            NodeEnum::AArrayExpr(node) => Self::AArrayExpr(node),
            NodeEnum::ResTarget(node) => Self::ResTarget(node),
            NodeEnum::MultiAssignRef(node) => Self::MultiAssignRef(node),
            NodeEnum::SortBy(node) => Self::SortBy(node),
            NodeEnum::WindowDef(node) => Self::WindowDef(node),
            NodeEnum::RangeSubselect(node) => Self::RangeSubselect(node),
            NodeEnum::RangeFunction(node) => Self::RangeFunction(node),
            NodeEnum::RangeTableFunc(node) => Self::RangeTableFunc(node),
            NodeEnum::RangeTableFuncCol(node) => Self::RangeTableFuncCol(node),
            NodeEnum::RangeTableSample(node) => Self::RangeTableSample(node),
            NodeEnum::ColumnDef(node) => Self::ColumnDef(node),
            NodeEnum::TableLikeClause(node) => Self::TableLikeClause(node),
            NodeEnum::IndexElem(node) => Self::IndexElem(node),
            NodeEnum::DefElem(node) => Self::DefElem(node),
            NodeEnum::LockingClause(node) => Self::LockingClause(node),
            NodeEnum::XmlSerialize(node) => Self::XmlSerialize(node),
            NodeEnum::PartitionElem(node) => Self::PartitionElem(node),
            NodeEnum::PartitionSpec(node) => Self::PartitionSpec(node),
            NodeEnum::PartitionBoundSpec(node) => Self::PartitionBoundSpec(node),
            NodeEnum::PartitionRangeDatum(node) => Self::PartitionRangeDatum(node),
            NodeEnum::PartitionCmd(node) => Self::PartitionCmd(node),
            NodeEnum::RangeTblEntry(node) => Self::RangeTblEntry(node),
            NodeEnum::RtepermissionInfo(node) => Self::RtePermissionInfo(node),
            NodeEnum::RangeTblFunction(node) => Self::RangeTblFunction(node),
            NodeEnum::TableSampleClause(node) => Self::TableSampleClause(node),
            NodeEnum::WithCheckOption(node) => Self::WithCheckOption(node),
            NodeEnum::SortGroupClause(node) => Self::SortGroupClause(node),
            NodeEnum::GroupingSet(node) => Self::GroupingSet(node),
            NodeEnum::WindowClause(node) => Self::WindowClause(node),
            NodeEnum::RowMarkClause(node) => Self::RowMarkClause(node),
            NodeEnum::WithClause(node) => Self::WithClause(node),
            NodeEnum::InferClause(node) => Self::InferClause(node),
            NodeEnum::OnConflictClause(node) => Self::OnConflictClause(node),
            NodeEnum::CtesearchClause(node) => Self::CteSearchClause(node),
            NodeEnum::CtecycleClause(node) => Self::CteCycleClause(node),
            NodeEnum::CommonTableExpr(node) => Self::CommonTableExpr(node),
            NodeEnum::MergeWhenClause(node) => Self::MergeWhenClause(node),
            NodeEnum::ReturningOption(node) => Self::ReturningOption(node),
            NodeEnum::ReturningClause(node) => Self::ReturningClause(node),
            NodeEnum::TriggerTransition(node) => Self::TriggerTransition(node),
            NodeEnum::JsonOutput(node) => Self::JsonOutput(node),
            NodeEnum::JsonArgument(node) => Self::JsonArgument(node),
            NodeEnum::JsonFuncExpr(node) => Self::JsonFuncExpr(node),
            NodeEnum::JsonTablePathSpec(node) => Self::JsonTablePathSpec(node),
            NodeEnum::JsonTable(node) => Self::JsonTable(node),
            NodeEnum::JsonTableColumn(node) => Self::JsonTableColumn(node),
            NodeEnum::JsonKeyValue(node) => Self::JsonKeyValue(node),
            NodeEnum::JsonParseExpr(node) => Self::JsonParseExpr(node),
            NodeEnum::JsonScalarExpr(node) => Self::JsonScalarExpr(node),
            NodeEnum::JsonSerializeExpr(node) => Self::JsonSerializeExpr(node),
            NodeEnum::JsonObjectConstructor(node) => Self::JsonObjectConstructor(node),
            NodeEnum::JsonArrayConstructor(node) => Self::JsonArrayConstructor(node),
            NodeEnum::JsonArrayQueryConstructor(node) => Self::JsonArrayQueryConstructor(node),
            NodeEnum::JsonAggConstructor(node) => Self::JsonAggConstructor(node),
            NodeEnum::JsonObjectAgg(node) => Self::JsonObjectAgg(node),
            NodeEnum::JsonArrayAgg(node) => Self::JsonArrayAgg(node),
            NodeEnum::RawStmt(node) => Self::RawStmt(node),
            NodeEnum::InsertStmt(node) => Self::InsertStmt(node),
            NodeEnum::DeleteStmt(node) => Self::DeleteStmt(node),
            NodeEnum::UpdateStmt(node) => Self::UpdateStmt(node),
            NodeEnum::MergeStmt(node) => Self::MergeStmt(node),
            NodeEnum::SelectStmt(node) => Self::SelectStmt(node),
            NodeEnum::SetOperationStmt(node) => Self::SetOperationStmt(node),
            NodeEnum::ReturnStmt(node) => Self::ReturnStmt(node),
            NodeEnum::PlassignStmt(node) => Self::PlAssignStmt(node),
            NodeEnum::CreateSchemaStmt(node) => Self::CreateSchemaStmt(node),
            NodeEnum::AlterTableStmt(node) => Self::AlterTableStmt(node),
            NodeEnum::AlterTableCmd(node) => Self::AlterTableCmd(node),
            NodeEnum::AtalterConstraint(node) => Self::AtAlterConstraint(node),
            NodeEnum::ReplicaIdentityStmt(node) => Self::ReplicaIdentityStmt(node),
            NodeEnum::AlterCollationStmt(node) => Self::AlterCollationStmt(node),
            NodeEnum::AlterDomainStmt(node) => Self::AlterDomainStmt(node),
            NodeEnum::GrantStmt(node) => Self::GrantStmt(node),
            NodeEnum::ObjectWithArgs(node) => Self::ObjectWithArgs(node),
            NodeEnum::AccessPriv(node) => Self::AccessPriv(node),
            NodeEnum::GrantRoleStmt(node) => Self::GrantRoleStmt(node),
            NodeEnum::AlterDefaultPrivilegesStmt(node) => Self::AlterDefaultPrivilegesStmt(node),
            NodeEnum::CopyStmt(node) => Self::CopyStmt(node),
            NodeEnum::VariableSetStmt(node) => Self::VariableSetStmt(node),
            NodeEnum::VariableShowStmt(node) => Self::VariableShowStmt(node),
            NodeEnum::CreateStmt(node) => Self::CreateStmt(node),
            NodeEnum::Constraint(node) => Self::Constraint(node),
            NodeEnum::CreateTableSpaceStmt(node) => Self::CreateTableSpaceStmt(node),
            NodeEnum::DropTableSpaceStmt(node) => Self::DropTableSpaceStmt(node),
            NodeEnum::AlterTableSpaceOptionsStmt(node) => Self::AlterTableSpaceOptionsStmt(node),
            NodeEnum::AlterTableMoveAllStmt(node) => Self::AlterTableMoveAllStmt(node),
            NodeEnum::CreateExtensionStmt(node) => Self::CreateExtensionStmt(node),
            NodeEnum::AlterExtensionStmt(node) => Self::AlterExtensionStmt(node),
            NodeEnum::AlterExtensionContentsStmt(node) => Self::AlterExtensionContentsStmt(node),
            NodeEnum::CreateFdwStmt(node) => Self::CreateFdwStmt(node),
            NodeEnum::AlterFdwStmt(node) => Self::AlterFdwStmt(node),
            NodeEnum::CreateForeignServerStmt(node) => Self::CreateForeignServerStmt(node),
            NodeEnum::AlterForeignServerStmt(node) => Self::AlterForeignServerStmt(node),
            NodeEnum::CreateForeignTableStmt(node) => Self::CreateForeignTableStmt(node),
            NodeEnum::CreateUserMappingStmt(node) => Self::CreateUserMappingStmt(node),
            NodeEnum::AlterUserMappingStmt(node) => Self::AlterUserMappingStmt(node),
            NodeEnum::DropUserMappingStmt(node) => Self::DropUserMappingStmt(node),
            NodeEnum::ImportForeignSchemaStmt(node) => Self::ImportForeignSchemaStmt(node),
            NodeEnum::CreatePolicyStmt(node) => Self::CreatePolicyStmt(node),
            NodeEnum::AlterPolicyStmt(node) => Self::AlterPolicyStmt(node),
            NodeEnum::CreateAmStmt(node) => Self::CreateAmStmt(node),
            NodeEnum::CreateTrigStmt(node) => Self::CreateTrigStmt(node),
            NodeEnum::CreateEventTrigStmt(node) => Self::CreateEventTrigStmt(node),
            NodeEnum::AlterEventTrigStmt(node) => Self::AlterEventTrigStmt(node),
            NodeEnum::CreatePlangStmt(node) => Self::CreatePLangStmt(node),
            NodeEnum::CreateRoleStmt(node) => Self::CreateRoleStmt(node),
            NodeEnum::AlterRoleStmt(node) => Self::AlterRoleStmt(node),
            NodeEnum::AlterRoleSetStmt(node) => Self::AlterRoleSetStmt(node),
            NodeEnum::DropRoleStmt(node) => Self::DropRoleStmt(node),
            NodeEnum::CreateSeqStmt(node) => Self::CreateSeqStmt(node),
            NodeEnum::AlterSeqStmt(node) => Self::AlterSeqStmt(node),
            NodeEnum::DefineStmt(node) => Self::DefineStmt(node),
            NodeEnum::CreateDomainStmt(node) => Self::CreateDomainStmt(node),
            NodeEnum::CreateOpClassStmt(node) => Self::CreateOpClassStmt(node),
            NodeEnum::CreateOpClassItem(node) => Self::CreateOpClassItem(node),
            NodeEnum::CreateOpFamilyStmt(node) => Self::CreateOpFamilyStmt(node),
            NodeEnum::AlterOpFamilyStmt(node) => Self::AlterOpFamilyStmt(node),
            NodeEnum::DropStmt(node) => Self::DropStmt(node),
            NodeEnum::TruncateStmt(node) => Self::TruncateStmt(node),
            NodeEnum::CommentStmt(node) => Self::CommentStmt(node),
            NodeEnum::SecLabelStmt(node) => Self::SecLabelStmt(node),
            NodeEnum::DeclareCursorStmt(node) => Self::DeclareCursorStmt(node),
            NodeEnum::ClosePortalStmt(node) => Self::ClosePortalStmt(node),
            NodeEnum::FetchStmt(node) => Self::FetchStmt(node),
            NodeEnum::IndexStmt(node) => Self::IndexStmt(node),
            NodeEnum::CreateStatsStmt(node) => Self::CreateStatsStmt(node),
            NodeEnum::StatsElem(node) => Self::StatsElem(node),
            NodeEnum::AlterStatsStmt(node) => Self::AlterStatsStmt(node),
            NodeEnum::CreateFunctionStmt(node) => Self::CreateFunctionStmt(node),
            NodeEnum::FunctionParameter(node) => Self::FunctionParameter(node),
            NodeEnum::AlterFunctionStmt(node) => Self::AlterFunctionStmt(node),
            NodeEnum::DoStmt(node) => Self::DoStmt(node),
            NodeEnum::InlineCodeBlock(node) => Self::InlineCodeBlock(node),
            NodeEnum::CallStmt(node) => Self::CallStmt(node),
            NodeEnum::CallContext(node) => Self::CallContext(node),
            NodeEnum::RenameStmt(node) => Self::RenameStmt(node),
            NodeEnum::AlterObjectDependsStmt(node) => Self::AlterObjectDependsStmt(node),
            NodeEnum::AlterObjectSchemaStmt(node) => Self::AlterObjectSchemaStmt(node),
            NodeEnum::AlterOwnerStmt(node) => Self::AlterOwnerStmt(node),
            NodeEnum::AlterOperatorStmt(node) => Self::AlterOperatorStmt(node),
            NodeEnum::AlterTypeStmt(node) => Self::AlterTypeStmt(node),
            NodeEnum::RuleStmt(node) => Self::RuleStmt(node),
            NodeEnum::NotifyStmt(node) => Self::NotifyStmt(node),
            NodeEnum::ListenStmt(node) => Self::ListenStmt(node),
            NodeEnum::UnlistenStmt(node) => Self::UnlistenStmt(node),
            NodeEnum::TransactionStmt(node) => Self::TransactionStmt(node),
            NodeEnum::CompositeTypeStmt(node) => Self::CompositeTypeStmt(node),
            NodeEnum::CreateEnumStmt(node) => Self::CreateEnumStmt(node),
            NodeEnum::CreateRangeStmt(node) => Self::CreateRangeStmt(node),
            NodeEnum::AlterEnumStmt(node) => Self::AlterEnumStmt(node),
            NodeEnum::ViewStmt(node) => Self::ViewStmt(node),
            NodeEnum::LoadStmt(node) => Self::LoadStmt(node),
            NodeEnum::CreatedbStmt(node) => Self::CreatedbStmt(node),
            NodeEnum::AlterDatabaseStmt(node) => Self::AlterDatabaseStmt(node),
            NodeEnum::AlterDatabaseRefreshCollStmt(node) => {
                Self::AlterDatabaseRefreshCollStmt(node)
            }
            NodeEnum::AlterDatabaseSetStmt(node) => Self::AlterDatabaseSetStmt(node),
            NodeEnum::DropdbStmt(node) => Self::DropdbStmt(node),
            NodeEnum::AlterSystemStmt(node) => Self::AlterSystemStmt(node),
            NodeEnum::ClusterStmt(node) => Self::ClusterStmt(node),
            NodeEnum::VacuumStmt(node) => Self::VacuumStmt(node),
            NodeEnum::VacuumRelation(node) => Self::VacuumRelation(node),
            NodeEnum::ExplainStmt(node) => Self::ExplainStmt(node),
            NodeEnum::CreateTableAsStmt(node) => Self::CreateTableAsStmt(node),
            NodeEnum::RefreshMatViewStmt(node) => Self::RefreshMatViewStmt(node),
            NodeEnum::CheckPointStmt(node) => Self::CheckPointStmt(node),
            NodeEnum::DiscardStmt(node) => Self::DiscardStmt(node),
            NodeEnum::LockStmt(node) => Self::LockStmt(node),
            NodeEnum::ConstraintsSetStmt(node) => Self::ConstraintsSetStmt(node),
            NodeEnum::ReindexStmt(node) => Self::ReindexStmt(node),
            NodeEnum::CreateConversionStmt(node) => Self::CreateConversionStmt(node),
            NodeEnum::CreateCastStmt(node) => Self::CreateCastStmt(node),
            NodeEnum::CreateTransformStmt(node) => Self::CreateTransformStmt(node),
            NodeEnum::PrepareStmt(node) => Self::PrepareStmt(node),
            NodeEnum::ExecuteStmt(node) => Self::ExecuteStmt(node),
            NodeEnum::DeallocateStmt(node) => Self::DeallocateStmt(node),
            NodeEnum::DropOwnedStmt(node) => Self::DropOwnedStmt(node),
            NodeEnum::ReassignOwnedStmt(node) => Self::ReassignOwnedStmt(node),
            NodeEnum::AlterTsdictionaryStmt(node) => Self::AlterTsDictionaryStmt(node),
            NodeEnum::AlterTsconfigurationStmt(node) => Self::AlterTsConfigurationStmt(node),
            NodeEnum::PublicationTable(node) => Self::PublicationTable(node),
            NodeEnum::PublicationObjSpec(node) => Self::PublicationObjSpec(node),
            NodeEnum::CreatePublicationStmt(node) => Self::CreatePublicationStmt(node),
            NodeEnum::AlterPublicationStmt(node) => Self::AlterPublicationStmt(node),
            NodeEnum::CreateSubscriptionStmt(node) => Self::CreateSubscriptionStmt(node),
            NodeEnum::AlterSubscriptionStmt(node) => Self::AlterSubscriptionStmt(node),
            NodeEnum::DropSubscriptionStmt(node) => Self::DropSubscriptionStmt(node),
            NodeEnum::Integer(node) => Self::Integer(node),
            NodeEnum::Float(node) => Self::Float(node),
            NodeEnum::Boolean(node) => Self::Boolean(node),
            NodeEnum::String(node) => Self::String(node),
            NodeEnum::BitString(node) => Self::BitString(node),
            NodeEnum::List(node) => Self::List(node),
            NodeEnum::IntList(node) => Self::IntList(node),
            NodeEnum::OidList(node) => Self::OidList(node),
            NodeEnum::AConst(node) => Self::AConst(node),
        }
    }

    /// Calls `each` with every child, in the order of the fields.
    pub fn children(self, each: &mut dyn FnMut(Mut<'_>)) {
        match self {
            Self::Slot(slot) => {
                if let Some(node) = &mut slot.node {
                    each(Mut::of(node));
                }
            }
            Self::Alias(Alias {
                aliasname: _,
                colnames,
            }) => {
                list_mut(colnames, each);
            }
            Self::RangeVar(RangeVar {
                catalogname: _,
                schemaname: _,
                relname: _,
                inh: _,
                relpersistence: _,
                alias,
                location: _,
            }) => {
                if let Some(child) = alias {
                    each(Mut::Alias(child));
                }
            }
            Self::TableFunc(TableFunc {
                functype: _,
                ns_uris,
                ns_names,
                docexpr,
                rowexpr,
                colnames,
                coltypes,
                coltypmods,
                colcollations,
                colexprs,
                coldefexprs,
                colvalexprs,
                passingvalexprs,
                notnulls: _,
                plan,
                ordinalitycol: _,
                location: _,
            }) => {
                list_mut(ns_uris, each);
                list_mut(ns_names, each);
                one_mut(docexpr.as_deref_mut(), each);
                one_mut(rowexpr.as_deref_mut(), each);
                list_mut(colnames, each);
                list_mut(coltypes, each);
                list_mut(coltypmods, each);
                list_mut(colcollations, each);
                list_mut(colexprs, each);
                list_mut(coldefexprs, each);
                list_mut(colvalexprs, each);
                list_mut(passingvalexprs, each);
                one_mut(plan.as_deref_mut(), each);
            }
            Self::IntoClause(IntoClause {
                rel,
                col_names,
                access_method: _,
                options,
                on_commit: _,
                table_space_name: _,
                view_query,
                skip_data: _,
            }) => {
                if let Some(child) = rel {
                    each(Mut::RangeVar(child));
                }
                list_mut(col_names, each);
                list_mut(options, each);
                if let Some(child) = view_query {
                    each(Mut::Query(child));
                }
            }
            Self::Var(Var {
                xpr,
                varno: _,
                varattno: _,
                vartype: _,
                vartypmod: _,
                varcollid: _,
                varnullingrels: _,
                varlevelsup: _,
                varreturningtype: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
            }
            Self::Param(Param {
                xpr,
                paramkind: _,
                paramid: _,
                paramtype: _,
                paramtypmod: _,
                paramcollid: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
            }
            Self::Aggref(Aggref {
                xpr,
                aggfnoid: _,
                aggtype: _,
                aggcollid: _,
                inputcollid: _,
                aggargtypes,
                aggdirectargs,
                args,
                aggorder,
                aggdistinct,
                aggfilter,
                aggstar: _,
                aggvariadic: _,
                aggkind: _,
                agglevelsup: _,
                aggsplit: _,
                aggno: _,
                aggtransno: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(aggargtypes, each);
                list_mut(aggdirectargs, each);
                list_mut(args, each);
                list_mut(aggorder, each);
                list_mut(aggdistinct, each);
                one_mut(aggfilter.as_deref_mut(), each);
            }
            Self::GroupingFunc(GroupingFunc {
                xpr,
                args,
                refs,
                agglevelsup: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(args, each);
                list_mut(refs, each);
            }
            Self::WindowFunc(WindowFunc {
                xpr,
                winfnoid: _,
                wintype: _,
                wincollid: _,
                inputcollid: _,
                args,
                aggfilter,
                run_condition,
                winref: _,
                winstar: _,
                winagg: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(args, each);
                one_mut(aggfilter.as_deref_mut(), each);
                list_mut(run_condition, each);
            }
            Self::WindowFuncRunCondition(WindowFuncRunCondition {
                xpr,
                opno: _,
                inputcollid: _,
                wfunc_left: _,
                arg,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(arg.as_deref_mut(), each);
            }
            Self::MergeSupportFunc(MergeSupportFunc {
                xpr,
                msftype: _,
                msfcollid: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
            }
            Self::SubscriptingRef(SubscriptingRef {
                xpr,
                refcontainertype: _,
                refelemtype: _,
                refrestype: _,
                reftypmod: _,
                refcollid: _,
                refupperindexpr,
                reflowerindexpr,
                refexpr,
                refassgnexpr,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(refupperindexpr, each);
                list_mut(reflowerindexpr, each);
                one_mut(refexpr.as_deref_mut(), each);
                one_mut(refassgnexpr.as_deref_mut(), each);
            }
            Self::FuncExpr(FuncExpr {
                xpr,
                funcid: _,
                funcresulttype: _,
                funcretset: _,
                funcvariadic: _,
                funcformat: _,
                funccollid: _,
                inputcollid: _,
                args,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(args, each);
            }
            Self::NamedArgExpr(NamedArgExpr {
                xpr,
                arg,
                name: _,
                argnumber: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(arg.as_deref_mut(), each);
            }
            Self::OpExpr(OpExpr {
                xpr,
                opno: _,
                opresulttype: _,
                opretset: _,
                opcollid: _,
                inputcollid: _,
                args,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(args, each);
            }
            Self::DistinctExpr(DistinctExpr {
                xpr,
                opno: _,
                opresulttype: _,
                opretset: _,
                opcollid: _,
                inputcollid: _,
                args,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(args, each);
            }
            Self::NullIfExpr(NullIfExpr {
                xpr,
                opno: _,
                opresulttype: _,
                opretset: _,
                opcollid: _,
                inputcollid: _,
                args,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(args, each);
            }
            Self::ScalarArrayOpExpr(ScalarArrayOpExpr {
                xpr,
                opno: _,
                use_or: _,
                inputcollid: _,
                args,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(args, each);
            }
            Self::BoolExpr(BoolExpr {
                xpr,
                boolop: _,
                args,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(args, each);
            }
            Self::SubLink(SubLink {
                xpr,
                sub_link_type: _,
                sub_link_id: _,
                testexpr,
                oper_name,
                subselect,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(testexpr.as_deref_mut(), each);
                list_mut(oper_name, each);
                one_mut(subselect.as_deref_mut(), each);
            }
            Self::SubPlan(SubPlan {
                xpr,
                sub_link_type: _,
                testexpr,
                param_ids,
                plan_id: _,
                plan_name: _,
                first_col_type: _,
                first_col_typmod: _,
                first_col_collation: _,
                use_hash_table: _,
                unknown_eq_false: _,
                parallel_safe: _,
                set_param,
                par_param,
                args,
                startup_cost: _,
                per_call_cost: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(testexpr.as_deref_mut(), each);
                list_mut(param_ids, each);
                list_mut(set_param, each);
                list_mut(par_param, each);
                list_mut(args, each);
            }
            Self::AlternativeSubPlan(AlternativeSubPlan { xpr, subplans }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(subplans, each);
            }
            Self::FieldSelect(FieldSelect {
                xpr,
                arg,
                fieldnum: _,
                resulttype: _,
                resulttypmod: _,
                resultcollid: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(arg.as_deref_mut(), each);
            }
            Self::FieldStore(FieldStore {
                xpr,
                arg,
                newvals,
                fieldnums,
                resulttype: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(arg.as_deref_mut(), each);
                list_mut(newvals, each);
                list_mut(fieldnums, each);
            }
            Self::RelabelType(RelabelType {
                xpr,
                arg,
                resulttype: _,
                resulttypmod: _,
                resultcollid: _,
                relabelformat: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(arg.as_deref_mut(), each);
            }
            Self::CoerceViaIo(CoerceViaIo {
                xpr,
                arg,
                resulttype: _,
                resultcollid: _,
                coerceformat: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(arg.as_deref_mut(), each);
            }
            Self::ArrayCoerceExpr(ArrayCoerceExpr {
                xpr,
                arg,
                elemexpr,
                resulttype: _,
                resulttypmod: _,
                resultcollid: _,
                coerceformat: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(arg.as_deref_mut(), each);
                one_mut(elemexpr.as_deref_mut(), each);
            }
            Self::ConvertRowtypeExpr(ConvertRowtypeExpr {
                xpr,
                arg,
                resulttype: _,
                convertformat: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(arg.as_deref_mut(), each);
            }
            Self::CollateExpr(CollateExpr {
                xpr,
                arg,
                coll_oid: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(arg.as_deref_mut(), each);
            }
            Self::CaseExpr(CaseExpr {
                xpr,
                casetype: _,
                casecollid: _,
                arg,
                args,
                defresult,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(arg.as_deref_mut(), each);
                list_mut(args, each);
                one_mut(defresult.as_deref_mut(), each);
            }
            Self::CaseWhen(CaseWhen {
                xpr,
                expr,
                result,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(expr.as_deref_mut(), each);
                one_mut(result.as_deref_mut(), each);
            }
            Self::CaseTestExpr(CaseTestExpr {
                xpr,
                type_id: _,
                type_mod: _,
                collation: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
            }
            Self::ArrayExpr(ArrayExpr {
                xpr,
                array_typeid: _,
                array_collid: _,
                element_typeid: _,
                elements,
                multidims: _,
                list_start: _,
                list_end: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(elements, each);
            }
            Self::RowExpr(RowExpr {
                xpr,
                args,
                row_typeid: _,
                row_format: _,
                colnames,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(args, each);
                list_mut(colnames, each);
            }
            Self::RowCompareExpr(RowCompareExpr {
                xpr,
                cmptype: _,
                opnos,
                opfamilies,
                inputcollids,
                largs,
                rargs,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(opnos, each);
                list_mut(opfamilies, each);
                list_mut(inputcollids, each);
                list_mut(largs, each);
                list_mut(rargs, each);
            }
            Self::CoalesceExpr(CoalesceExpr {
                xpr,
                coalescetype: _,
                coalescecollid: _,
                args,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(args, each);
            }
            Self::MinMaxExpr(MinMaxExpr {
                xpr,
                minmaxtype: _,
                minmaxcollid: _,
                inputcollid: _,
                op: _,
                args,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(args, each);
            }
            Self::SqlValueFunction(SqlValueFunction {
                xpr,
                op: _,
                r#type: _,
                typmod: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
            }
            Self::XmlExpr(XmlExpr {
                xpr,
                op: _,
                name: _,
                named_args,
                arg_names,
                args,
                xmloption: _,
                indent: _,
                r#type: _,
                typmod: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(named_args, each);
                list_mut(arg_names, each);
                list_mut(args, each);
            }
            Self::JsonFormat(JsonFormat {
                format_type: _,
                encoding: _,
                location: _,
            }) => {}
            Self::JsonReturning(JsonReturning {
                format,
                typid: _,
                typmod: _,
            }) => {
                if let Some(child) = format {
                    each(Mut::JsonFormat(child));
                }
            }
            Self::JsonValueExpr(JsonValueExpr {
                raw_expr,
                formatted_expr,
                format,
            }) => {
                one_mut(raw_expr.as_deref_mut(), each);
                one_mut(formatted_expr.as_deref_mut(), each);
                if let Some(child) = format {
                    each(Mut::JsonFormat(child));
                }
            }
            Self::JsonConstructorExpr(JsonConstructorExpr {
                xpr,
                r#type: _,
                args,
                func,
                coercion,
                returning,
                absent_on_null: _,
                unique: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                list_mut(args, each);
                one_mut(func.as_deref_mut(), each);
                one_mut(coercion.as_deref_mut(), each);
                if let Some(child) = returning {
                    each(Mut::JsonReturning(child));
                }
            }
            Self::JsonIsPredicate(JsonIsPredicate {
                expr,
                format,
                item_type: _,
                unique_keys: _,
                location: _,
            }) => {
                one_mut(expr.as_deref_mut(), each);
                if let Some(child) = format {
                    each(Mut::JsonFormat(child));
                }
            }
            Self::JsonBehavior(JsonBehavior {
                btype: _,
                expr,
                coerce: _,
                location: _,
            }) => {
                one_mut(expr.as_deref_mut(), each);
            }
            Self::JsonExpr(JsonExpr {
                xpr,
                op: _,
                column_name: _,
                formatted_expr,
                format,
                path_spec,
                returning,
                passing_names,
                passing_values,
                on_empty,
                on_error,
                use_io_coercion: _,
                use_json_coercion: _,
                wrapper: _,
                omit_quotes: _,
                collation: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(formatted_expr.as_deref_mut(), each);
                if let Some(child) = format {
                    each(Mut::JsonFormat(child));
                }
                one_mut(path_spec.as_deref_mut(), each);
                if let Some(child) = returning {
                    each(Mut::JsonReturning(child));
                }
                list_mut(passing_names, each);
                list_mut(passing_values, each);
                if let Some(child) = on_empty {
                    each(Mut::JsonBehavior(child));
                }
                if let Some(child) = on_error {
                    each(Mut::JsonBehavior(child));
                }
            }
            Self::JsonTablePath(JsonTablePath { name: _ }) => {}
            Self::JsonTablePathScan(JsonTablePathScan {
                plan,
                path,
                error_on_error: _,
                child,
                col_min: _,
                col_max: _,
            }) => {
                one_mut(plan.as_deref_mut(), each);
                if let Some(child) = path {
                    each(Mut::JsonTablePath(child));
                }
                one_mut(child.as_deref_mut(), each);
            }
            Self::JsonTableSiblingJoin(JsonTableSiblingJoin { plan, lplan, rplan }) => {
                one_mut(plan.as_deref_mut(), each);
                one_mut(lplan.as_deref_mut(), each);
                one_mut(rplan.as_deref_mut(), each);
            }
            Self::NullTest(NullTest {
                xpr,
                arg,
                nulltesttype: _,
                argisrow: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(arg.as_deref_mut(), each);
            }
            Self::BooleanTest(BooleanTest {
                xpr,
                arg,
                booltesttype: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(arg.as_deref_mut(), each);
            }
            Self::MergeAction(MergeAction {
                match_kind: _,
                command_type: _,
                r#override: _,
                qual,
                target_list,
                update_colnos,
            }) => {
                one_mut(qual.as_deref_mut(), each);
                list_mut(target_list, each);
                list_mut(update_colnos, each);
            }
            Self::CoerceToDomain(CoerceToDomain {
                xpr,
                arg,
                resulttype: _,
                resulttypmod: _,
                resultcollid: _,
                coercionformat: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(arg.as_deref_mut(), each);
            }
            Self::CoerceToDomainValue(CoerceToDomainValue {
                xpr,
                type_id: _,
                type_mod: _,
                collation: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
            }
            Self::SetToDefault(SetToDefault {
                xpr,
                type_id: _,
                type_mod: _,
                collation: _,
                location: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
            }
            Self::CurrentOfExpr(CurrentOfExpr {
                xpr,
                cvarno: _,
                cursor_name: _,
                cursor_param: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
            }
            Self::NextValueExpr(NextValueExpr {
                xpr,
                seqid: _,
                type_id: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
            }
            Self::InferenceElem(InferenceElem {
                xpr,
                expr,
                infercollid: _,
                inferopclass: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(expr.as_deref_mut(), each);
            }
            Self::ReturningExpr(ReturningExpr {
                xpr,
                retlevelsup: _,
                retold: _,
                retexpr,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(retexpr.as_deref_mut(), each);
            }
            Self::TargetEntry(TargetEntry {
                xpr,
                expr,
                resno: _,
                resname: _,
                ressortgroupref: _,
                resorigtbl: _,
                resorigcol: _,
                resjunk: _,
            }) => {
                one_mut(xpr.as_deref_mut(), each);
                one_mut(expr.as_deref_mut(), each);
            }
            Self::RangeTblRef(RangeTblRef { rtindex: _ }) => {}
            Self::JoinExpr(JoinExpr {
                jointype: _,
                is_natural: _,
                larg,
                rarg,
                using_clause,
                join_using_alias,
                quals,
                alias,
                rtindex: _,
            }) => {
                one_mut(larg.as_deref_mut(), each);
                one_mut(rarg.as_deref_mut(), each);
                list_mut(using_clause, each);
                if let Some(child) = join_using_alias {
                    each(Mut::Alias(child));
                }
                one_mut(quals.as_deref_mut(), each);
                if let Some(child) = alias {
                    each(Mut::Alias(child));
                }
            }
            Self::FromExpr(FromExpr { fromlist, quals }) => {
                list_mut(fromlist, each);
                one_mut(quals.as_deref_mut(), each);
            }
            Self::OnConflictExpr(OnConflictExpr {
                action: _,
                arbiter_elems,
                arbiter_where,
                constraint: _,
                on_conflict_set,
                on_conflict_where,
                excl_rel_index: _,
                excl_rel_tlist,
            }) => {
                list_mut(arbiter_elems, each);
                one_mut(arbiter_where.as_deref_mut(), each);
                list_mut(on_conflict_set, each);
                one_mut(on_conflict_where.as_deref_mut(), each);
                list_mut(excl_rel_tlist, each);
            }
            Self::Query(Query {
                command_type: _,
                query_source: _,
                can_set_tag: _,
                utility_stmt,
                result_relation: _,
                has_aggs: _,
                has_window_funcs: _,
                has_target_srfs: _,
                has_sub_links: _,
                has_distinct_on: _,
                has_recursive: _,
                has_modifying_cte: _,
                has_for_update: _,
                has_row_security: _,
                has_group_rte: _,
                is_return: _,
                cte_list,
                rtable,
                rteperminfos,
                jointree,
                merge_action_list,
                merge_target_relation: _,
                merge_join_condition,
                target_list,
                r#override: _,
                on_conflict,
                returning_old_alias: _,
                returning_new_alias: _,
                returning_list,
                group_clause,
                group_distinct: _,
                grouping_sets,
                having_qual,
                window_clause,
                distinct_clause,
                sort_clause,
                limit_offset,
                limit_count,
                limit_option: _,
                row_marks,
                set_operations,
                constraint_deps,
                with_check_options,
                stmt_location: _,
                stmt_len: _,
            }) => {
                one_mut(utility_stmt.as_deref_mut(), each);
                list_mut(cte_list, each);
                list_mut(rtable, each);
                list_mut(rteperminfos, each);
                if let Some(child) = jointree {
                    each(Mut::FromExpr(child));
                }
                list_mut(merge_action_list, each);
                one_mut(merge_join_condition.as_deref_mut(), each);
                list_mut(target_list, each);
                if let Some(child) = on_conflict {
                    each(Mut::OnConflictExpr(child));
                }
                list_mut(returning_list, each);
                list_mut(group_clause, each);
                list_mut(grouping_sets, each);
                one_mut(having_qual.as_deref_mut(), each);
                list_mut(window_clause, each);
                list_mut(distinct_clause, each);
                list_mut(sort_clause, each);
                one_mut(limit_offset.as_deref_mut(), each);
                one_mut(limit_count.as_deref_mut(), each);
                list_mut(row_marks, each);
                one_mut(set_operations.as_deref_mut(), each);
                list_mut(constraint_deps, each);
                list_mut(with_check_options, each);
            }
            Self::TypeName(TypeName {
                names,
                type_oid: _,
                setof: _,
                pct_type: _,
                typmods,
                typemod: _,
                array_bounds,
                location: _,
            }) => {
                list_mut(names, each);
                list_mut(typmods, each);
                list_mut(array_bounds, each);
            }
            Self::ColumnRef(ColumnRef {
                fields,
                location: _,
            }) => {
                list_mut(fields, each);
            }
            Self::ParamRef(ParamRef {
                number: _,
                location: _,
            }) => {}
            Self::AExpr(AExpr {
                kind: _,
                name,
                lexpr,
                rexpr,
                rexpr_list_start: _,
                rexpr_list_end: _,
                location: _,
            }) => {
                list_mut(name, each);
                one_mut(lexpr.as_deref_mut(), each);
                one_mut(rexpr.as_deref_mut(), each);
            }
            Self::TypeCast(TypeCast {
                arg,
                type_name,
                location: _,
            }) => {
                one_mut(arg.as_deref_mut(), each);
                if let Some(child) = type_name {
                    each(Mut::TypeName(child));
                }
            }
            Self::CollateClause(CollateClause {
                arg,
                collname,
                location: _,
            }) => {
                one_mut(arg.as_deref_mut(), each);
                list_mut(collname, each);
            }
            Self::RoleSpec(RoleSpec {
                roletype: _,
                rolename: _,
                location: _,
            }) => {}
            Self::FuncCall(FuncCall {
                funcname,
                args,
                agg_order,
                agg_filter,
                over,
                agg_within_group: _,
                agg_star: _,
                agg_distinct: _,
                func_variadic: _,
                funcformat: _,
                location: _,
            }) => {
                list_mut(funcname, each);
                list_mut(args, each);
                list_mut(agg_order, each);
                one_mut(agg_filter.as_deref_mut(), each);
                if let Some(child) = over {
                    each(Mut::WindowDef(child));
                }
            }
            Self::AStar(AStar {}) => {}
            Self::AIndices(AIndices {
                is_slice: _,
                lidx,
                uidx,
            }) => {
                one_mut(lidx.as_deref_mut(), each);
                one_mut(uidx.as_deref_mut(), each);
            }
            Self::AIndirection(AIndirection { arg, indirection }) => {
                one_mut(arg.as_deref_mut(), each);
                list_mut(indirection, each);
            }
            Self::AArrayExpr(AArrayExpr {
                elements,
                list_start: _,
                list_end: _,
                location: _,
            }) => {
                list_mut(elements, each);
            }
            Self::ResTarget(ResTarget {
                name: _,
                indirection,
                val,
                location: _,
            }) => {
                list_mut(indirection, each);
                one_mut(val.as_deref_mut(), each);
            }
            Self::MultiAssignRef(MultiAssignRef {
                source,
                colno: _,
                ncolumns: _,
            }) => {
                one_mut(source.as_deref_mut(), each);
            }
            Self::SortBy(SortBy {
                node,
                sortby_dir: _,
                sortby_nulls: _,
                use_op,
                location: _,
            }) => {
                one_mut(node.as_deref_mut(), each);
                list_mut(use_op, each);
            }
            Self::WindowDef(WindowDef {
                name: _,
                refname: _,
                partition_clause,
                order_clause,
                frame_options: _,
                start_offset,
                end_offset,
                location: _,
            }) => {
                list_mut(partition_clause, each);
                list_mut(order_clause, each);
                one_mut(start_offset.as_deref_mut(), each);
                one_mut(end_offset.as_deref_mut(), each);
            }
            Self::RangeSubselect(RangeSubselect {
                lateral: _,
                subquery,
                alias,
            }) => {
                one_mut(subquery.as_deref_mut(), each);
                if let Some(child) = alias {
                    each(Mut::Alias(child));
                }
            }
            Self::RangeFunction(RangeFunction {
                lateral: _,
                ordinality: _,
                is_rowsfrom: _,
                functions,
                alias,
                coldeflist,
            }) => {
                list_mut(functions, each);
                if let Some(child) = alias {
                    each(Mut::Alias(child));
                }
                list_mut(coldeflist, each);
            }
            Self::RangeTableFunc(RangeTableFunc {
                lateral: _,
                docexpr,
                rowexpr,
                namespaces,
                columns,
                alias,
                location: _,
            }) => {
                one_mut(docexpr.as_deref_mut(), each);
                one_mut(rowexpr.as_deref_mut(), each);
                list_mut(namespaces, each);
                list_mut(columns, each);
                if let Some(child) = alias {
                    each(Mut::Alias(child));
                }
            }
            Self::RangeTableFuncCol(RangeTableFuncCol {
                colname: _,
                type_name,
                for_ordinality: _,
                is_not_null: _,
                colexpr,
                coldefexpr,
                location: _,
            }) => {
                if let Some(child) = type_name {
                    each(Mut::TypeName(child));
                }
                one_mut(colexpr.as_deref_mut(), each);
                one_mut(coldefexpr.as_deref_mut(), each);
            }
            Self::RangeTableSample(RangeTableSample {
                relation,
                method,
                args,
                repeatable,
                location: _,
            }) => {
                one_mut(relation.as_deref_mut(), each);
                list_mut(method, each);
                list_mut(args, each);
                one_mut(repeatable.as_deref_mut(), each);
            }
            Self::ColumnDef(ColumnDef {
                colname: _,
                type_name,
                compression: _,
                inhcount: _,
                is_local: _,
                is_not_null: _,
                is_from_type: _,
                storage: _,
                storage_name: _,
                raw_default,
                cooked_default,
                identity: _,
                identity_sequence,
                generated: _,
                coll_clause,
                coll_oid: _,
                constraints,
                fdwoptions,
                location: _,
            }) => {
                if let Some(child) = type_name {
                    each(Mut::TypeName(child));
                }
                one_mut(raw_default.as_deref_mut(), each);
                one_mut(cooked_default.as_deref_mut(), each);
                if let Some(child) = identity_sequence {
                    each(Mut::RangeVar(child));
                }
                if let Some(child) = coll_clause {
                    each(Mut::CollateClause(child));
                }
                list_mut(constraints, each);
                list_mut(fdwoptions, each);
            }
            Self::TableLikeClause(TableLikeClause {
                relation,
                options: _,
                relation_oid: _,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
            }
            Self::IndexElem(IndexElem {
                name: _,
                expr,
                indexcolname: _,
                collation,
                opclass,
                opclassopts,
                ordering: _,
                nulls_ordering: _,
            }) => {
                one_mut(expr.as_deref_mut(), each);
                list_mut(collation, each);
                list_mut(opclass, each);
                list_mut(opclassopts, each);
            }
            Self::DefElem(DefElem {
                defnamespace: _,
                defname: _,
                arg,
                defaction: _,
                location: _,
                arg_location: _,
            }) => {
                one_mut(arg.as_deref_mut(), each);
            }
            Self::LockingClause(LockingClause {
                locked_rels,
                strength: _,
                wait_policy: _,
            }) => {
                list_mut(locked_rels, each);
            }
            Self::XmlSerialize(XmlSerialize {
                xmloption: _,
                expr,
                type_name,
                indent: _,
                location: _,
            }) => {
                one_mut(expr.as_deref_mut(), each);
                if let Some(child) = type_name {
                    each(Mut::TypeName(child));
                }
            }
            Self::PartitionElem(PartitionElem {
                name: _,
                expr,
                collation,
                opclass,
                location: _,
            }) => {
                one_mut(expr.as_deref_mut(), each);
                list_mut(collation, each);
                list_mut(opclass, each);
            }
            Self::PartitionSpec(PartitionSpec {
                strategy: _,
                part_params,
                location: _,
            }) => {
                list_mut(part_params, each);
            }
            Self::PartitionBoundSpec(PartitionBoundSpec {
                strategy: _,
                is_default: _,
                modulus: _,
                remainder: _,
                listdatums,
                lowerdatums,
                upperdatums,
                location: _,
            }) => {
                list_mut(listdatums, each);
                list_mut(lowerdatums, each);
                list_mut(upperdatums, each);
            }
            Self::PartitionRangeDatum(PartitionRangeDatum {
                kind: _,
                value,
                location: _,
            }) => {
                one_mut(value.as_deref_mut(), each);
            }
            Self::PartitionCmd(PartitionCmd {
                name,
                bound,
                concurrent: _,
            }) => {
                if let Some(child) = name {
                    each(Mut::RangeVar(child));
                }
                if let Some(child) = bound {
                    each(Mut::PartitionBoundSpec(child));
                }
            }
            Self::RangeTblEntry(RangeTblEntry {
                alias,
                eref,
                rtekind: _,
                relid: _,
                inh: _,
                relkind: _,
                rellockmode: _,
                perminfoindex: _,
                tablesample,
                subquery,
                security_barrier: _,
                jointype: _,
                joinmergedcols: _,
                joinaliasvars,
                joinleftcols,
                joinrightcols,
                join_using_alias,
                functions,
                funcordinality: _,
                tablefunc,
                values_lists,
                ctename: _,
                ctelevelsup: _,
                self_reference: _,
                coltypes,
                coltypmods,
                colcollations,
                enrname: _,
                enrtuples: _,
                groupexprs,
                lateral: _,
                in_from_cl: _,
                security_quals,
            }) => {
                if let Some(child) = alias {
                    each(Mut::Alias(child));
                }
                if let Some(child) = eref {
                    each(Mut::Alias(child));
                }
                if let Some(child) = tablesample {
                    each(Mut::TableSampleClause(child));
                }
                if let Some(child) = subquery {
                    each(Mut::Query(child));
                }
                list_mut(joinaliasvars, each);
                list_mut(joinleftcols, each);
                list_mut(joinrightcols, each);
                if let Some(child) = join_using_alias {
                    each(Mut::Alias(child));
                }
                list_mut(functions, each);
                if let Some(child) = tablefunc {
                    each(Mut::TableFunc(child));
                }
                list_mut(values_lists, each);
                list_mut(coltypes, each);
                list_mut(coltypmods, each);
                list_mut(colcollations, each);
                list_mut(groupexprs, each);
                list_mut(security_quals, each);
            }
            Self::RtePermissionInfo(RtePermissionInfo {
                relid: _,
                inh: _,
                required_perms: _,
                check_as_user: _,
                selected_cols: _,
                inserted_cols: _,
                updated_cols: _,
            }) => {}
            Self::RangeTblFunction(RangeTblFunction {
                funcexpr,
                funccolcount: _,
                funccolnames,
                funccoltypes,
                funccoltypmods,
                funccolcollations,
                funcparams: _,
            }) => {
                one_mut(funcexpr.as_deref_mut(), each);
                list_mut(funccolnames, each);
                list_mut(funccoltypes, each);
                list_mut(funccoltypmods, each);
                list_mut(funccolcollations, each);
            }
            Self::TableSampleClause(TableSampleClause {
                tsmhandler: _,
                args,
                repeatable,
            }) => {
                list_mut(args, each);
                one_mut(repeatable.as_deref_mut(), each);
            }
            Self::WithCheckOption(WithCheckOption {
                kind: _,
                relname: _,
                polname: _,
                qual,
                cascaded: _,
            }) => {
                one_mut(qual.as_deref_mut(), each);
            }
            Self::SortGroupClause(SortGroupClause {
                tle_sort_group_ref: _,
                eqop: _,
                sortop: _,
                reverse_sort: _,
                nulls_first: _,
                hashable: _,
            }) => {}
            Self::GroupingSet(GroupingSet {
                kind: _,
                content,
                location: _,
            }) => {
                list_mut(content, each);
            }
            Self::WindowClause(WindowClause {
                name: _,
                refname: _,
                partition_clause,
                order_clause,
                frame_options: _,
                start_offset,
                end_offset,
                start_in_range_func: _,
                end_in_range_func: _,
                in_range_coll: _,
                in_range_asc: _,
                in_range_nulls_first: _,
                winref: _,
                copied_order: _,
            }) => {
                list_mut(partition_clause, each);
                list_mut(order_clause, each);
                one_mut(start_offset.as_deref_mut(), each);
                one_mut(end_offset.as_deref_mut(), each);
            }
            Self::RowMarkClause(RowMarkClause {
                rti: _,
                strength: _,
                wait_policy: _,
                pushed_down: _,
            }) => {}
            Self::WithClause(WithClause {
                ctes,
                recursive: _,
                location: _,
            }) => {
                list_mut(ctes, each);
            }
            Self::InferClause(InferClause {
                index_elems,
                where_clause,
                conname: _,
                location: _,
            }) => {
                list_mut(index_elems, each);
                one_mut(where_clause.as_deref_mut(), each);
            }
            Self::OnConflictClause(OnConflictClause {
                action: _,
                infer,
                target_list,
                where_clause,
                location: _,
            }) => {
                if let Some(child) = infer {
                    each(Mut::InferClause(child));
                }
                list_mut(target_list, each);
                one_mut(where_clause.as_deref_mut(), each);
            }
            Self::CteSearchClause(CteSearchClause {
                search_col_list,
                search_breadth_first: _,
                search_seq_column: _,
                location: _,
            }) => {
                list_mut(search_col_list, each);
            }
            Self::CteCycleClause(CteCycleClause {
                cycle_col_list,
                cycle_mark_column: _,
                cycle_mark_value,
                cycle_mark_default,
                cycle_path_column: _,
                location: _,
                cycle_mark_type: _,
                cycle_mark_typmod: _,
                cycle_mark_collation: _,
                cycle_mark_neop: _,
            }) => {
                list_mut(cycle_col_list, each);
                one_mut(cycle_mark_value.as_deref_mut(), each);
                one_mut(cycle_mark_default.as_deref_mut(), each);
            }
            Self::CommonTableExpr(CommonTableExpr {
                ctename: _,
                aliascolnames,
                ctematerialized: _,
                ctequery,
                search_clause,
                cycle_clause,
                location: _,
                cterecursive: _,
                cterefcount: _,
                ctecolnames,
                ctecoltypes,
                ctecoltypmods,
                ctecolcollations,
            }) => {
                list_mut(aliascolnames, each);
                one_mut(ctequery.as_deref_mut(), each);
                if let Some(child) = search_clause {
                    each(Mut::CteSearchClause(child));
                }
                if let Some(child) = cycle_clause {
                    each(Mut::CteCycleClause(child));
                }
                list_mut(ctecolnames, each);
                list_mut(ctecoltypes, each);
                list_mut(ctecoltypmods, each);
                list_mut(ctecolcollations, each);
            }
            Self::MergeWhenClause(MergeWhenClause {
                match_kind: _,
                command_type: _,
                r#override: _,
                condition,
                target_list,
                values,
            }) => {
                one_mut(condition.as_deref_mut(), each);
                list_mut(target_list, each);
                list_mut(values, each);
            }
            Self::ReturningOption(ReturningOption {
                option: _,
                value: _,
                location: _,
            }) => {}
            Self::ReturningClause(ReturningClause { options, exprs }) => {
                list_mut(options, each);
                list_mut(exprs, each);
            }
            Self::TriggerTransition(TriggerTransition {
                name: _,
                is_new: _,
                is_table: _,
            }) => {}
            Self::JsonOutput(JsonOutput {
                type_name,
                returning,
            }) => {
                if let Some(child) = type_name {
                    each(Mut::TypeName(child));
                }
                if let Some(child) = returning {
                    each(Mut::JsonReturning(child));
                }
            }
            Self::JsonArgument(JsonArgument { val, name: _ }) => {
                if let Some(child) = val {
                    each(Mut::JsonValueExpr(child));
                }
            }
            Self::JsonFuncExpr(JsonFuncExpr {
                op: _,
                column_name: _,
                context_item,
                pathspec,
                passing,
                output,
                on_empty,
                on_error,
                wrapper: _,
                quotes: _,
                location: _,
            }) => {
                if let Some(child) = context_item {
                    each(Mut::JsonValueExpr(child));
                }
                one_mut(pathspec.as_deref_mut(), each);
                list_mut(passing, each);
                if let Some(child) = output {
                    each(Mut::JsonOutput(child));
                }
                if let Some(child) = on_empty {
                    each(Mut::JsonBehavior(child));
                }
                if let Some(child) = on_error {
                    each(Mut::JsonBehavior(child));
                }
            }
            Self::JsonTablePathSpec(JsonTablePathSpec {
                string,
                name: _,
                name_location: _,
                location: _,
            }) => {
                one_mut(string.as_deref_mut(), each);
            }
            Self::JsonTable(JsonTable {
                context_item,
                pathspec,
                passing,
                columns,
                on_error,
                alias,
                lateral: _,
                location: _,
            }) => {
                if let Some(child) = context_item {
                    each(Mut::JsonValueExpr(child));
                }
                if let Some(child) = pathspec {
                    each(Mut::JsonTablePathSpec(child));
                }
                list_mut(passing, each);
                list_mut(columns, each);
                if let Some(child) = on_error {
                    each(Mut::JsonBehavior(child));
                }
                if let Some(child) = alias {
                    each(Mut::Alias(child));
                }
            }
            Self::JsonTableColumn(JsonTableColumn {
                coltype: _,
                name: _,
                type_name,
                pathspec,
                format,
                wrapper: _,
                quotes: _,
                columns,
                on_empty,
                on_error,
                location: _,
            }) => {
                if let Some(child) = type_name {
                    each(Mut::TypeName(child));
                }
                if let Some(child) = pathspec {
                    each(Mut::JsonTablePathSpec(child));
                }
                if let Some(child) = format {
                    each(Mut::JsonFormat(child));
                }
                list_mut(columns, each);
                if let Some(child) = on_empty {
                    each(Mut::JsonBehavior(child));
                }
                if let Some(child) = on_error {
                    each(Mut::JsonBehavior(child));
                }
            }
            Self::JsonKeyValue(JsonKeyValue { key, value }) => {
                one_mut(key.as_deref_mut(), each);
                if let Some(child) = value {
                    each(Mut::JsonValueExpr(child));
                }
            }
            Self::JsonParseExpr(JsonParseExpr {
                expr,
                output,
                unique_keys: _,
                location: _,
            }) => {
                if let Some(child) = expr {
                    each(Mut::JsonValueExpr(child));
                }
                if let Some(child) = output {
                    each(Mut::JsonOutput(child));
                }
            }
            Self::JsonScalarExpr(JsonScalarExpr {
                expr,
                output,
                location: _,
            }) => {
                one_mut(expr.as_deref_mut(), each);
                if let Some(child) = output {
                    each(Mut::JsonOutput(child));
                }
            }
            Self::JsonSerializeExpr(JsonSerializeExpr {
                expr,
                output,
                location: _,
            }) => {
                if let Some(child) = expr {
                    each(Mut::JsonValueExpr(child));
                }
                if let Some(child) = output {
                    each(Mut::JsonOutput(child));
                }
            }
            Self::JsonObjectConstructor(JsonObjectConstructor {
                exprs,
                output,
                absent_on_null: _,
                unique: _,
                location: _,
            }) => {
                list_mut(exprs, each);
                if let Some(child) = output {
                    each(Mut::JsonOutput(child));
                }
            }
            Self::JsonArrayConstructor(JsonArrayConstructor {
                exprs,
                output,
                absent_on_null: _,
                location: _,
            }) => {
                list_mut(exprs, each);
                if let Some(child) = output {
                    each(Mut::JsonOutput(child));
                }
            }
            Self::JsonArrayQueryConstructor(JsonArrayQueryConstructor {
                query,
                output,
                format,
                absent_on_null: _,
                location: _,
            }) => {
                one_mut(query.as_deref_mut(), each);
                if let Some(child) = output {
                    each(Mut::JsonOutput(child));
                }
                if let Some(child) = format {
                    each(Mut::JsonFormat(child));
                }
            }
            Self::JsonAggConstructor(JsonAggConstructor {
                output,
                agg_filter,
                agg_order,
                over,
                location: _,
            }) => {
                if let Some(child) = output {
                    each(Mut::JsonOutput(child));
                }
                one_mut(agg_filter.as_deref_mut(), each);
                list_mut(agg_order, each);
                if let Some(child) = over {
                    each(Mut::WindowDef(child));
                }
            }
            Self::JsonObjectAgg(JsonObjectAgg {
                constructor,
                arg,
                absent_on_null: _,
                unique: _,
            }) => {
                if let Some(child) = constructor {
                    each(Mut::JsonAggConstructor(child));
                }
                if let Some(child) = arg {
                    each(Mut::JsonKeyValue(child));
                }
            }
            Self::JsonArrayAgg(JsonArrayAgg {
                constructor,
                arg,
                absent_on_null: _,
            }) => {
                if let Some(child) = constructor {
                    each(Mut::JsonAggConstructor(child));
                }
                if let Some(child) = arg {
                    each(Mut::JsonValueExpr(child));
                }
            }
            Self::RawStmt(RawStmt {
                stmt,
                stmt_location: _,
                stmt_len: _,
            }) => {
                one_mut(stmt.as_deref_mut(), each);
            }
            Self::InsertStmt(InsertStmt {
                relation,
                cols,
                select_stmt,
                on_conflict_clause,
                returning_clause,
                with_clause,
                r#override: _,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                list_mut(cols, each);
                one_mut(select_stmt.as_deref_mut(), each);
                if let Some(child) = on_conflict_clause {
                    each(Mut::OnConflictClause(child));
                }
                if let Some(child) = returning_clause {
                    each(Mut::ReturningClause(child));
                }
                if let Some(child) = with_clause {
                    each(Mut::WithClause(child));
                }
            }
            Self::DeleteStmt(DeleteStmt {
                relation,
                using_clause,
                where_clause,
                returning_clause,
                with_clause,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                list_mut(using_clause, each);
                one_mut(where_clause.as_deref_mut(), each);
                if let Some(child) = returning_clause {
                    each(Mut::ReturningClause(child));
                }
                if let Some(child) = with_clause {
                    each(Mut::WithClause(child));
                }
            }
            Self::UpdateStmt(UpdateStmt {
                relation,
                target_list,
                where_clause,
                from_clause,
                returning_clause,
                with_clause,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                list_mut(target_list, each);
                one_mut(where_clause.as_deref_mut(), each);
                list_mut(from_clause, each);
                if let Some(child) = returning_clause {
                    each(Mut::ReturningClause(child));
                }
                if let Some(child) = with_clause {
                    each(Mut::WithClause(child));
                }
            }
            Self::MergeStmt(MergeStmt {
                relation,
                source_relation,
                join_condition,
                merge_when_clauses,
                returning_clause,
                with_clause,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                one_mut(source_relation.as_deref_mut(), each);
                one_mut(join_condition.as_deref_mut(), each);
                list_mut(merge_when_clauses, each);
                if let Some(child) = returning_clause {
                    each(Mut::ReturningClause(child));
                }
                if let Some(child) = with_clause {
                    each(Mut::WithClause(child));
                }
            }
            Self::SelectStmt(SelectStmt {
                distinct_clause,
                into_clause,
                target_list,
                from_clause,
                where_clause,
                group_clause,
                group_distinct: _,
                having_clause,
                window_clause,
                values_lists,
                sort_clause,
                limit_offset,
                limit_count,
                limit_option: _,
                locking_clause,
                with_clause,
                op: _,
                all: _,
                larg,
                rarg,
            }) => {
                list_mut(distinct_clause, each);
                if let Some(child) = into_clause {
                    each(Mut::IntoClause(child));
                }
                list_mut(target_list, each);
                list_mut(from_clause, each);
                one_mut(where_clause.as_deref_mut(), each);
                list_mut(group_clause, each);
                one_mut(having_clause.as_deref_mut(), each);
                list_mut(window_clause, each);
                list_mut(values_lists, each);
                list_mut(sort_clause, each);
                one_mut(limit_offset.as_deref_mut(), each);
                one_mut(limit_count.as_deref_mut(), each);
                list_mut(locking_clause, each);
                if let Some(child) = with_clause {
                    each(Mut::WithClause(child));
                }
                if let Some(child) = larg {
                    each(Mut::SelectStmt(child));
                }
                if let Some(child) = rarg {
                    each(Mut::SelectStmt(child));
                }
            }
            Self::SetOperationStmt(SetOperationStmt {
                op: _,
                all: _,
                larg,
                rarg,
                col_types,
                col_typmods,
                col_collations,
                group_clauses,
            }) => {
                one_mut(larg.as_deref_mut(), each);
                one_mut(rarg.as_deref_mut(), each);
                list_mut(col_types, each);
                list_mut(col_typmods, each);
                list_mut(col_collations, each);
                list_mut(group_clauses, each);
            }
            Self::ReturnStmt(ReturnStmt { returnval }) => {
                one_mut(returnval.as_deref_mut(), each);
            }
            Self::PlAssignStmt(PlAssignStmt {
                name: _,
                indirection,
                nnames: _,
                val,
                location: _,
            }) => {
                list_mut(indirection, each);
                if let Some(child) = val {
                    each(Mut::SelectStmt(child));
                }
            }
            Self::CreateSchemaStmt(CreateSchemaStmt {
                schemaname: _,
                authrole,
                schema_elts,
                if_not_exists: _,
            }) => {
                if let Some(child) = authrole {
                    each(Mut::RoleSpec(child));
                }
                list_mut(schema_elts, each);
            }
            Self::AlterTableStmt(AlterTableStmt {
                relation,
                cmds,
                objtype: _,
                missing_ok: _,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                list_mut(cmds, each);
            }
            Self::AlterTableCmd(AlterTableCmd {
                subtype: _,
                name: _,
                num: _,
                newowner,
                def,
                behavior: _,
                missing_ok: _,
                recurse: _,
            }) => {
                if let Some(child) = newowner {
                    each(Mut::RoleSpec(child));
                }
                one_mut(def.as_deref_mut(), each);
            }
            Self::AtAlterConstraint(AtAlterConstraint {
                conname: _,
                alter_enforceability: _,
                is_enforced: _,
                alter_deferrability: _,
                deferrable: _,
                initdeferred: _,
                alter_inheritability: _,
                noinherit: _,
            }) => {}
            Self::ReplicaIdentityStmt(ReplicaIdentityStmt {
                identity_type: _,
                name: _,
            }) => {}
            Self::AlterCollationStmt(AlterCollationStmt { collname }) => {
                list_mut(collname, each);
            }
            Self::AlterDomainStmt(AlterDomainStmt {
                subtype: _,
                type_name,
                name: _,
                def,
                behavior: _,
                missing_ok: _,
            }) => {
                list_mut(type_name, each);
                one_mut(def.as_deref_mut(), each);
            }
            Self::GrantStmt(GrantStmt {
                is_grant: _,
                targtype: _,
                objtype: _,
                objects,
                privileges,
                grantees,
                grant_option: _,
                grantor,
                behavior: _,
            }) => {
                list_mut(objects, each);
                list_mut(privileges, each);
                list_mut(grantees, each);
                if let Some(child) = grantor {
                    each(Mut::RoleSpec(child));
                }
            }
            Self::ObjectWithArgs(ObjectWithArgs {
                objname,
                objargs,
                objfuncargs,
                args_unspecified: _,
            }) => {
                list_mut(objname, each);
                list_mut(objargs, each);
                list_mut(objfuncargs, each);
            }
            Self::AccessPriv(AccessPriv { priv_name: _, cols }) => {
                list_mut(cols, each);
            }
            Self::GrantRoleStmt(GrantRoleStmt {
                granted_roles,
                grantee_roles,
                is_grant: _,
                opt,
                grantor,
                behavior: _,
            }) => {
                list_mut(granted_roles, each);
                list_mut(grantee_roles, each);
                list_mut(opt, each);
                if let Some(child) = grantor {
                    each(Mut::RoleSpec(child));
                }
            }
            Self::AlterDefaultPrivilegesStmt(AlterDefaultPrivilegesStmt { options, action }) => {
                list_mut(options, each);
                if let Some(child) = action {
                    each(Mut::GrantStmt(child));
                }
            }
            Self::CopyStmt(CopyStmt {
                relation,
                query,
                attlist,
                is_from: _,
                is_program: _,
                filename: _,
                options,
                where_clause,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                one_mut(query.as_deref_mut(), each);
                list_mut(attlist, each);
                list_mut(options, each);
                one_mut(where_clause.as_deref_mut(), each);
            }
            Self::VariableSetStmt(VariableSetStmt {
                kind: _,
                name: _,
                args,
                jumble_args: _,
                is_local: _,
                location: _,
            }) => {
                list_mut(args, each);
            }
            Self::VariableShowStmt(VariableShowStmt { name: _ }) => {}
            Self::CreateStmt(CreateStmt {
                relation,
                table_elts,
                inh_relations,
                partbound,
                partspec,
                of_typename,
                constraints,
                nnconstraints,
                options,
                oncommit: _,
                tablespacename: _,
                access_method: _,
                if_not_exists: _,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                list_mut(table_elts, each);
                list_mut(inh_relations, each);
                if let Some(child) = partbound {
                    each(Mut::PartitionBoundSpec(child));
                }
                if let Some(child) = partspec {
                    each(Mut::PartitionSpec(child));
                }
                if let Some(child) = of_typename {
                    each(Mut::TypeName(child));
                }
                list_mut(constraints, each);
                list_mut(nnconstraints, each);
                list_mut(options, each);
            }
            Self::Constraint(Constraint {
                contype: _,
                conname: _,
                deferrable: _,
                initdeferred: _,
                is_enforced: _,
                skip_validation: _,
                initially_valid: _,
                is_no_inherit: _,
                raw_expr,
                cooked_expr: _,
                generated_when: _,
                generated_kind: _,
                nulls_not_distinct: _,
                keys,
                without_overlaps: _,
                including,
                exclusions,
                options,
                indexname: _,
                indexspace: _,
                reset_default_tblspc: _,
                access_method: _,
                where_clause,
                pktable,
                fk_attrs,
                pk_attrs,
                fk_with_period: _,
                pk_with_period: _,
                fk_matchtype: _,
                fk_upd_action: _,
                fk_del_action: _,
                fk_del_set_cols,
                old_conpfeqop,
                old_pktable_oid: _,
                location: _,
            }) => {
                one_mut(raw_expr.as_deref_mut(), each);
                list_mut(keys, each);
                list_mut(including, each);
                list_mut(exclusions, each);
                list_mut(options, each);
                one_mut(where_clause.as_deref_mut(), each);
                if let Some(child) = pktable {
                    each(Mut::RangeVar(child));
                }
                list_mut(fk_attrs, each);
                list_mut(pk_attrs, each);
                list_mut(fk_del_set_cols, each);
                list_mut(old_conpfeqop, each);
            }
            Self::CreateTableSpaceStmt(CreateTableSpaceStmt {
                tablespacename: _,
                owner,
                location: _,
                options,
            }) => {
                if let Some(child) = owner {
                    each(Mut::RoleSpec(child));
                }
                list_mut(options, each);
            }
            Self::DropTableSpaceStmt(DropTableSpaceStmt {
                tablespacename: _,
                missing_ok: _,
            }) => {}
            Self::AlterTableSpaceOptionsStmt(AlterTableSpaceOptionsStmt {
                tablespacename: _,
                options,
                is_reset: _,
            }) => {
                list_mut(options, each);
            }
            Self::AlterTableMoveAllStmt(AlterTableMoveAllStmt {
                orig_tablespacename: _,
                objtype: _,
                roles,
                new_tablespacename: _,
                nowait: _,
            }) => {
                list_mut(roles, each);
            }
            Self::CreateExtensionStmt(CreateExtensionStmt {
                extname: _,
                if_not_exists: _,
                options,
            }) => {
                list_mut(options, each);
            }
            Self::AlterExtensionStmt(AlterExtensionStmt {
                extname: _,
                options,
            }) => {
                list_mut(options, each);
            }
            Self::AlterExtensionContentsStmt(AlterExtensionContentsStmt {
                extname: _,
                action: _,
                objtype: _,
                object,
            }) => {
                one_mut(object.as_deref_mut(), each);
            }
            Self::CreateFdwStmt(CreateFdwStmt {
                fdwname: _,
                func_options,
                options,
            }) => {
                list_mut(func_options, each);
                list_mut(options, each);
            }
            Self::AlterFdwStmt(AlterFdwStmt {
                fdwname: _,
                func_options,
                options,
            }) => {
                list_mut(func_options, each);
                list_mut(options, each);
            }
            Self::CreateForeignServerStmt(CreateForeignServerStmt {
                servername: _,
                servertype: _,
                version: _,
                fdwname: _,
                if_not_exists: _,
                options,
            }) => {
                list_mut(options, each);
            }
            Self::AlterForeignServerStmt(AlterForeignServerStmt {
                servername: _,
                version: _,
                options,
                has_version: _,
            }) => {
                list_mut(options, each);
            }
            Self::CreateForeignTableStmt(CreateForeignTableStmt {
                base_stmt,
                servername: _,
                options,
            }) => {
                if let Some(child) = base_stmt {
                    each(Mut::CreateStmt(child));
                }
                list_mut(options, each);
            }
            Self::CreateUserMappingStmt(CreateUserMappingStmt {
                user,
                servername: _,
                if_not_exists: _,
                options,
            }) => {
                if let Some(child) = user {
                    each(Mut::RoleSpec(child));
                }
                list_mut(options, each);
            }
            Self::AlterUserMappingStmt(AlterUserMappingStmt {
                user,
                servername: _,
                options,
            }) => {
                if let Some(child) = user {
                    each(Mut::RoleSpec(child));
                }
                list_mut(options, each);
            }
            Self::DropUserMappingStmt(DropUserMappingStmt {
                user,
                servername: _,
                missing_ok: _,
            }) => {
                if let Some(child) = user {
                    each(Mut::RoleSpec(child));
                }
            }
            Self::ImportForeignSchemaStmt(ImportForeignSchemaStmt {
                server_name: _,
                remote_schema: _,
                local_schema: _,
                list_type: _,
                table_list,
                options,
            }) => {
                list_mut(table_list, each);
                list_mut(options, each);
            }
            Self::CreatePolicyStmt(CreatePolicyStmt {
                policy_name: _,
                table,
                cmd_name: _,
                permissive: _,
                roles,
                qual,
                with_check,
            }) => {
                if let Some(child) = table {
                    each(Mut::RangeVar(child));
                }
                list_mut(roles, each);
                one_mut(qual.as_deref_mut(), each);
                one_mut(with_check.as_deref_mut(), each);
            }
            Self::AlterPolicyStmt(AlterPolicyStmt {
                policy_name: _,
                table,
                roles,
                qual,
                with_check,
            }) => {
                if let Some(child) = table {
                    each(Mut::RangeVar(child));
                }
                list_mut(roles, each);
                one_mut(qual.as_deref_mut(), each);
                one_mut(with_check.as_deref_mut(), each);
            }
            Self::CreateAmStmt(CreateAmStmt {
                amname: _,
                handler_name,
                amtype: _,
            }) => {
                list_mut(handler_name, each);
            }
            Self::CreateTrigStmt(CreateTrigStmt {
                replace: _,
                isconstraint: _,
                trigname: _,
                relation,
                funcname,
                args,
                row: _,
                timing: _,
                events: _,
                columns,
                when_clause,
                transition_rels,
                deferrable: _,
                initdeferred: _,
                constrrel,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                list_mut(funcname, each);
                list_mut(args, each);
                list_mut(columns, each);
                one_mut(when_clause.as_deref_mut(), each);
                list_mut(transition_rels, each);
                if let Some(child) = constrrel {
                    each(Mut::RangeVar(child));
                }
            }
            Self::CreateEventTrigStmt(CreateEventTrigStmt {
                trigname: _,
                eventname: _,
                whenclause,
                funcname,
            }) => {
                list_mut(whenclause, each);
                list_mut(funcname, each);
            }
            Self::AlterEventTrigStmt(AlterEventTrigStmt {
                trigname: _,
                tgenabled: _,
            }) => {}
            Self::CreatePLangStmt(CreatePLangStmt {
                replace: _,
                plname: _,
                plhandler,
                plinline,
                plvalidator,
                pltrusted: _,
            }) => {
                list_mut(plhandler, each);
                list_mut(plinline, each);
                list_mut(plvalidator, each);
            }
            Self::CreateRoleStmt(CreateRoleStmt {
                stmt_type: _,
                role: _,
                options,
            }) => {
                list_mut(options, each);
            }
            Self::AlterRoleStmt(AlterRoleStmt {
                role,
                options,
                action: _,
            }) => {
                if let Some(child) = role {
                    each(Mut::RoleSpec(child));
                }
                list_mut(options, each);
            }
            Self::AlterRoleSetStmt(AlterRoleSetStmt {
                role,
                database: _,
                setstmt,
            }) => {
                if let Some(child) = role {
                    each(Mut::RoleSpec(child));
                }
                if let Some(child) = setstmt {
                    each(Mut::VariableSetStmt(child));
                }
            }
            Self::DropRoleStmt(DropRoleStmt {
                roles,
                missing_ok: _,
            }) => {
                list_mut(roles, each);
            }
            Self::CreateSeqStmt(CreateSeqStmt {
                sequence,
                options,
                owner_id: _,
                for_identity: _,
                if_not_exists: _,
            }) => {
                if let Some(child) = sequence {
                    each(Mut::RangeVar(child));
                }
                list_mut(options, each);
            }
            Self::AlterSeqStmt(AlterSeqStmt {
                sequence,
                options,
                for_identity: _,
                missing_ok: _,
            }) => {
                if let Some(child) = sequence {
                    each(Mut::RangeVar(child));
                }
                list_mut(options, each);
            }
            Self::DefineStmt(DefineStmt {
                kind: _,
                oldstyle: _,
                defnames,
                args,
                definition,
                if_not_exists: _,
                replace: _,
            }) => {
                list_mut(defnames, each);
                list_mut(args, each);
                list_mut(definition, each);
            }
            Self::CreateDomainStmt(CreateDomainStmt {
                domainname,
                type_name,
                coll_clause,
                constraints,
            }) => {
                list_mut(domainname, each);
                if let Some(child) = type_name {
                    each(Mut::TypeName(child));
                }
                if let Some(child) = coll_clause {
                    each(Mut::CollateClause(child));
                }
                list_mut(constraints, each);
            }
            Self::CreateOpClassStmt(CreateOpClassStmt {
                opclassname,
                opfamilyname,
                amname: _,
                datatype,
                items,
                is_default: _,
            }) => {
                list_mut(opclassname, each);
                list_mut(opfamilyname, each);
                if let Some(child) = datatype {
                    each(Mut::TypeName(child));
                }
                list_mut(items, each);
            }
            Self::CreateOpClassItem(CreateOpClassItem {
                itemtype: _,
                name,
                number: _,
                order_family,
                class_args,
                storedtype,
            }) => {
                if let Some(child) = name {
                    each(Mut::ObjectWithArgs(child));
                }
                list_mut(order_family, each);
                list_mut(class_args, each);
                if let Some(child) = storedtype {
                    each(Mut::TypeName(child));
                }
            }
            Self::CreateOpFamilyStmt(CreateOpFamilyStmt {
                opfamilyname,
                amname: _,
            }) => {
                list_mut(opfamilyname, each);
            }
            Self::AlterOpFamilyStmt(AlterOpFamilyStmt {
                opfamilyname,
                amname: _,
                is_drop: _,
                items,
            }) => {
                list_mut(opfamilyname, each);
                list_mut(items, each);
            }
            Self::DropStmt(DropStmt {
                objects,
                remove_type: _,
                behavior: _,
                missing_ok: _,
                concurrent: _,
            }) => {
                list_mut(objects, each);
            }
            Self::TruncateStmt(TruncateStmt {
                relations,
                restart_seqs: _,
                behavior: _,
            }) => {
                list_mut(relations, each);
            }
            Self::CommentStmt(CommentStmt {
                objtype: _,
                object,
                comment: _,
            }) => {
                one_mut(object.as_deref_mut(), each);
            }
            Self::SecLabelStmt(SecLabelStmt {
                objtype: _,
                object,
                provider: _,
                label: _,
            }) => {
                one_mut(object.as_deref_mut(), each);
            }
            Self::DeclareCursorStmt(DeclareCursorStmt {
                portalname: _,
                options: _,
                query,
            }) => {
                one_mut(query.as_deref_mut(), each);
            }
            Self::ClosePortalStmt(ClosePortalStmt { portalname: _ }) => {}
            Self::FetchStmt(FetchStmt {
                direction: _,
                how_many: _,
                portalname: _,
                ismove: _,
            }) => {}
            Self::IndexStmt(IndexStmt {
                idxname: _,
                relation,
                access_method: _,
                table_space: _,
                index_params,
                index_including_params,
                options,
                where_clause,
                exclude_op_names,
                idxcomment: _,
                index_oid: _,
                old_number: _,
                old_create_subid: _,
                old_first_relfilelocator_subid: _,
                unique: _,
                nulls_not_distinct: _,
                primary: _,
                isconstraint: _,
                iswithoutoverlaps: _,
                deferrable: _,
                initdeferred: _,
                transformed: _,
                concurrent: _,
                if_not_exists: _,
                reset_default_tblspc: _,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                list_mut(index_params, each);
                list_mut(index_including_params, each);
                list_mut(options, each);
                one_mut(where_clause.as_deref_mut(), each);
                list_mut(exclude_op_names, each);
            }
            Self::CreateStatsStmt(CreateStatsStmt {
                defnames,
                stat_types,
                exprs,
                relations,
                stxcomment: _,
                transformed: _,
                if_not_exists: _,
            }) => {
                list_mut(defnames, each);
                list_mut(stat_types, each);
                list_mut(exprs, each);
                list_mut(relations, each);
            }
            Self::StatsElem(StatsElem { name: _, expr }) => {
                one_mut(expr.as_deref_mut(), each);
            }
            Self::AlterStatsStmt(AlterStatsStmt {
                defnames,
                stxstattarget,
                missing_ok: _,
            }) => {
                list_mut(defnames, each);
                one_mut(stxstattarget.as_deref_mut(), each);
            }
            Self::CreateFunctionStmt(CreateFunctionStmt {
                is_procedure: _,
                replace: _,
                funcname,
                parameters,
                return_type,
                options,
                sql_body,
            }) => {
                list_mut(funcname, each);
                list_mut(parameters, each);
                if let Some(child) = return_type {
                    each(Mut::TypeName(child));
                }
                list_mut(options, each);
                one_mut(sql_body.as_deref_mut(), each);
            }
            Self::FunctionParameter(FunctionParameter {
                name: _,
                arg_type,
                mode: _,
                defexpr,
                location: _,
            }) => {
                if let Some(child) = arg_type {
                    each(Mut::TypeName(child));
                }
                one_mut(defexpr.as_deref_mut(), each);
            }
            Self::AlterFunctionStmt(AlterFunctionStmt {
                objtype: _,
                func,
                actions,
            }) => {
                if let Some(child) = func {
                    each(Mut::ObjectWithArgs(child));
                }
                list_mut(actions, each);
            }
            Self::DoStmt(DoStmt { args }) => {
                list_mut(args, each);
            }
            Self::InlineCodeBlock(InlineCodeBlock {
                source_text: _,
                lang_oid: _,
                lang_is_trusted: _,
                atomic: _,
            }) => {}
            Self::CallStmt(CallStmt {
                funccall,
                funcexpr,
                outargs,
            }) => {
                if let Some(child) = funccall {
                    each(Mut::FuncCall(child));
                }
                if let Some(child) = funcexpr {
                    each(Mut::FuncExpr(child));
                }
                list_mut(outargs, each);
            }
            Self::CallContext(CallContext { atomic: _ }) => {}
            Self::RenameStmt(RenameStmt {
                rename_type: _,
                relation_type: _,
                relation,
                object,
                subname: _,
                newname: _,
                behavior: _,
                missing_ok: _,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                one_mut(object.as_deref_mut(), each);
            }
            Self::AlterObjectDependsStmt(AlterObjectDependsStmt {
                object_type: _,
                relation,
                object,
                extname,
                remove: _,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                one_mut(object.as_deref_mut(), each);
                if let Some(child) = extname {
                    each(Mut::String(child));
                }
            }
            Self::AlterObjectSchemaStmt(AlterObjectSchemaStmt {
                object_type: _,
                relation,
                object,
                newschema: _,
                missing_ok: _,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                one_mut(object.as_deref_mut(), each);
            }
            Self::AlterOwnerStmt(AlterOwnerStmt {
                object_type: _,
                relation,
                object,
                newowner,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                one_mut(object.as_deref_mut(), each);
                if let Some(child) = newowner {
                    each(Mut::RoleSpec(child));
                }
            }
            Self::AlterOperatorStmt(AlterOperatorStmt { opername, options }) => {
                if let Some(child) = opername {
                    each(Mut::ObjectWithArgs(child));
                }
                list_mut(options, each);
            }
            Self::AlterTypeStmt(AlterTypeStmt { type_name, options }) => {
                list_mut(type_name, each);
                list_mut(options, each);
            }
            Self::RuleStmt(RuleStmt {
                relation,
                rulename: _,
                where_clause,
                event: _,
                instead: _,
                actions,
                replace: _,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                one_mut(where_clause.as_deref_mut(), each);
                list_mut(actions, each);
            }
            Self::NotifyStmt(NotifyStmt {
                conditionname: _,
                payload: _,
                payload_location: _,
            }) => {}
            Self::ListenStmt(ListenStmt { conditionname: _ }) => {}
            Self::UnlistenStmt(UnlistenStmt { conditionname: _ }) => {}
            Self::TransactionStmt(TransactionStmt {
                kind: _,
                options,
                savepoint_name: _,
                gid: _,
                chain: _,
                location: _,
            }) => {
                list_mut(options, each);
            }
            Self::CompositeTypeStmt(CompositeTypeStmt {
                typevar,
                coldeflist,
            }) => {
                if let Some(child) = typevar {
                    each(Mut::RangeVar(child));
                }
                list_mut(coldeflist, each);
            }
            Self::CreateEnumStmt(CreateEnumStmt { type_name, vals }) => {
                list_mut(type_name, each);
                list_mut(vals, each);
            }
            Self::CreateRangeStmt(CreateRangeStmt { type_name, params }) => {
                list_mut(type_name, each);
                list_mut(params, each);
            }
            Self::AlterEnumStmt(AlterEnumStmt {
                type_name,
                old_val: _,
                new_val: _,
                new_val_neighbor: _,
                new_val_is_after: _,
                skip_if_new_val_exists: _,
            }) => {
                list_mut(type_name, each);
            }
            Self::ViewStmt(ViewStmt {
                view,
                aliases,
                query,
                replace: _,
                options,
                with_check_option: _,
            }) => {
                if let Some(child) = view {
                    each(Mut::RangeVar(child));
                }
                list_mut(aliases, each);
                one_mut(query.as_deref_mut(), each);
                list_mut(options, each);
            }
            Self::LoadStmt(LoadStmt { filename: _ }) => {}
            Self::CreatedbStmt(CreatedbStmt { dbname: _, options }) => {
                list_mut(options, each);
            }
            Self::AlterDatabaseStmt(AlterDatabaseStmt { dbname: _, options }) => {
                list_mut(options, each);
            }
            Self::AlterDatabaseRefreshCollStmt(AlterDatabaseRefreshCollStmt { dbname: _ }) => {}
            Self::AlterDatabaseSetStmt(AlterDatabaseSetStmt { dbname: _, setstmt }) => {
                if let Some(child) = setstmt {
                    each(Mut::VariableSetStmt(child));
                }
            }
            Self::DropdbStmt(DropdbStmt {
                dbname: _,
                missing_ok: _,
                options,
            }) => {
                list_mut(options, each);
            }
            Self::AlterSystemStmt(AlterSystemStmt { setstmt }) => {
                if let Some(child) = setstmt {
                    each(Mut::VariableSetStmt(child));
                }
            }
            Self::ClusterStmt(ClusterStmt {
                relation,
                indexname: _,
                params,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                list_mut(params, each);
            }
            Self::VacuumStmt(VacuumStmt {
                options,
                rels,
                is_vacuumcmd: _,
            }) => {
                list_mut(options, each);
                list_mut(rels, each);
            }
            Self::VacuumRelation(VacuumRelation {
                relation,
                oid: _,
                va_cols,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                list_mut(va_cols, each);
            }
            Self::ExplainStmt(ExplainStmt { query, options }) => {
                one_mut(query.as_deref_mut(), each);
                list_mut(options, each);
            }
            Self::CreateTableAsStmt(CreateTableAsStmt {
                query,
                into,
                objtype: _,
                is_select_into: _,
                if_not_exists: _,
            }) => {
                one_mut(query.as_deref_mut(), each);
                if let Some(child) = into {
                    each(Mut::IntoClause(child));
                }
            }
            Self::RefreshMatViewStmt(RefreshMatViewStmt {
                concurrent: _,
                skip_data: _,
                relation,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
            }
            Self::CheckPointStmt(CheckPointStmt {}) => {}
            Self::DiscardStmt(DiscardStmt { target: _ }) => {}
            Self::LockStmt(LockStmt {
                relations,
                mode: _,
                nowait: _,
            }) => {
                list_mut(relations, each);
            }
            Self::ConstraintsSetStmt(ConstraintsSetStmt {
                constraints,
                deferred: _,
            }) => {
                list_mut(constraints, each);
            }
            Self::ReindexStmt(ReindexStmt {
                kind: _,
                relation,
                name: _,
                params,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                list_mut(params, each);
            }
            Self::CreateConversionStmt(CreateConversionStmt {
                conversion_name,
                for_encoding_name: _,
                to_encoding_name: _,
                func_name,
                def: _,
            }) => {
                list_mut(conversion_name, each);
                list_mut(func_name, each);
            }
            Self::CreateCastStmt(CreateCastStmt {
                sourcetype,
                targettype,
                func,
                context: _,
                inout: _,
            }) => {
                if let Some(child) = sourcetype {
                    each(Mut::TypeName(child));
                }
                if let Some(child) = targettype {
                    each(Mut::TypeName(child));
                }
                if let Some(child) = func {
                    each(Mut::ObjectWithArgs(child));
                }
            }
            Self::CreateTransformStmt(CreateTransformStmt {
                replace: _,
                type_name,
                lang: _,
                fromsql,
                tosql,
            }) => {
                if let Some(child) = type_name {
                    each(Mut::TypeName(child));
                }
                if let Some(child) = fromsql {
                    each(Mut::ObjectWithArgs(child));
                }
                if let Some(child) = tosql {
                    each(Mut::ObjectWithArgs(child));
                }
            }
            Self::PrepareStmt(PrepareStmt {
                name: _,
                argtypes,
                query,
            }) => {
                list_mut(argtypes, each);
                one_mut(query.as_deref_mut(), each);
            }
            Self::ExecuteStmt(ExecuteStmt { name: _, params }) => {
                list_mut(params, each);
            }
            Self::DeallocateStmt(DeallocateStmt {
                name: _,
                isall: _,
                location: _,
            }) => {}
            Self::DropOwnedStmt(DropOwnedStmt { roles, behavior: _ }) => {
                list_mut(roles, each);
            }
            Self::ReassignOwnedStmt(ReassignOwnedStmt { roles, newrole }) => {
                list_mut(roles, each);
                if let Some(child) = newrole {
                    each(Mut::RoleSpec(child));
                }
            }
            Self::AlterTsDictionaryStmt(AlterTsDictionaryStmt { dictname, options }) => {
                list_mut(dictname, each);
                list_mut(options, each);
            }
            Self::AlterTsConfigurationStmt(AlterTsConfigurationStmt {
                kind: _,
                cfgname,
                tokentype,
                dicts,
                r#override: _,
                replace: _,
                missing_ok: _,
            }) => {
                list_mut(cfgname, each);
                list_mut(tokentype, each);
                list_mut(dicts, each);
            }
            Self::PublicationTable(PublicationTable {
                relation,
                where_clause,
                columns,
            }) => {
                if let Some(child) = relation {
                    each(Mut::RangeVar(child));
                }
                one_mut(where_clause.as_deref_mut(), each);
                list_mut(columns, each);
            }
            Self::PublicationObjSpec(PublicationObjSpec {
                pubobjtype: _,
                name: _,
                pubtable,
                location: _,
            }) => {
                if let Some(child) = pubtable {
                    each(Mut::PublicationTable(child));
                }
            }
            Self::CreatePublicationStmt(CreatePublicationStmt {
                pubname: _,
                options,
                pubobjects,
                for_all_tables: _,
            }) => {
                list_mut(options, each);
                list_mut(pubobjects, each);
            }
            Self::AlterPublicationStmt(AlterPublicationStmt {
                pubname: _,
                options,
                pubobjects,
                for_all_tables: _,
                action: _,
            }) => {
                list_mut(options, each);
                list_mut(pubobjects, each);
            }
            Self::CreateSubscriptionStmt(CreateSubscriptionStmt {
                subname: _,
                conninfo: _,
                publication,
                options,
                conninfo_location: _,
            }) => {
                list_mut(publication, each);
                list_mut(options, each);
            }
            Self::AlterSubscriptionStmt(AlterSubscriptionStmt {
                kind: _,
                subname: _,
                conninfo: _,
                publication,
                options,
                conninfo_location: _,
            }) => {
                list_mut(publication, each);
                list_mut(options, each);
            }
            Self::DropSubscriptionStmt(DropSubscriptionStmt {
                subname: _,
                missing_ok: _,
                behavior: _,
            }) => {}
            Self::Integer(Integer { ival: _ }) => {}
            Self::Float(Float { fval: _ }) => {}
            Self::Boolean(Boolean { boolval: _ }) => {}
            Self::String(String { sval: _ }) => {}
            Self::BitString(BitString { bsval: _ }) => {}
            Self::List(List { items }) => {
                list_mut(items, each);
            }
            Self::IntList(IntList { items }) => {
                list_mut(items, each);
            }
            Self::OidList(OidList { items }) => {
                list_mut(items, each);
            }
            Self::AConst(AConst {
                isnull: _,
                location: _,
                val: _,
            }) => {}
        }
    }

    /// Sets every place in the text to 0, that trees of different texts may be compared.
    pub(super) fn forget_place(&mut self) {
        match self {
            Self::RangeVar(RangeVar { location, .. }) => {
                *location = 0;
            }
            Self::TableFunc(TableFunc { location, .. }) => {
                *location = 0;
            }
            Self::Var(Var { location, .. }) => {
                *location = 0;
            }
            Self::Param(Param { location, .. }) => {
                *location = 0;
            }
            Self::Aggref(Aggref { location, .. }) => {
                *location = 0;
            }
            Self::GroupingFunc(GroupingFunc { location, .. }) => {
                *location = 0;
            }
            Self::WindowFunc(WindowFunc { location, .. }) => {
                *location = 0;
            }
            Self::MergeSupportFunc(MergeSupportFunc { location, .. }) => {
                *location = 0;
            }
            Self::FuncExpr(FuncExpr { location, .. }) => {
                *location = 0;
            }
            Self::NamedArgExpr(NamedArgExpr { location, .. }) => {
                *location = 0;
            }
            Self::OpExpr(OpExpr { location, .. }) => {
                *location = 0;
            }
            Self::DistinctExpr(DistinctExpr { location, .. }) => {
                *location = 0;
            }
            Self::NullIfExpr(NullIfExpr { location, .. }) => {
                *location = 0;
            }
            Self::ScalarArrayOpExpr(ScalarArrayOpExpr { location, .. }) => {
                *location = 0;
            }
            Self::BoolExpr(BoolExpr { location, .. }) => {
                *location = 0;
            }
            Self::SubLink(SubLink { location, .. }) => {
                *location = 0;
            }
            Self::RelabelType(RelabelType { location, .. }) => {
                *location = 0;
            }
            Self::CoerceViaIo(CoerceViaIo { location, .. }) => {
                *location = 0;
            }
            Self::ArrayCoerceExpr(ArrayCoerceExpr { location, .. }) => {
                *location = 0;
            }
            Self::ConvertRowtypeExpr(ConvertRowtypeExpr { location, .. }) => {
                *location = 0;
            }
            Self::CollateExpr(CollateExpr { location, .. }) => {
                *location = 0;
            }
            Self::CaseExpr(CaseExpr { location, .. }) => {
                *location = 0;
            }
            Self::CaseWhen(CaseWhen { location, .. }) => {
                *location = 0;
            }
            Self::ArrayExpr(ArrayExpr {
                list_start,
                list_end,
                location,
                ..
            }) => {
                *list_start = 0;
                *list_end = 0;
                *location = 0;
            }
            Self::RowExpr(RowExpr { location, .. }) => {
                *location = 0;
            }
            Self::CoalesceExpr(CoalesceExpr { location, .. }) => {
                *location = 0;
            }
            Self::MinMaxExpr(MinMaxExpr { location, .. }) => {
                *location = 0;
            }
            Self::SqlValueFunction(SqlValueFunction { location, .. }) => {
                *location = 0;
            }
            Self::XmlExpr(XmlExpr { location, .. }) => {
                *location = 0;
            }
            Self::JsonFormat(JsonFormat { location, .. }) => {
                *location = 0;
            }
            Self::JsonConstructorExpr(JsonConstructorExpr { location, .. }) => {
                *location = 0;
            }
            Self::JsonIsPredicate(JsonIsPredicate { location, .. }) => {
                *location = 0;
            }
            Self::JsonBehavior(JsonBehavior { location, .. }) => {
                *location = 0;
            }
            Self::JsonExpr(JsonExpr { location, .. }) => {
                *location = 0;
            }
            Self::NullTest(NullTest { location, .. }) => {
                *location = 0;
            }
            Self::BooleanTest(BooleanTest { location, .. }) => {
                *location = 0;
            }
            Self::CoerceToDomain(CoerceToDomain { location, .. }) => {
                *location = 0;
            }
            Self::CoerceToDomainValue(CoerceToDomainValue { location, .. }) => {
                *location = 0;
            }
            Self::SetToDefault(SetToDefault { location, .. }) => {
                *location = 0;
            }
            Self::Query(Query {
                stmt_location,
                stmt_len,
                ..
            }) => {
                *stmt_location = 0;
                *stmt_len = 0;
            }
            Self::TypeName(TypeName { location, .. }) => {
                *location = 0;
            }
            Self::ColumnRef(ColumnRef { location, .. }) => {
                *location = 0;
            }
            Self::ParamRef(ParamRef { location, .. }) => {
                *location = 0;
            }
            Self::AExpr(AExpr {
                rexpr_list_start,
                rexpr_list_end,
                location,
                ..
            }) => {
                *rexpr_list_start = 0;
                *rexpr_list_end = 0;
                *location = 0;
            }
            Self::TypeCast(TypeCast { location, .. }) => {
                *location = 0;
            }
            Self::CollateClause(CollateClause { location, .. }) => {
                *location = 0;
            }
            Self::RoleSpec(RoleSpec { location, .. }) => {
                *location = 0;
            }
            Self::FuncCall(FuncCall { location, .. }) => {
                *location = 0;
            }
            Self::AArrayExpr(AArrayExpr {
                list_start,
                list_end,
                location,
                ..
            }) => {
                *list_start = 0;
                *list_end = 0;
                *location = 0;
            }
            Self::ResTarget(ResTarget { location, .. }) => {
                *location = 0;
            }
            Self::SortBy(SortBy { location, .. }) => {
                *location = 0;
            }
            Self::WindowDef(WindowDef { location, .. }) => {
                *location = 0;
            }
            Self::RangeTableFunc(RangeTableFunc { location, .. }) => {
                *location = 0;
            }
            Self::RangeTableFuncCol(RangeTableFuncCol { location, .. }) => {
                *location = 0;
            }
            Self::RangeTableSample(RangeTableSample { location, .. }) => {
                *location = 0;
            }
            Self::ColumnDef(ColumnDef { location, .. }) => {
                *location = 0;
            }
            Self::DefElem(DefElem {
                location,
                arg_location,
                ..
            }) => {
                *location = 0;
                *arg_location = 0;
            }
            Self::XmlSerialize(XmlSerialize { location, .. }) => {
                *location = 0;
            }
            Self::PartitionElem(PartitionElem { location, .. }) => {
                *location = 0;
            }
            Self::PartitionSpec(PartitionSpec { location, .. }) => {
                *location = 0;
            }
            Self::PartitionBoundSpec(PartitionBoundSpec { location, .. }) => {
                *location = 0;
            }
            Self::PartitionRangeDatum(PartitionRangeDatum { location, .. }) => {
                *location = 0;
            }
            Self::GroupingSet(GroupingSet { location, .. }) => {
                *location = 0;
            }
            Self::WithClause(WithClause { location, .. }) => {
                *location = 0;
            }
            Self::InferClause(InferClause { location, .. }) => {
                *location = 0;
            }
            Self::OnConflictClause(OnConflictClause { location, .. }) => {
                *location = 0;
            }
            Self::CteSearchClause(CteSearchClause { location, .. }) => {
                *location = 0;
            }
            Self::CteCycleClause(CteCycleClause { location, .. }) => {
                *location = 0;
            }
            Self::CommonTableExpr(CommonTableExpr { location, .. }) => {
                *location = 0;
            }
            Self::ReturningOption(ReturningOption { location, .. }) => {
                *location = 0;
            }
            Self::JsonFuncExpr(JsonFuncExpr { location, .. }) => {
                *location = 0;
            }
            Self::JsonTablePathSpec(JsonTablePathSpec {
                name_location,
                location,
                ..
            }) => {
                *name_location = 0;
                *location = 0;
            }
            Self::JsonTable(JsonTable { location, .. }) => {
                *location = 0;
            }
            Self::JsonTableColumn(JsonTableColumn { location, .. }) => {
                *location = 0;
            }
            Self::JsonParseExpr(JsonParseExpr { location, .. }) => {
                *location = 0;
            }
            Self::JsonScalarExpr(JsonScalarExpr { location, .. }) => {
                *location = 0;
            }
            Self::JsonSerializeExpr(JsonSerializeExpr { location, .. }) => {
                *location = 0;
            }
            Self::JsonObjectConstructor(JsonObjectConstructor { location, .. }) => {
                *location = 0;
            }
            Self::JsonArrayConstructor(JsonArrayConstructor { location, .. }) => {
                *location = 0;
            }
            Self::JsonArrayQueryConstructor(JsonArrayQueryConstructor { location, .. }) => {
                *location = 0;
            }
            Self::JsonAggConstructor(JsonAggConstructor { location, .. }) => {
                *location = 0;
            }
            Self::RawStmt(RawStmt {
                stmt_location,
                stmt_len,
                ..
            }) => {
                *stmt_location = 0;
                *stmt_len = 0;
            }
            Self::PlAssignStmt(PlAssignStmt { location, .. }) => {
                *location = 0;
            }
            Self::VariableSetStmt(VariableSetStmt { location, .. }) => {
                *location = 0;
            }
            Self::Constraint(Constraint { location, .. }) => {
                *location = 0;
            }
            Self::FunctionParameter(FunctionParameter { location, .. }) => {
                *location = 0;
            }
            Self::NotifyStmt(NotifyStmt {
                payload_location, ..
            }) => {
                *payload_location = 0;
            }
            Self::TransactionStmt(TransactionStmt { location, .. }) => {
                *location = 0;
            }
            Self::DeallocateStmt(DeallocateStmt { location, .. }) => {
                *location = 0;
            }
            Self::PublicationObjSpec(PublicationObjSpec { location, .. }) => {
                *location = 0;
            }
            Self::CreateSubscriptionStmt(CreateSubscriptionStmt {
                conninfo_location, ..
            }) => {
                *conninfo_location = 0;
            }
            Self::AlterSubscriptionStmt(AlterSubscriptionStmt {
                conninfo_location, ..
            }) => {
                *conninfo_location = 0;
            }
            Self::AConst(AConst { location, .. }) => {
                *location = 0;
            }
            _ => {}
        }
    }
}
