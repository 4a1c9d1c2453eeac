//! Templates of Envoy cluster names.

use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// The template of a cluster name: text with the placeholders `{service}`, `{namespace}`, `{port}` and
/// `{clusterDomain}`. Displayed and serialized as that text. The default is Istio's template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTemplate {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Service,
    Namespace,
    Port,
    ClusterDomain,
}

/// A Service's cluster name in which all placeholders except `{port}` are replaced.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClusterName {
    /// The pieces of text before, between and after the placeholders `{port}`.
    pieces: Box<[Box<str>]>,
}

// === impl ClusterTemplate ===

impl ClusterTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// Returns a message about the first problem.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(start);
            let Some((name, after)) = from.strip_prefix('{').and_then(|name| name.split_once('}')) else {
                return Err("has an unbalanced brace; write placeholders as {service}".into());
            };
            pieces.push(Piece::Text(before.into()));
            pieces.push(match name {
                "service" => Piece::Service,
                "namespace" => Piece::Namespace,
                "port" => Piece::Port,
                "clusterDomain" => Piece::ClusterDomain,
                _ => {
                    return Err(format!(
                        "has the unknown placeholder {}; use {{service}}, {{namespace}}, {{port}} or {{clusterDomain}}",
                        crate::configuration::reader::quote(name)
                    ));
                }
            });
            rest = after;
        }
        pieces.push(Piece::Text(rest.into()));
        if !pieces.iter().any(|piece| matches!(piece, Piece::Service)) {
            return Err("lacks {service}, so all backends would have the same cluster; add {service}".into());
        }
        Ok(Self { pieces })
    }

    /// Replaces all placeholders except `{port}`.
    pub(crate) fn cluster(&self, service: &str, namespace: &str, cluster_domain: &str) -> ClusterName {
        let mut pieces = Vec::new();
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Service => text.push_str(service),
                Piece::Namespace => text.push_str(namespace),
                Piece::ClusterDomain => text.push_str(cluster_domain),
                Piece::Port => pieces.push(std::mem::take(&mut text).into_boxed_str()),
            }
        }
        pieces.push(text.into_boxed_str());
        ClusterName { pieces: pieces.into() }
    }
}

impl Default for ClusterTemplate {
    /// Returns Istio's template: `outbound|{port}||{service}.{namespace}.svc.{clusterDomain}`.
    fn default() -> Self {
        use Piece::{ClusterDomain, Namespace, Port, Service};
        let text = |text: &str| Piece::Text(text.into());
        let pieces = [
            text("outbound|"),
            Port,
            text("||"),
            Service,
            text("."),
            Namespace,
            text(".svc."),
            ClusterDomain,
            text(""),
        ];
        Self { pieces: pieces.into() }
    }
}

impl fmt::Display for ClusterTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| {
            f.write_str(match piece {
                Piece::Text(text) => text,
                Piece::Service => "{service}",
                Piece::Namespace => "{namespace}",
                Piece::Port => "{port}",
                Piece::ClusterDomain => "{clusterDomain}",
            })
        })
    }
}

impl Serialize for ClusterTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl ClusterName ===

impl ClusterName {
    /// Creates a name without placeholders.
    pub(crate) fn literal(name: &str) -> Self {
        Self { pieces: [name.into()].into() }
    }

    /// Returns the name with this value of `{port}`.
    pub(crate) fn name(&self, port: &str) -> Cow<'_, str> {
        match &*self.pieces {
            [whole] => Cow::Borrowed(whole),
            pieces => Cow::Owned(pieces.join(port)),
        }
    }
}
