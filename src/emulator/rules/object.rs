//! Sequences, domains, views, schemas, statistics, and what names objects of any kind: DROP,
//! RENAME, COMMENT, SET SCHEMA, OWNER TO.

use pg_query::protobuf::{
    AlterDomainStmt, AlterObjectSchemaStmt, AlterOwnerStmt, AlterSeqStmt, AlterStatsStmt,
    CommentStmt, CreateDomainStmt, CreateSchemaStmt, CreateSeqStmt, CreateStatsStmt, DropStmt,
    ObjectType, RenameStmt, ViewStmt,
};
use pg_query::{Node, NodeEnum};

use super::data::{Feature, Objects};
use super::judge::{Check, Judge, generic};
use super::node;
use super::table::persistence;
use super::types::Named;
use super::words::{literal, refuse_when, relation_oid, system_entity, unsupported};
use crate::wire::reply::ClientError;
use crate::wire::sqlstate::{INVALID_PARAMETER_VALUE, PROGRAM_LIMIT_EXCEEDED};

impl Judge<'_> {
    pub(super) fn create_sequence(&mut self, create: &CreateSeqStmt) -> Check {
        if let Some(name) = &create.sequence {
            persistence(name, "SEQUENCE", "sequence")?;
            self.relation_kept(Some(name))?;
        }
        self.sequence_type(&create.options)?;
        self.cache(&create.options, Some("CREATE SEQUENCE"))?;
        let max = self.rules.data.limits.sequences;
        let message = format!("creating more than {max} sequences is not allowed");
        self.count_limit("'S'", max, &message);
        Ok(())
    }

    pub(super) fn sequence_options(&mut self, alter: &AlterSeqStmt) -> Check {
        self.relation_kept(alter.sequence.as_ref())?;
        self.sequence_type(&alter.options)?;
        self.cache(&alter.options, None)
    }

    fn sequence_type(&mut self, options: &[Node]) -> Check {
        let Some(Some(NodeEnum::TypeName(name))) = node::option(options, "as") else {
            return Ok(());
        };
        match self.column_type(name)? {
            Named::Storable(base) if base != "int8" => Err(unsupported(format!(
                "datatype {} not supported, sequence type must be bigint",
                self.display(&base)
            ))),
            _ => Ok(()),
        }
    }

    /// CACHE must be 1 or large; `needed_by` names who cannot do without.
    pub(super) fn cache(&self, options: &[Node], needed_by: Option<&str>) -> Check {
        let large = self.rules.data.limits.large_cache;
        let given = node::option(options, "cache").flatten();
        match (given.and_then(node::integer), needed_by) {
            (None, Some(who)) => Err(unsupported(format!(
                "{who} is not supported without an explicit cache size. please define CACHE \
                 greater than or equal to {large} or equal to 1"
            ))),
            (Some(cache), _) if cache != 1 && cache < large => Err(ClientError::error(
                INVALID_PARAMETER_VALUE,
                format!("CACHE ({cache}) must be greater than or equal to {large} or equal to 1"),
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn create_domain(&mut self, create: &CreateDomainStmt) -> Check {
        if create.coll_clause.is_some() {
            return Err(unsupported("COLLATE clause not supported"));
        }
        if let Some(name) = &create.type_name {
            self.column_type(name)?;
        }
        let names = node::texts(&create.domainname);
        let quoted: Vec<String> = names
            .iter()
            .map(|name| super::words::identifier(name))
            .collect();
        self.plan.after.push(format!(
            "SELECT * FROM pg_dsql.check_domain(pg_catalog.to_regtype({}))",
            literal(&quoted.join("."))
        ));
        Ok(())
    }

    pub(super) fn alter_domain(&mut self, alter: &AlterDomainStmt) -> Check {
        // T default, N drop not null, O set not null, C add constraint, X drop, V validate.
        match alter.subtype.as_str() {
            "C" => Err(unsupported(
                "unsupported ALTER DOMAIN ADD CONSTRAINT statement",
            )),
            "V" => Err(unsupported(
                "unsupported ALTER DOMAIN VALIDATE CONSTRAINT statement",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn create_view(&mut self, create: &ViewStmt) -> Check {
        let Some(name) = &create.view else {
            return Ok(());
        };
        persistence(name, "VIEW", "view")?;
        self.relation_kept(Some(name))?;
        let limits = &self.rules.data.limits;
        let (views, bytes) = (limits.views, limits.view_bytes);
        let message = format!("creating more than {views} views not allowed");
        self.count_limit("'v'", views, &message);
        let condition = format!(
            "octet_length(pg_catalog.pg_get_viewdef({})) > {bytes}",
            relation_oid(name)
        );
        self.plan.after.push(refuse_when(
            PROGRAM_LIMIT_EXCEEDED,
            "view definition too large",
            &condition,
        ));
        Ok(())
    }

    pub(super) fn create_schema(&mut self, create: &CreateSchemaStmt) -> Check {
        let max = self.rules.data.limits.schemas;
        let message = format!("more than {max} schemas not allowed");
        let condition = format!("pg_dsql.count_schemas() >= {max}");
        self.plan
            .before
            .push(refuse_when(PROGRAM_LIMIT_EXCEEDED, &message, &condition));
        if !create.schema_elts.is_empty() {
            self.require(Feature::SchemaElements)?;
        }
        for element in node::each(&create.schema_elts) {
            self.kind_of_statement(element)?;
            // Unqualified names mean the new schema; the probes look there.
            let mut element = element.clone();
            qualify(&mut element, &create.schemaname);
            self.definition(&element)?;
        }
        Ok(())
    }

    pub(super) fn create_statistics(&mut self, create: &CreateStatsStmt) -> Check {
        let max = self.rules.data.limits.statistics;
        let message = format!("more than {max} extended statistics per table are not allowed");
        for relation in node::each(&create.relations) {
            if let NodeEnum::RangeVar(table) = relation {
                let condition = format!(
                    "(SELECT count(*) FROM pg_catalog.pg_statistic_ext WHERE stxrelid = {}) >= {max}",
                    relation_oid(table)
                );
                let query = refuse_when(PROGRAM_LIMIT_EXCEEDED, &message, &condition);
                self.plan.before.push(query);
            }
        }
        Ok(())
    }

    pub(super) fn alter_statistics(&mut self, alter: &AlterStatsStmt) -> Check {
        let max = i64::from(self.rules.data.limits.statistics_target);
        let target = alter
            .stxstattarget
            .as_ref()
            .and_then(|node| node.node.as_ref());
        match target.and_then(node::integer) {
            Some(target) if target > max => Err(ClientError::error(
                INVALID_PARAMETER_VALUE,
                format!("statistics target {target} exceeds maximum allowed value of {max}"),
            )),
            _ => Ok(()),
        }
    }

    fn takes(&self, statement: Objects, kind: ObjectType, message: &str) -> Check {
        if self.rules.takes(statement, kind.as_str_name()) {
            Ok(())
        } else {
            Err(unsupported(message))
        }
    }

    pub(super) fn drop(&mut self, drop: &DropStmt) -> Check {
        let message = "unsupported object in DROP statement";
        self.takes(Objects::Drop, drop.remove_type(), message)?;
        if drop.concurrent {
            return Err(unsupported("CONCURRENTLY not supported for DROP INDEX"));
        }
        if drop.remove_type() == ObjectType::ObjectSchema {
            return node::each(&drop.objects)
                .filter_map(node::text)
                .try_for_each(|schema| self.schema_kept(schema));
        }
        Ok(())
    }

    pub(super) fn schema_kept(&self, schema: &str) -> Check {
        if self
            .rules
            .data
            .system_schemas
            .iter()
            .any(|own| own == schema)
        {
            return Err(system_entity());
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, rename: &RenameStmt) -> Check {
        let message = "unsupported object in RENAME statement";
        self.takes(Objects::Rename, rename.rename_type(), message)?;
        self.relation_kept(rename.relation.as_ref())?;
        match rename.rename_type() {
            ObjectType::ObjectSchema => self.schema_kept(&rename.subname),
            ObjectType::ObjectRole if rename.subname == "admin" => Err(system_entity()),
            _ => Ok(()),
        }
    }

    pub(super) fn comment(&mut self, comment: &CommentStmt) -> Check {
        let message = "unsupported object in COMMENT statement";
        self.takes(Objects::Comment, comment.objtype(), message)
    }

    pub(super) fn set_schema(&mut self, alter: &AlterObjectSchemaStmt) -> Check {
        let message = "unsupported object in SET SCHEMA statement";
        self.takes(Objects::SetSchema, alter.object_type(), message)
    }

    pub(super) fn alter_owner(&mut self, alter: &AlterOwnerStmt) -> Check {
        if !self
            .rules
            .takes(Objects::AlterOwner, alter.object_type().as_str_name())
        {
            return Err(generic("AlterOwnerStmt"));
        }
        let object = alter
            .object
            .as_ref()
            .and_then(|object| object.node.as_ref());
        match (alter.object_type(), object.and_then(node::text)) {
            (ObjectType::ObjectSchema, Some(schema)) => self.schema_kept(schema),
            _ => Ok(()),
        }
    }
}

/// Gives the relation that a schema element makes or names the schema's name.
fn qualify(element: &mut NodeEnum, schema: &str) {
    let relation = match element {
        NodeEnum::CreateStmt(create) => &mut create.relation,
        NodeEnum::IndexStmt(index) => &mut index.relation,
        NodeEnum::CreateSeqStmt(sequence) => &mut sequence.sequence,
        NodeEnum::ViewStmt(view) => &mut view.view,
        _ => return,
    };
    if let Some(relation) = relation
        && relation.schemaname.is_empty()
    {
        schema.clone_into(&mut relation.schemaname);
    }
}
