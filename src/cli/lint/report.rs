//! Findings in the formats of terminals and CI.

use serde_json::{Value, json};

use super::{Finding, Format};

/// All findings in one text.
pub(super) fn write(findings: &[Finding], format: Format) -> String {
    match format {
        Format::Text => text(findings),
        Format::Json => document(findings).to_string(),
        Format::Sarif => sarif(findings).to_string(),
        Format::Junit => junit(findings),
    }
}

fn count(findings: &[Finding], decision: &str) -> usize {
    findings
        .iter()
        .filter(|finding| finding.report.decision == decision)
        .count()
}

const DECISIONS: [&str; 5] = ["forward", "rewrite", "answer", "emulate", "reject"];

fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        if finding.report.decision == "forward" && finding.report.notices.is_empty() {
            continue;
        }
        let report = &finding.report;
        let rules = report.rules.join(", ");
        let place = format!("{}:{}:{}", finding.file, finding.line, finding.column);
        out.push_str(&format!(
            "{place}: {} [{rules}] {}\n",
            report.decision, finding.statement
        ));
        if let (Some(code), Some(message)) = (&report.sqlstate, &report.message) {
            out.push_str(&format!("    {code} {message}\n"));
        }
        if let Some(hint) = &report.hint {
            out.push_str(&format!("    HINT: {hint}\n"));
        }
        for notice in &report.notices {
            out.push_str(&format!("    {notice}\n"));
        }
        if report.decision == "rewrite" {
            for sql in &report.sql {
                out.push_str(&format!("    => {sql}\n"));
            }
        }
    }
    let counts: Vec<String> = DECISIONS
        .iter()
        .map(|decision| format!("{} {decision}", count(findings, decision)))
        .collect();
    out.push_str(&format!(
        "{} statements: {}",
        findings.len(),
        counts.join(", ")
    ));
    out
}

fn document(findings: &[Finding]) -> Value {
    let counts: serde_json::Map<String, Value> = DECISIONS
        .iter()
        .map(|decision| ((*decision).to_owned(), json!(count(findings, decision))))
        .collect();
    json!({"statements": findings, "summary": counts})
}

fn sarif(findings: &[Finding]) -> Value {
    let results: Vec<Value> = findings
        .iter()
        .filter(|finding| finding.report.decision != "forward")
        .map(|finding| {
            let report = &finding.report;
            let message = match (&report.message, &report.hint) {
                (Some(message), Some(hint)) => format!("{message}. {hint}"),
                (Some(message), None) => message.clone(),
                (None, _) if report.notices.is_empty() => {
                    format!("{} by the proxy", report.decision)
                }
                (None, _) => report.notices.join("; "),
            };
            json!({
                "ruleId": report.rules.first().cloned().unwrap_or_else(|| "syntax".to_owned()),
                "level": if finding.refused() { "error" } else { "note" },
                "message": {"text": message},
                "locations": [{"physicalLocation": {
                    "artifactLocation": {"uri": finding.file},
                    "region": {"startLine": finding.line, "startColumn": finding.column}
                }}]
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "dsql-proxy", "version": env!("CARGO_PKG_VERSION")}},
            "results": results
        }]
    })
}

fn junit(findings: &[Finding]) -> String {
    let refused = count(findings, "reject");
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"dsql-proxy lint\" tests=\"{}\" failures=\"{refused}\">\n",
        findings.len()
    );
    for finding in findings {
        let head = format!(
            "  <testcase classname=\"{}\" name=\"{}:{}\"",
            escaped(&finding.file),
            finding.line,
            escaped(&finding.statement)
        );
        match &finding.report.message {
            Some(message) => {
                let hint = finding.report.hint.as_deref().unwrap_or_default();
                out.push_str(&format!(
                    "{head}>\n    <failure message=\"{}\">{}</failure>\n  </testcase>\n",
                    escaped(message),
                    escaped(hint)
                ));
            }
            None => out.push_str(&format!("{head}/>\n")),
        }
    }
    out.push_str("</testsuite>");
    out
}

fn escaped(text: &str) -> String {
    let allowed = |c: &char| !c.is_control() || matches!(c, '\t' | '\n');
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(allowed) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}
