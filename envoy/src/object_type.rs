//! Decides which kind of object a document is, and finds misspelled kinds and versions.

use crate::safe_text::one_line;
use crate::suggestion::{letters, misspelled, nearest};
use traffic_split::{HttpRouteGroup, TrafficSplit};

/// The kinds of objects that a configuration needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    TrafficSplit,
    HttpRouteGroup,
    Service,
}

/// The kind of a document, and the mistakes in its `kind` and `apiVersion`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ObjectType {
    pub(crate) kind: Kind,
    /// Field and message of each mistake.
    pub(crate) mistakes: Vec<(&'static str, String)>,
}

/// The API group of Services.
const CORE_VERSION: &str = "v1";
/// The kinds of the API group `specs.smi-spec.io` for other protocols.
const OTHER_ROUTES: [&str; 2] = ["TCPRoute", "UDPRoute"];

impl Kind {
    /// All kinds.
    const ALL: [Self; 3] = [Self::TrafficSplit, Self::HttpRouteGroup, Self::Service];

    /// Returns the kind as Kubernetes writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TrafficSplit => "TrafficSplit",
            Self::HttpRouteGroup => "HTTPRouteGroup",
            Self::Service => "Service",
        }
    }

    /// Returns the newest value of `apiVersion`.
    pub(crate) fn newest_version(self) -> &'static str {
        self.versions().last().copied().unwrap_or_default()
    }

    fn versions(self) -> &'static [&'static str] {
        match self {
            Self::TrafficSplit => TrafficSplit::API_VERSIONS,
            Self::HttpRouteGroup => HttpRouteGroup::API_VERSIONS,
            Self::Service => &[CORE_VERSION],
        }
    }

    /// Returns the kind of objects of an API group; `None` if the group has no or several kinds.
    fn of_group(api_version: &str, kind: &str) -> Option<Self> {
        let group =
            |versions: &[&str]| versions.first().and_then(|version| version.split('/').next()).map(str::to_owned);
        match api_version.split_once('/')?.0 {
            own if Some(own) == group(TrafficSplit::API_VERSIONS).as_deref() => Some(Self::TrafficSplit),
            own if Some(own) == group(HttpRouteGroup::API_VERSIONS).as_deref() && !OTHER_ROUTES.contains(&kind) => {
                Some(Self::HttpRouteGroup)
            }
            _ => None,
        }
    }
}

/// Returns the message for a kind that the API group of `api_version` does not have, although another group has the kind. Without
/// this error, the object would be ignored as an object of another project.
pub(crate) fn foreign_kind(kind: &str, api_version: &str) -> Option<String> {
    let own = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    let of_group = Kind::of_group(api_version, kind)?;
    // A TrafficSplit is recognized with any API group, and its version then has a suggestion.
    if own == of_group || own == Kind::TrafficSplit {
        return None;
    }
    let (kind, group) = (of_group.as_str(), api_version.split('/').next().unwrap_or_default());
    let (own, version) = (own.as_str(), own.newest_version());
    Some(format!(
        "the API group `{group}` has no {own}; write `kind: {kind}`, or `apiVersion: {version}` with `kind: {own}`"
    ))
}

/// Returns the type of an object; `None` for objects of other kinds. An empty text means that the field is missing.
pub(crate) fn object_type(kind: &str, api_version: &str) -> Option<ObjectType> {
    let mut mistakes = Vec::new();
    let exact = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
    let found = match exact {
        Some(Kind::Service) if api_version.contains('.') => return None,
        Some(exact) => exact,
        None => {
            let near = misspelled(kind, Kind::ALL.map(Kind::as_str));
            let near = Kind::ALL.into_iter().find(|known| Some(known.as_str()) == near);
            let found = Kind::of_group(api_version, kind).or(near.filter(|near| may_be(*near, kind, api_version)))?;
            let suggestion = found.as_str();
            mistakes.push(("kind", format!("unknown kind `{}`; did you mean `{suggestion}`?", short(kind))));
            found
        }
    };
    // A missing version has its own error. A Service needs no version here.
    if !api_version.is_empty() && !found.versions().contains(&api_version) {
        let near = nearest(api_version, found.versions().iter().copied().rev()).unwrap_or(found.newest_version());
        mistakes.push(("apiVersion", format!("unknown version `{}`; did you mean `{near}`?", short(api_version))));
    }
    Some(ObjectType { kind: found, mistakes })
}

/// Returns whether a misspelled kind can mean this kind, which requires that the API group is not one of another project.
fn may_be(near: Kind, kind: &str, api_version: &str) -> bool {
    let is_core = matches!(api_version, "" | CORE_VERSION);
    match near {
        Kind::Service => is_core || !api_version.contains('.'),
        _ => is_core || letters(kind) == letters(near.as_str()) || letters(api_version).contains("smi"),
    }
}

fn short(text: &str) -> String {
    one_line(text).chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::{Kind, foreign_kind, object_type};

    #[test]
    fn kinds_of_other_smi_groups_are_foreign() {
        const SPLITS: &str = "split.smi-spec.io/v1alpha4";
        const GROUPS: &str = "specs.smi-spec.io/v1alpha4";
        for (kind, version, is_foreign) in [
            ("Service", SPLITS, true),
            ("HTTPRouteGroup", SPLITS, true),
            ("Service", GROUPS, true),
            ("TrafficSplit", SPLITS, false),
            ("HTTPRouteGroup", GROUPS, false),
            ("TCPRoute", GROUPS, false),
            ("Service", "v1", false),
            ("Service", "serving.knative.dev/v1", false),
            ("HTTPRouteGroup", "v1", false),
        ] {
            assert_eq!(foreign_kind(kind, version).is_some(), is_foreign, "{kind} {version}");
        }
    }

    #[test]
    fn misspelled_kinds_and_versions_have_a_suggestion() {
        const SPLIT: &str = "split.smi-spec.io/v1alpha4";
        const GROUP: &str = "specs.smi-spec.io/v1alpha4";
        for (kind, api_version, found, suggestions) in [
            ("TrafficSplit", SPLIT, Kind::TrafficSplit, &[][..]),
            ("TrafficSplit", "split.smi-spec.io/v1alpha1", Kind::TrafficSplit, &[]),
            ("TrafficSplit", "", Kind::TrafficSplit, &[]),
            ("HTTPRouteGroup", GROUP, Kind::HttpRouteGroup, &[]),
            ("Service", "v1", Kind::Service, &[]),
            ("Service", "", Kind::Service, &[]),
            ("Servcie", "v1", Kind::Service, &["Service"]),
            ("service", "v1", Kind::Service, &["Service"]),
            ("Services", "", Kind::Service, &["Service"]),
            ("TrafficSplits", SPLIT, Kind::TrafficSplit, &["TrafficSplit"]),
            ("trafficsplit", SPLIT, Kind::TrafficSplit, &["TrafficSplit"]),
            ("Split", SPLIT, Kind::TrafficSplit, &["TrafficSplit"]),
            ("HttpRouteGroup", GROUP, Kind::HttpRouteGroup, &["HTTPRouteGroup"]),
            ("HTTPRoute", GROUP, Kind::HttpRouteGroup, &["HTTPRouteGroup"]),
            ("TrafficSplit", "split.smi-spec.io/v1alpha5", Kind::TrafficSplit, &[SPLIT]),
            ("TrafficSplit", "split.smi.io/v1alpha4", Kind::TrafficSplit, &[SPLIT]),
            ("TrafficSplit", "v1", Kind::TrafficSplit, &[SPLIT]),
            ("TrafficSplit", "split.smi-spec.io/v1alhpa2", Kind::TrafficSplit, &["split.smi-spec.io/v1alpha2"]),
            ("HTTPRouteGroup", "specs.smi-spec.io/v1alpha1", Kind::HttpRouteGroup, &[GROUP]),
            ("HTTPRouteGroup", "spec.smi-spec.io/v1alpha3", Kind::HttpRouteGroup, &["specs.smi-spec.io/v1alpha3"]),
            ("Service", "core/v1", Kind::Service, &["v1"]),
            ("Service", "apps/v1", Kind::Service, &["v1"]),
            ("TrafficSpilt", "split.smi.io/v1alpha4", Kind::TrafficSplit, &["TrafficSplit", SPLIT]),
        ] {
            let of = object_type(kind, api_version).unwrap_or_else(|| panic!("{kind} {api_version}"));
            assert_eq!(of.kind, found, "{kind} {api_version}");
            let ends: Vec<_> = suggestions.iter().map(|name| format!("did you mean `{name}`?")).collect();
            let messages: Vec<_> = of.mistakes.iter().map(|(_, message)| message.split("; ").nth(1).unwrap()).collect();
            assert_eq!(messages, ends, "{kind} {api_version}");
        }
    }

    #[test]
    fn other_kinds_are_no_mistakes() {
        for (kind, api_version) in [
            ("Deployment", "apps/v1"),
            ("ServiceAccount", "v1"),
            ("Service", "serving.knative.dev/v1"),
            ("ServiceEntry", "networking.istio.io/v1"),
            ("ServiceMonitor", "monitoring.coreos.com/v1"),
            ("HTTPRoute", "gateway.networking.k8s.io/v1"),
            ("TrafficTarget", "access.smi-spec.io/v1alpha3"),
            ("TCPRoute", "specs.smi-spec.io/v1alpha4"),
            ("UDPRoute", "specs.smi-spec.io/v1alpha4"),
            ("Device", "devices.kubeedge.io/v1alpha2"),
            ("Secret", "v1"),
            ("Namespace", "v1"),
        ] {
            assert_eq!(object_type(kind, api_version), None, "{kind}");
        }
    }
}
