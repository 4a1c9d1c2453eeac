//! Virtual hosts.

use super::route::Route;

/// A virtual host: domains that share a list of routes.
#[derive(Clone, Debug)]
#[must_use = "a virtual host has no effect until it is added to a route table"]
pub struct VirtualHost {
    name: String,
    domains: Vec<String>,
    routes: Vec<Route>,
}

// === impl VirtualHost ===

impl VirtualHost {
    /// Returns a virtual host without routes. A domain is exact (`a.b`, which does not match `a.b:80`), `*.b` or `*-a.b`,
    /// `a.*`, or `*`.
    pub fn new<D: Into<String>>(name: impl Into<String>, domains: impl IntoIterator<Item = D>) -> Self {
        let domains = domains.into_iter().map(Into::into).collect();
        VirtualHost { name: name.into(), domains, routes: Vec::new() }
    }

    /// Appends a route. The first route that matches a request is selected.
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn domains(&self) -> &[String] {
        &self.domains
    }

    pub(super) fn routes(&self) -> &[Route] {
        &self.routes
    }
}
