//! Which functions a statement may call and still be certain not to write.

/// Words that stand before a parenthesis without calling anything, and functions of PostgreSQL that
/// change nothing. Sorted.
const HARMLESS: &[&str] = &[
    "abs", "acos", "age", "all", "and", "any", "array", "array_agg", "array_length",
    "array_position", "array_to_json", "array_to_string", "as", "ascii", "asin", "atan", "avg",
    "between", "bit_length", "bool_and", "bool_or", "btrim", "by", "cardinality", "case", "cast",
    "ceil", "ceiling", "char", "char_length", "character", "character_length", "chr", "coalesce",
    "col_description", "concat", "concat_ws", "cos", "count", "cume_dist", "current_database",
    "current_schema", "current_schemas", "current_setting", "date", "date_bin", "date_part",
    "date_trunc", "decimal", "decode", "dense_rank", "distinct", "else", "encode", "every",
    "except", "exists", "exp", "extract", "filter", "first_value", "float", "floor", "format",
    "format_type", "from", "gen_random_uuid", "generate_series", "greatest", "group",
    "has_schema_privilege", "has_table_privilege", "having", "in", "initcap", "intersect", "interval", "is",
    "isfinite", "join", "json_agg", "json_array_elements", "json_build_array",
    "json_build_object", "json_object_agg", "jsonb_agg", "jsonb_array_elements",
    "jsonb_array_length", "jsonb_build_array", "jsonb_build_object", "jsonb_each",
    "jsonb_extract_path", "jsonb_extract_path_text", "jsonb_object_agg", "jsonb_object_keys",
    "jsonb_typeof", "justify_days", "justify_hours", "lag", "last_value", "lateral", "lead",
    "least", "left", "length", "like", "limit", "ln", "log", "lower", "lpad", "ltrim",
    "make_date", "make_interval", "make_time", "make_timestamp", "make_timestamptz", "max", "md5",
    "min", "mod", "not", "now", "nth_value", "ntile", "nullif", "numeric", "obj_description",
    "octet_length", "offset", "on", "or", "order", "over", "overlay", "partition", "percent_rank",
    "percentile_cont", "percentile_disc", "pg_backend_pid", "pg_encoding_to_char",
    "pg_get_constraintdef", "pg_get_expr", "pg_get_indexdef", "pg_get_userbyid",
    "pg_get_viewdef", "pg_sleep", "pg_table_is_visible", "pg_typeof", "pi", "position", "power",
    "quote_ident", "quote_literal", "random", "rank", "regexp_match", "regexp_matches",
    "regexp_replace", "regexp_split_to_array", "regexp_split_to_table", "repeat", "replace",
    "reverse", "right", "round", "row", "row_number", "row_to_json", "rpad", "rtrim", "select",
    "sign", "similar", "sin", "some", "split_part", "sqrt", "starts_with", "stddev",
    "string_agg", "string_to_array", "strpos", "substr", "substring", "sum", "tan", "then",
    "time", "timestamp", "timestamptz", "to_char", "to_date", "to_json", "to_jsonb", "to_number",
    "to_regclass", "to_timestamp", "translate", "trim", "trunc", "union", "unnest", "upper",
    "using", "values", "varchar", "variance", "version", "when", "where", "width_bucket",
    "within",
];

/// Whether an unquoted word in front of a parenthesis is certain not to write.
#[must_use]
pub(super) fn is_harmless(word: &[u8]) -> bool {
    let mut lower = [0; 32];
    let Some(lower) = lower.get_mut(..word.len()) else {
        return false;
    };
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    HARMLESS
        .binary_search_by(|known| known.as_bytes().cmp(lower))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_searched_without_case() {
        assert!(HARMLESS.is_sorted());
        assert!(is_harmless(b"COUNT") && is_harmless(b"values") && is_harmless(b"abs"));
        assert!(!is_harmless(b"nextval") && !is_harmless(b"my_function") && !is_harmless(b""));
        assert!(!is_harmless(&[b'a'; 100]));
    }
}
