//! The dated data behind the rules.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;

use super::RulesError;

const TEXT: &str = include_str!("rules.yaml");

/// A month, written `2026-09`; text order is time order.
pub(super) type Month = String;

/// Everything that `rules.yaml` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    pub first: Month,
    pub newest: Month,
    pub settings: Vec<Named>,
    pub own_settings: BTreeMap<String, String>,
    pub missing_settings: Vec<String>,
    pub reported_settings: BTreeMap<String, String>,
    pub types: Vec<Type>,
    pub refused_types: BTreeMap<String, String>,
    pub refused_in_expressions: Vec<String>,
    pub missing_types: Vec<String>,
    pub numeric_precision: Vec<Precision>,
    pub statements: BTreeMap<String, Dated>,
    pub refusals: BTreeMap<String, Vec<Refusal>>,
    pub features: BTreeMap<Feature, FeatureRule>,
    pub objects: BTreeMap<Objects, Vec<Named>>,
    pub system_schemas: Vec<String>,
    pub alter_table: BTreeMap<String, Alteration>,
    pub missing_functions: Vec<MissingFunction>,
    pub shadowed_catalogs: Vec<String>,
    pub shadowed_information: Vec<String>,
    pub hiding_catalogs: Vec<String>,
    pub limits: Limits,
}

/// Something with a name that came at some time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    pub name: String,
    #[serde(default)]
    pub since: Month,
}

/// When something came.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dated {
    #[serde(default)]
    pub since: Month,
}

/// A type that columns may have.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Type {
    pub name: String,
    pub display: Option<String>,
    #[serde(default)]
    pub storable: Month,
    #[serde(default = "yes")]
    pub key: bool,
    #[serde(default)]
    pub keyable: Month,
}

fn yes() -> bool {
    true
}

/// The largest declared precision of numeric.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Precision {
    pub max: i32,
    #[serde(default)]
    pub since: Month,
}

/// The words of a refusal.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refusal {
    pub until: Option<Month>,
    pub message: String,
}

/// When a construct came, and the refusal before.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FeatureRule {
    pub since: Month,
    pub message: String,
}

/// An action of ALTER TABLE.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alteration {
    pub words: String,
    pub since: Option<Month>,
}

/// Functions that are not there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MissingFunction {
    pub pattern: String,
    pub until: Option<Month>,
}

/// Constructs inside statements that came after the first cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Feature {
    CheckNotValid,
    ExpressionIndex,
    ForeignKey,
    ForeignKeyNotValid,
    Identity,
    KeyShareLock,
    PartialIndex,
    ResetAll,
    SchemaElements,
    SetLocalRole,
    UniqueUsingIndex,
    ValidateConstraint,
}

impl Feature {
    pub(super) const ALL: [Self; 12] = [
        Self::CheckNotValid,
        Self::ExpressionIndex,
        Self::ForeignKey,
        Self::ForeignKeyNotValid,
        Self::Identity,
        Self::KeyShareLock,
        Self::PartialIndex,
        Self::ResetAll,
        Self::SchemaElements,
        Self::SetLocalRole,
        Self::UniqueUsingIndex,
        Self::ValidateConstraint,
    ];
}

/// Statements that take some kinds of objects only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Objects {
    AlterOwner,
    Comment,
    Drop,
    Grant,
    Rename,
    SetSchema,
}

impl Objects {
    pub(super) const ALL: [Self; 6] = [
        Self::AlterOwner,
        Self::Comment,
        Self::Drop,
        Self::Grant,
        Self::Rename,
        Self::SetSchema,
    ];
}

/// Limits on declarations; bytes and counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub char: i64,
    pub varchar: i64,
    pub key_columns: usize,
    pub declared_key_bytes: i64,
    pub columns: usize,
    pub documented_columns: usize,
    pub indexes: usize,
    pub schemas: usize,
    pub tables: usize,
    pub views: usize,
    pub sequences: usize,
    pub view_bytes: usize,
    pub statistics: usize,
    pub statistics_target: i32,
    pub large_cache: i64,
}

impl Data {
    /// The data, read once and checked: nothing the rules ask for is missing.
    pub(super) fn shared() -> Result<Arc<Self>, RulesError> {
        static DATA: OnceLock<Result<Arc<Data>, RulesError>> = OnceLock::new();
        DATA.get_or_init(|| Self::read().map(Arc::new)).clone()
    }

    fn read() -> Result<Self, RulesError> {
        let data: Self =
            serde_saphyr::from_str(TEXT).map_err(|error| RulesError::Data(error.to_string()))?;
        let whole = Feature::ALL.iter().all(|f| data.features.contains_key(f))
            && Objects::ALL.iter().all(|o| data.objects.contains_key(o));
        if whole {
            Ok(data)
        } else {
            Err(RulesError::Data(
                "a feature or object list is missing".to_owned(),
            ))
        }
    }
}
