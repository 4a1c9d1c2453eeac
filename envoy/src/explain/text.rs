//! Prints an explanation for people.

use super::explanation::{
    DecidedBy, Destination, Explanation, FailedMatchReport, MirrorDestination, PortReason, RootDestination, SetCookie,
    SplitReference,
};
use super::request::RequestDescription;
use crate::safe_text::one_line;
use std::fmt;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestDescription { method, path, host, namespace, port, .. } = &self.request;
        write!(f, "{method} {path} at {host}")?;
        if let Some(port) = port {
            write!(f, ", to port {port}")?;
        }
        if let Some(namespace) = namespace {
            write!(f, ", from namespace {namespace}")?;
        }
        writeln!(f)?;
        for (mut label, lines) in labelled_lines(self) {
            for line in lines {
                writeln!(f, "{label:8}  {}", one_line(&line))?;
                label = "";
            }
        }
        Ok(())
    }
}

impl fmt::Display for SplitReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, ", in {file}"))
    }
}

/// Returns each label with its lines.
fn labelled_lines(explanation: &Explanation) -> Vec<(&'static str, Vec<String>)> {
    let mut lines = Vec::new();
    let mut push = |label: &'static str, text: String| lines.push((label, vec![text]));
    if let Some(split) = &explanation.split {
        push("split", split.to_string());
    }
    if let Some(matched) = &explanation.matched {
        push("match", matched.clone());
    }
    if let (Some(port), Some(PortReason { why, .. })) = (explanation.port, &explanation.port_reason) {
        push("port", format!("{port}: {why}"));
    }
    match (&explanation.decided_by, &explanation.set_cookie, explanation.reason) {
        (Some(DecidedBy { kind, name, value }), _, Some(reason)) => {
            push("decided", format!("by the {kind} {name}: {value} ({reason})"));
        }
        (None, Some(SetCookie { name, .. }), Some(reason)) => {
            push("decided", format!("by weight, because the request has no cookie {name} ({reason})"));
        }
        (.., Some(reason)) => push("decided", format!("by weight ({reason})")),
        _ => {}
    }
    push("goes to", destination(explanation));
    if let Some(SetCookie { name, attributes }) = &explanation.set_cookie {
        let separator = if attributes.is_empty() { "" } else { "; " };
        push("response", format!("sets the cookie {name}=VALUE{separator}{attributes}"));
    }
    if let Some(MirrorDestination { service, cluster, percent }) = &explanation.mirror {
        let requests = match explanation.backend {
            Some(_) => "these requests",
            None => "the requests that other backends serve",
        };
        let percent = percent_text(percent / 100.0);
        push("mirror", format!("{percent} of {requests} are copied to {service}, cluster {cluster}"));
    }
    if !(explanation.shares.is_empty() && explanation.left_out.is_empty()) {
        lines.push(("shares", table(explanation)));
    }
    for skipped in &explanation.skipped {
        let mut text = vec![format!("{}: no match holds", skipped.split)];
        text.extend(skipped.matches.iter().map(|FailedMatchReport { name, why }| format!("{name}: {why}")));
        lines.push(("skipped", text));
    }
    lines.extend(explanation.notes.iter().map(|note| ("note", vec![note.clone()])));
    lines
}

fn destination(explanation: &Explanation) -> String {
    match (&explanation.root, &explanation.backend) {
        (Some(RootDestination { why, .. }), _) => match &explanation.root_service {
            Some(root) => format!("the root, {root}, as if there were no split: {why}"),
            None => format!("the destination without the filter: {why}"),
        },
        (None, Some(Destination { service, cluster })) => format!("{service}, cluster {cluster}"),
        (None, None) => "one backend, picked at random by share".into(),
    }
}

fn table(explanation: &Explanation) -> Vec<String> {
    let mut rows = vec![["backend", "weight", "share", "cluster"].map(str::to_owned)];
    rows.extend(explanation.shares.iter().map(|share| {
        [share.service.clone(), share.weight.to_string(), percent_text(share.share), share.cluster.clone()]
    }));
    rows.extend(explanation.left_out.iter().map(|excluded| {
        [excluded.service.clone(), excluded.weight.to_string(), "-".into(), format!("none: {}", excluded.why)]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (name, weight, share) = (width(0), width(1), width(2));
    let line = |[a, b, c, d]: &[String; 4]| format!("{a:name$}  {b:>weight$}  {c:>share$}  {d}");
    rows.iter().map(line).collect()
}

/// Formats a share with at most two decimal places.
fn percent_text(share: f64) -> String {
    let number = format!("{:.2}", share * 100.0);
    let number = number.trim_end_matches('0').trim_end_matches('.');
    if number == "0" && share > 0.0 { "<0.01 %".into() } else { format!("{number} %") }
}
