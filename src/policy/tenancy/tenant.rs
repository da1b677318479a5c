//! Who a session belongs to, in the spelling of each tenant column.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use thiserror::Error;

/// Type of a tenant column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantType {
    /// `integer`.
    Integer,
    /// `bigint`.
    Bigint,
    /// `uuid`.
    Uuid,
    /// `text` and `varchar` of any length.
    Text,
}

impl TenantType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Integer, Self::Bigint, Self::Uuid, Self::Text];

    /// Its name in `pg_catalog`.
    #[must_use]
    pub fn catalog_name(self) -> &'static str {
        match self {
            Self::Integer => "int4",
            Self::Bigint => "int8",
            Self::Uuid => "uuid",
            Self::Text => "text",
        }
    }

    /// Its OID. Source: pg_type.dat.
    #[must_use]
    pub fn oid(self) -> u32 {
        match self {
            Self::Integer => 23,
            Self::Bigint => 20,
            Self::Uuid => 2950,
            Self::Text => 25,
        }
    }

    /// Whether `value` is the one and only spelling of a value of this type. Any other spelling
    /// could make two names of one tenant, or one of two.
    #[must_use]
    pub fn is_canonical(self, value: &str) -> bool {
        match self {
            Self::Integer => value.parse::<i32>().is_ok_and(|n| n.to_string() == value),
            Self::Bigint => value.parse::<i64>().is_ok_and(|n| n.to_string() == value),
            Self::Uuid => {
                value.len() == 36
                    && value.bytes().enumerate().all(|(at, byte)| match at {
                        8 | 13 | 18 | 23 => byte == b'-',
                        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
                    })
            }
            Self::Text => {
                (1..=64).contains(&value.len())
                    && value
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
            }
        }
    }
}

/// A name that cannot be a tenant's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the tenant's value for columns of type {0} is not in its canonical form")]
pub struct NotATenant(TenantType);

impl fmt::Display for TenantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Integer => "integer",
            Self::Bigint => "bigint",
            Self::Uuid => "uuid",
            Self::Text => "text",
        })
    }
}

/// The tenant of a session: one value for each type of tenant column it can have. There is no value
/// for "all" and none for "unknown".
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tenant {
    values: BTreeMap<TenantType, String>,
}

impl Tenant {
    /// A tenant with one value of one type.
    ///
    /// # Errors
    /// The value is not the canonical spelling of that type.
    pub fn new(kind: TenantType, value: &str) -> Result<Self, NotATenant> {
        Self::with_values([(kind, value.to_owned())])
    }

    /// A tenant that is spelled differently in columns of different types.
    ///
    /// # Errors
    /// A value is not the canonical spelling of its type.
    pub fn with_values(
        values: impl IntoIterator<Item = (TenantType, String)>,
    ) -> Result<Self, NotATenant> {
        let values: BTreeMap<_, _> = values.into_iter().collect();
        match values
            .iter()
            .find(|(kind, value)| !kind.is_canonical(value))
        {
            Some((kind, _)) => Err(NotATenant(*kind)),
            None => Ok(Self { values }),
        }
    }

    /// Its value in columns of this type. `None`: tables with such columns are not this tenant's to
    /// name.
    #[must_use]
    pub fn value(&self, kind: TenantType) -> Option<&str> {
        self.values.get(&kind).map(String::as_str)
    }
}

/// A bind parameter that holds the tenant's value: the last one of its statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TenantParameter {
    /// Its number; those of the client are below it.
    pub number: u16,
    /// The type of the tenant columns that it is compared with.
    pub kind: TenantType,
}

/// What stands in a statement for the tenant's value.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// This tenant's own, as a literal.
    Literal(&'a Tenant),
    /// The parameter of this number, whoever the tenant is.
    Parameter(u16),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_is_taken() {
        use TenantType::{Bigint, Integer, Text, Uuid};
        let good = [
            (Integer, "2"),
            (Integer, "-2147483648"),
            (Bigint, "2147483648"),
            (Uuid, "00000000-0000-0000-0000-00000000000a"),
            (Text, "acme"),
            (Text, "a.b_c-D9"),
        ];
        for (kind, value) in good {
            let tenant = Tenant::new(kind, value).unwrap();
            assert_eq!(tenant.value(kind), Some(value));
        }
        let bad = [
            (Integer, "02"),
            (Integer, "+2"),
            (Integer, " 2"),
            (Integer, "2 "),
            (Integer, "2147483648"),
            (Integer, "-0"),
            (Integer, ""),
            (Bigint, "9223372036854775808"),
            (Uuid, "00000000-0000-0000-0000-00000000000A"),
            (Uuid, "{00000000-0000-0000-0000-00000000000a}"),
            (Uuid, "00000000000000000000000000000000aaaa"),
            (Text, ""),
            (Text, "a b"),
            (Text, "a'"),
            (Text, "*"),
            (Text, "ä"),
            (Text, "a\u{0}"),
        ];
        for (kind, value) in bad {
            assert!(Tenant::new(kind, value).is_err(), "{kind} {value:?}");
        }
        let long = "a".repeat(65);
        assert!(Tenant::new(Text, &long).is_err());
    }
}
