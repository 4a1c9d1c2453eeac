//! A split, as routing stores it.

use crate::configuration::annotations;
use crate::configuration::cookie_attributes::CookieAttributes;
use crate::configuration::plugin_configuration::Configuration;
use crate::configuration::traffic_split::{self, TrafficSplit};
use crate::configuration::weight::Weight;
use crate::routing::backend::{Backend, Target};
use crate::routing::counter::CounterIds;
use crate::routing::matching::MatchGroup;
use std::sync::Arc;

#[derive(Debug, PartialEq)]
pub(crate) struct Split {
    /// `namespace/name`.
    pub(crate) name: Box<str>,
    pub(crate) backends: Box<[Backend]>,
    /// One matching group is enough; `None` accepts every request.
    pub(crate) groups: Option<Box<[MatchGroup]>>,
    pub(crate) override_header: Option<Box<str>>,
    pub(crate) sticky_header: Option<Box<str>>,
    pub(crate) sticky_cookie: Option<StickyCookie>,
    pub(crate) mirror: Option<Mirror>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct StickyCookie {
    pub(crate) name: Box<str>,
    pub(crate) attributes: CookieAttributes,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Mirror {
    /// Bare name of the Service.
    pub(crate) backend: Box<str>,
    pub(crate) percent: Weight,
}

impl Split {
    /// Creates a split. `group` looks up a group by `namespace/name`. Backends that differ from those of `previous`
    /// only in weight share memory with them.
    pub(crate) fn new(
        configuration: &Configuration,
        group: impl Fn(&str) -> Option<MatchGroup>,
        split: &TrafficSplit,
        previous: Option<&Split>,
    ) -> Self {
        let annotations = &split.metadata.annotations;
        let namespace = &split.metadata.namespace;
        let text = |text: &Option<String>| text.as_deref().map(Into::into);
        let mirror =
            |mirror: &annotations::Mirror| Mirror { backend: mirror.backend.as_str().into(), percent: mirror.percent };
        Self {
            name: split.key().into(),
            backends: backends(configuration, split, previous),
            groups: (!split.spec.matches.is_empty()).then(|| {
                let names = split.spec.matches.iter().map(|reference| format!("{namespace}/{}", reference.name));
                names.filter_map(|name| group(&name)).collect()
            }),
            override_header: text(&annotations.override_header),
            sticky_header: text(&annotations.sticky_header),
            sticky_cookie: annotations.sticky_cookie.as_deref().map(|name| StickyCookie {
                name: name.into(),
                attributes: annotations.sticky_cookie_attributes.clone().unwrap_or_default(),
            }),
            mirror: annotations.mirror.as_ref().map(mirror),
        }
    }

    /// Returns whether backends and weights equal those of `other`.
    pub(crate) fn has_weights_of(&self, other: &TrafficSplit) -> bool {
        let backends = &other.spec.backends;
        let same = |(own, other): (&Backend, &traffic_split::Backend)| {
            own.weight == other.weight.unwrap_or_default() && *own.target.name == *other.service
        };
        self.backends.len() == backends.len() && self.backends.iter().zip(backends).all(same)
    }
}

fn backends(configuration: &Configuration, split: &TrafficSplit, previous: Option<&Split>) -> Box<[Backend]> {
    let namespace = &split.metadata.namespace;
    let backend = |(index, backend): (usize, &traffic_split::Backend)| {
        let service = &*backend.service;
        let known = configuration.services.get(&format!("{namespace}/{service}"));
        let target = Target {
            name: service.into(),
            cluster: configuration.cluster_of(service, namespace),
            ports: known.and_then(|known| known.ports.clone()),
            counter_ids: CounterIds::default(),
        };
        // A backend rarely changes its index: look there first.
        let previous = previous.and_then(|previous| {
            let here = previous.backends.get(index).filter(|known| *known.target.name == *service);
            here.or_else(|| previous.backends.iter().find(|known| *known.target.name == *service))
        });
        Backend {
            weight: backend.weight.unwrap_or_default(),
            target: match previous {
                Some(previous) if *previous.target == target => previous.target.clone(),
                _ => Arc::new(target),
            },
        }
    };
    split.spec.backends.iter().enumerate().map(backend).collect()
}
