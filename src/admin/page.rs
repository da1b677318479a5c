//! The status page: the documents of `/api/status` and `/api/conflicts` as tables, without scripts.

use serde_json::{Map, Value};

const STYLE: &str = "\
body{font:14px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:.3em 0 1em}\
th,td{border:1px solid #ccc;padding:.2em .6em;text-align:left;vertical-align:top}\
th{background:#f3f3f3;font-weight:600}\
.ready{color:#060}.not{color:#a00}";

/// A complete HTML document that loads itself again every five seconds.
pub(super) fn render(ready: &Result<(), Vec<String>>, status: &Value, conflicts: &Value) -> String {
    let mut html = String::from("<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.push_str("<meta http-equiv=\"refresh\" content=\"5\"><title>dsql-proxy</title><style>");
    html.push_str(STYLE);
    html.push_str("</style></head><body><h1>dsql-proxy</h1>");
    match ready {
        Ok(()) => html.push_str("<p class=\"ready\">ready</p>"),
        Err(reasons) => {
            html.push_str("<p class=\"not\">not ready</p><ul class=\"not\">");
            for reason in reasons {
                html.push_str("<li>");
                escape(reason, &mut html);
                html.push_str("</li>");
            }
            html.push_str("</ul>");
        }
    }
    value(status, &mut html);
    hot(conflicts, &mut html);
    html.push_str("<p><a href=\"metrics\">metrics</a> · <a href=\"api/status\">status</a> · ");
    html.push_str("<a href=\"api/conflicts\">conflicts</a> as JSON</p>");
    html.push_str("</body></html>\n");
    html
}

/// The databases that met conflicts, each with its hot tables, statements and keys.
fn hot(conflicts: &Value, html: &mut String) {
    let databases = conflicts["databases"].as_object().into_iter().flatten();
    let met = |counts: &Value| {
        let mut counts = counts.as_object().into_iter().flatten();
        counts.any(|(_, count)| count.as_u64() != Some(0))
    };
    for (name, entry) in databases.filter(|(_, entry)| met(&entry["conflicts"])) {
        html.push_str("<h2>Conflicts of ");
        escape(name, html);
        html.push_str("</h2>");
        value(entry, html);
    }
}

fn value(value: &Value, html: &mut String) {
    match value {
        Value::Null => html.push('–'),
        Value::Bool(true) => html.push_str("yes"),
        Value::Bool(false) => html.push_str("no"),
        Value::Number(number) => html.push_str(&number.to_string()),
        Value::String(text) => escape(text, html),
        Value::Array(values) => list(values, html),
        Value::Object(entries) => section(entries, html),
    }
}

/// Objects with the same keys become the rows of one table.
fn list(values: &[Value], html: &mut String) {
    let rows: Option<Vec<&Map<String, Value>>> = values.iter().map(Value::as_object).collect();
    match rows.as_deref() {
        Some([first, ..]) if rows.iter().flatten().all(|row| row.keys().eq(first.keys())) => {
            html.push_str("<table><tr>");
            for name in first.keys() {
                cell("th", &Value::String(name.clone()), html);
            }
            html.push_str("</tr>");
            for row in rows.iter().flatten() {
                html.push_str("<tr>");
                row.values().for_each(|entry| cell("td", entry, html));
                html.push_str("</tr>");
            }
            html.push_str("</table>");
        }
        _ => {
            for (index, entry) in values.iter().enumerate() {
                if index > 0 {
                    html.push_str("<br>");
                }
                value(entry, html);
            }
        }
    }
}

fn section(entries: &Map<String, Value>, html: &mut String) {
    html.push_str("<table>");
    for (name, entry) in entries {
        html.push_str("<tr>");
        cell("th", &Value::String(name.clone()), html);
        cell("td", entry, html);
        html.push_str("</tr>");
    }
    html.push_str("</table>");
}

fn cell(tag: &str, entry: &Value, html: &mut String) {
    html.push_str(&format!("<{tag}>"));
    value(entry, html);
    html.push_str(&format!("</{tag}>"));
}

fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_tables_and_are_escaped() {
        let status = json!({
            "pools": [{"name": "<main>", "idle": 3}, {"name": "b&\"'", "idle": 0}],
            "mixed": [1, {"a": null}],
            "draining": false,
        });
        let conflicts = json!({"databases": {
            "<app>": {"conflicts": {"OC000": 2}, "keys": [{"value": "<b>"}]},
            "quiet": {"conflicts": {"OC000": 0}, "keys": []},
        }});
        let html = render(&Err(vec!["<script>".to_owned()]), &status, &conflicts);
        let parts = [
            "<li>&lt;script&gt;</li>",
            "<tr><th>idle</th><th>name</th></tr><tr><td>3</td><td>&lt;main&gt;</td></tr>",
            "<td>b&amp;&quot;&#39;</td>",
            "<td>1<br><table><tr><th>a</th><td>–</td></tr></table></td>",
            "<th>draining</th><td>no</td>",
            "<h2>Conflicts of &lt;app&gt;</h2>",
            "<tr><th>value</th></tr><tr><td>&lt;b&gt;</td></tr>",
        ];
        for part in parts {
            assert!(html.contains(part), "{part}\n{html}");
        }
        assert!(!html.contains("<script>") && !html.contains("quiet"));
        let html = render(&Ok(()), &json!({}), &json!({}));
        assert!(html.contains("class=\"ready\"") && !html.contains("<h2>"));
    }
}
