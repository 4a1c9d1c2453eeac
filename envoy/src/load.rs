//! Parses files of Kubernetes objects into one plugin configuration.

use crate::backend_warnings::{AddedServices, add_services};
use crate::configuration_errors::configuration_errors;
use crate::configuration_warnings::configuration_warnings;
use crate::diagnostic::{Diagnostic, Severity};
use crate::document::{self, Document};
use crate::empty_keys::keys_without_value;
use crate::file_summary::FileSummary;
use crate::host_warnings::host_warnings;
use crate::input_file::InputFile;
use crate::known_names::with_known_name;
use crate::match_warnings::match_warnings;
use crate::number_text;
use crate::object_type::Kind;
use crate::origin::Origin;
use crate::route_group::{self, RouteGroup};
use crate::service_mistakes::service_mistakes;
use crate::service_ports::{self, Protocol};
use crate::unknown_fields::{self, UnknownField};
use crate::yaml::{LocatedValue, SyntaxError};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use traffic_split::{Configuration, Object, Problem, Rules, TrafficSplit};

/// Options of [`load`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LoadOptions {
    /// The namespace of objects without one.
    pub namespace: Option<String>,
    /// Reports unknown fields as warnings instead of errors.
    pub allow_unknown_fields: bool,
}

/// The result of parsing all files.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Input {
    /// The plugin configuration.
    pub configuration: Configuration,
    /// The HTTP version of Services that declare one, by `namespace/name` and port.
    pub protocols: BTreeMap<String, BTreeMap<u16, Protocol>>,
    /// One entry for each file, in the given order.
    pub files: Vec<FileSummary>,
    /// Valid settings that are probably mistakes.
    pub warnings: Vec<Diagnostic>,
    /// Why backends receive no requests, by the Service's `namespace/name`, as a predicate of the Service.
    pub(crate) no_traffic: BTreeMap<String, &'static str>,
    /// The origin of each TrafficSplit, by `namespace/name`.
    splits: BTreeMap<String, Origin>,
}

/// The message of an object without a namespace. The commands have the option `-n`.
const NO_NAMESPACE: &str = "is missing; add the namespace, or set a default namespace with `-n NAMESPACE`";

/// Parses files of Kubernetes objects, YAML or JSON, into one plugin configuration. `config` is a file with a plugin
/// configuration to begin with: its keys stay, and the objects of the files are added.
///
/// # Errors
/// Returns every problem in any of the files: at least one error, and warnings.
pub fn load(files: &[InputFile], config: Option<&InputFile>, options: &LoadOptions) -> Result<Input, Vec<Diagnostic>> {
    let mut loader = Loader { options: options.clone(), ..Loader::default() };
    if let Some(config) = config {
        loader.read_config(config);
    }
    for file in files {
        loader.read_file(file);
    }
    loader.finish()
}

#[derive(Default)]
struct Loader {
    options: LoadOptions,
    base: Map<String, Value>,
    config: Option<Origin>,
    files: Vec<FileSummary>,
    /// At least one input file contains a document or a syntax error.
    has_documents: bool,
    diagnostics: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    /// File, object and field of each error that was found before the configuration was parsed.
    reported: BTreeSet<(String, String, String)>,
    /// The origin of each object with a namespace, by kind and name.
    objects: BTreeMap<String, Origin>,
    /// The origins of the splits from documents, which follow those of the base.
    splits: Vec<Origin>,
    groups: Vec<Origin>,
    /// The HTTPRouteGroups of all files, in order.
    route_groups: Vec<RouteGroup>,
    /// `namespace/name` of the HTTPRouteGroups that no split references.
    unused_groups: BTreeSet<String>,
    services: BTreeMap<String, Origin>,
    service_objects: Vec<Value>,
    protocols: BTreeMap<String, BTreeMap<u16, Protocol>>,
}

// === impl Input ===

impl Input {
    /// Returns the file of a TrafficSplit, by `namespace/name`.
    pub fn file_of_split(&self, name: &str) -> Option<&str> {
        self.splits.get(name).map(|origin| origin.file.as_str())
    }

    /// Creates a warning about a field of a TrafficSplit, by `namespace/name`.
    pub(crate) fn split_warning(&self, name: &str, field: &str, message: impl Into<String>) -> Diagnostic {
        match self.splits.get(name) {
            Some(origin) => origin.diagnostic(Severity::Warning, field, message),
            None => Diagnostic::warning("", format!("TrafficSplit {name}"), field, message),
        }
    }
}

// === impl Loader ===

impl Loader {
    fn read_config(&mut self, config: &InputFile) {
        let Some(mut documents) = self.read_documents(config) else { return };
        if documents.is_empty() {
            let message = "is empty; write a plugin configuration, or `{}`";
            self.diagnostics.push(Diagnostic::error(config.name.as_str(), "", "", message));
        }
        let Some(LocatedValue { mut value, source }) = documents.pop() else { return };
        let origin = Origin { file: config.name.clone(), object: String::new(), source: Rc::new(source) };
        if let Some(message) = document::not_a_configuration(&value) {
            self.report(&origin, "", message);
        } else if !documents.is_empty() {
            self.report(&origin, "", "has several documents; write one plugin configuration");
        } else if !value.is_object() {
            self.report(
                &origin,
                "",
                "is not a plugin configuration; write an object with the keys in docs/configuration.md",
            );
        } else {
            self.check_configuration(&mut value, &origin);
            self.base = value.as_object().cloned().unwrap_or_default();
        }
        self.config = Some(origin);
    }

    /// Reports the unknown fields of a plugin configuration and of the objects in it, and removes these fields.
    fn check_configuration(&mut self, value: &mut Value, origin: &Origin) {
        let whole = Origin { object: "configuration".into(), ..origin.clone() };
        for (field, message) in number_text::ambiguous_host_ports(value, &whole.source) {
            self.report(&whole, &field, message);
        }
        for (name, service) in value.get("services").and_then(Value::as_object).into_iter().flatten() {
            let Some(source) = origin.source.value("services").and_then(|services| services.value(name)) else {
                continue;
            };
            let object = format!("services {}", document::plain(name));
            let origin = Origin { file: origin.file.clone(), object, source: Rc::new(source.clone()) };
            for (field, message) in number_text::ambiguous_ports(service, &origin.source) {
                self.report(&origin, &field, message);
            }
        }
        for field in keys_without_value(value) {
            let position = whole.source.key_position(&field);
            let warning = whole.diagnostic(Severity::Warning, &field, "has no value; remove the key, or write a value");
            self.warnings.push(warning.at(Some(position)));
        }
        let unknown = unknown_fields::remove_from_configuration(value);
        let diagnostics = self.unknown(&whole, unknown);
        self.diagnose(diagnostics);
        for (list, kind) in [("trafficSplits", Kind::TrafficSplit), ("httpRouteGroups", Kind::HttpRouteGroup)] {
            for (index, object) in value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
                let source = origin.source.value(list).and_then(|list| list.item(index));
                let name = format!("{list}[{index}] {}", document::name(object));
                let origin = Origin {
                    file: origin.file.clone(),
                    object: name.trim_end().into(),
                    source: source.map_or_else(|| Rc::clone(&origin.source), |source| Rc::new(source.clone())),
                };
                for (field, message) in number_text::ambiguous_numbers(kind, object, &origin.source) {
                    self.report(&origin, &field, message);
                }
                let diagnostics = self.unknown(&origin, unknown_fields::remove(kind, object));
                self.diagnose(diagnostics);
            }
        }
    }

    fn read_file(&mut self, input: &InputFile) {
        let Some(documents) = self.read_documents(input) else {
            self.has_documents = true;
            return;
        };
        let is_empty = documents.is_empty();
        self.has_documents |= !is_empty;
        self.files.push(FileSummary { file: input.name.clone(), is_empty, ..FileSummary::default() });
        for (index, document) in documents.into_iter().enumerate() {
            let number = index + 1;
            let objects = match document::unpack(document) {
                Ok(objects) => objects,
                Err(document::Refused { field, message, position }) => {
                    let object = format!("document {number}");
                    let diagnostic = Diagnostic::error(input.name.as_str(), object, field, message);
                    self.diagnostics.push(diagnostic.at(Some(position)));
                    continue;
                }
            };
            for (object, source) in objects {
                match object {
                    Document::Known { kind, value, mistakes } => {
                        self.summary(|summary| summary.count(kind));
                        let origin =
                            Origin { file: input.name.clone(), object: String::new(), source: Rc::new(source) };
                        self.add(kind, value, number, &mistakes, origin);
                    }
                    Document::Other(what) => self.summary(|summary| summary.ignored.push(what)),
                }
            }
        }
    }

    /// Adds an object of document `number`. `mistakes` are those of its `kind` and `apiVersion`.
    fn add(
        &mut self,
        kind: Kind,
        mut value: Value,
        number: usize,
        mistakes: &[(&'static str, String)],
        mut origin: Origin,
    ) {
        let has_namespace = document::default_namespace(&mut value, self.options.namespace.as_deref());
        origin.object = match document::name(&value) {
            name if name.is_empty() => format!("{} (document {number})", kind.as_str()),
            name => format!("{} {name}", kind.as_str()),
        };
        let error = |field: &str, message: &str| origin.diagnostic(Severity::Error, field, message);
        let mut diagnostics: Vec<_> = mistakes.iter().map(|(field, message)| error(field, message)).collect();
        if !has_namespace {
            diagnostics.push(error("metadata.namespace", NO_NAMESPACE));
        }
        let template = document::find_template(&value);
        diagnostics.extend(template.iter().map(|(field, message)| error(field, message)));
        if template.is_some() && kind != Kind::HttpRouteGroup {
            // Any name or number may be a template, so more errors would be misleading.
            return self.diagnose(diagnostics);
        }
        diagnostics.extend(self.unknown(&origin, unknown_fields::remove(kind, &mut value)));
        for (field, message) in number_text::ambiguous_numbers(kind, &value, &origin.source) {
            diagnostics.push(origin.diagnostic(Severity::Error, &field, message));
        }
        for (field, message) in number_text::booleans_of_kubectl(kind, &value, &origin.source) {
            diagnostics.push(origin.diagnostic(Severity::Warning, &field, message));
        }
        if kind == Kind::HttpRouteGroup {
            let file = self.files.len().saturating_sub(1);
            self.route_groups.push(RouteGroup { file, value, diagnostics, origin });
            return;
        }
        self.diagnose(diagnostics);
        if !self.is_new(&origin) {
            return;
        }
        match kind {
            Kind::Service => self.add_service(&value, origin),
            _ => {
                self.push("trafficSplits", value);
                self.splits.push(origin);
            }
        }
    }

    /// Adds the HTTPRouteGroups that splits reference. All other groups may be invalid: they are for other tools.
    fn add_route_groups(&mut self) {
        let named = route_group::names(self.base.get("trafficSplits"));
        for group in std::mem::take(&mut self.route_groups) {
            if named.contains(&document::key(&group.value)) {
                self.diagnose(group.diagnostics);
                if self.is_new(&group.origin) {
                    self.push("httpRouteGroups", group.value);
                    self.groups.push(group.origin);
                }
                continue;
            }
            if let Some(summary) = self.files.get_mut(group.file) {
                summary.ignored.push(format!("{} (no TrafficSplit references this group)", group.origin.object));
            }
            self.unused_groups.insert(document::key(&group.value));
            self.warnings.extend(group.warnings());
        }
    }

    /// Returns a diagnostic for each unknown field of an object.
    fn unknown(&self, origin: &Origin, fields: Vec<UnknownField>) -> Vec<Diagnostic> {
        let severity = if self.options.allow_unknown_fields { Severity::Warning } else { Severity::Error };
        let diagnostic = |UnknownField { field, message }: UnknownField| {
            let position = origin.source.key_position(&field);
            origin.diagnostic(severity, &field, message).at(Some(position))
        };
        fields.into_iter().map(diagnostic).collect()
    }

    /// Changes the summary of the file that is being read.
    fn summary(&mut self, change: impl FnOnce(&mut FileSummary)) {
        if let Some(summary) = self.files.last_mut() {
            change(summary);
        }
    }

    /// Returns all documents of a file; `None` for an invalid file, which is reported.
    fn read_documents(&mut self, file: &InputFile) -> Option<Vec<LocatedValue>> {
        let report = |SyntaxError { position, message }| {
            self.diagnostics.push(Diagnostic::error(file.name.as_str(), "", "", message).at(position));
        };
        file.documents().map_err(report).ok()
    }

    /// Reports the empty files if all files are empty. Otherwise, an empty file is probably the output of a disabled template.
    fn report_empty_input(&mut self) {
        if self.has_documents {
            return;
        }
        for file in &self.files {
            let message = "is empty; write at least one object";
            self.diagnostics.push(Diagnostic::error(file.file.as_str(), "", "", message));
        }
    }

    /// Returns whether the object is new, and reports it if it is duplicated.
    fn is_new(&mut self, origin: &Origin) -> bool {
        let Some(first) = self.objects.get(&origin.object) else {
            // Without a namespace, two objects with the same name may be different objects.
            if origin.object.contains('/') {
                self.objects.insert(origin.object.clone(), origin.clone());
            }
            return true;
        };
        let message =
            format!("is duplicated, first defined in {}:{}; remove one", first.file, first.source.position(""));
        self.report(origin, "", message);
        false
    }

    /// Appends to a list of the base. A value that is not a list stays, and `Configuration::from_value` reports it.
    fn push(&mut self, key: &str, value: Value) {
        let list = self.base.entry(key).or_insert(Value::Null);
        if list.is_null() {
            *list = json!([]);
        }
        if let Some(list) = list.as_array_mut() {
            list.push(value);
        }
    }

    fn add_service(&mut self, service: &Value, origin: Origin) {
        let ports = service_ports::service_ports(service);
        let mut mistakes = service_mistakes(service);
        mistakes.extend(ports.err().unwrap_or_default());
        if !mistakes.is_empty() {
            for (field, message) in mistakes {
                if !self.is_reported(&origin.file, &origin.object, &field) {
                    self.report(&origin, &field, message);
                }
            }
            return;
        }
        let key = document::name(service);
        self.services.insert(key.clone(), origin);
        self.protocols.insert(key.clone(), service_ports::service_protocols(service));
        self.service_objects.push(service.clone());
    }

    fn finish(mut self) -> Result<Input, Vec<Diagnostic>> {
        self.report_empty_input();
        self.add_route_groups();
        let value = Value::Object(std::mem::take(&mut self.base));
        let mut configuration = match Configuration::from_value(&value) {
            Ok(configuration) if self.diagnostics.is_empty() => configuration,
            Ok(_) => return Err(self.into_diagnostics()),
            Err(problems) => {
                for problem in problems {
                    let problem = with_known_name(problem, &value, &self.unused_groups);
                    let diagnostic = self.locate(&value, Severity::Error, problem);
                    // An earlier message about the same field names the remedy.
                    if !self.is_reported(&diagnostic.file, &diagnostic.object, &diagnostic.field) {
                        self.diagnostics.push(diagnostic);
                    }
                }
                return Err(self.into_diagnostics());
            }
        };
        let AddedServices { warnings: of_services, no_traffic } =
            add_services(&mut configuration, &self.service_objects).map_err(|problems| {
                let locate = |problem| self.locate(&value, Severity::Error, problem);
                problems.into_iter().map(locate).collect::<Vec<_>>()
            })?;
        let errors = configuration_errors(&configuration);
        if !errors.is_empty() {
            self.diagnostics = errors.into_iter().map(|error| self.locate(&value, Severity::Error, error)).collect();
            return Err(self.into_diagnostics());
        }
        let rules = Rules::new(&configuration, None);
        let mut warnings = std::mem::take(&mut self.warnings);
        let of_services = of_services
            .into_iter()
            .chain(host_warnings(&configuration))
            .chain(match_warnings(&value, &configuration))
            .chain(configuration_warnings(&configuration, &value));
        warnings.extend(of_services.map(|warning| self.locate(&value, Severity::Warning, warning)));
        warnings.extend(rules.warnings().iter().map(|warning| self.locate(&value, Severity::Warning, warning.clone())));
        let split_origin = |(index, split): (usize, &TrafficSplit)| {
            let name = split.key();
            let origin = self.origin(&value, &Object::TrafficSplit { index, name: name.clone() })?;
            Some((name, origin))
        };
        let splits = configuration.traffic_splits.iter().enumerate().filter_map(split_origin).collect();
        Ok(Input { configuration, protocols: self.protocols, files: self.files, warnings, no_traffic, splits })
    }

    /// Returns whether the configuration file has an entry for a Service.
    fn is_configured(&self, service: &str) -> bool {
        let services = self.config.as_ref().and_then(|config| config.source.value("services"));
        services.is_some_and(|services| services.value(service).is_some())
    }

    fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.diagnostics.append(&mut self.warnings);
        self.diagnostics
    }

    /// Finds file, object and position of a problem of the whole configuration.
    fn locate(&self, whole: &Value, severity: Severity, problem: Problem) -> Diagnostic {
        let Problem { object, field, message } = problem;
        if let Some(origin) = self.origin(whole, &object) {
            return origin.diagnostic(severity, &field, message);
        }
        let Some(config) = &self.config else {
            return Diagnostic::new(severity, "all files together", object.to_string(), field, message);
        };
        let position = match &object {
            // The name of an invalid key is quoted.
            Object::Service { name } if name.starts_with('"') => {
                config.source.key_position(&format!("services[{name}]"))
            }
            _ => config.source.position(&field),
        };
        Diagnostic::new(severity, config.file.as_str(), object.to_string(), field, message).at(Some(position))
    }

    /// Returns the origin of an object of the whole configuration: in a file of objects, else in the configuration file. `None` for
    /// the configuration itself.
    fn origin(&self, whole: &Value, object: &Object) -> Option<Origin> {
        let of_file = match object {
            Object::TrafficSplit { index, .. } => origin(whole, "trafficSplits", &self.splits, *index),
            Object::HttpRouteGroup { index, .. } => origin(whole, "httpRouteGroups", &self.groups, *index),
            // The ports of a Service object are already checked. If the configuration file has the Service, the problem is there.
            Object::Service { name } => self.services.get(name).filter(|_| !self.is_configured(name)),
            _ => None,
        };
        if let Some(origin) = of_file {
            return Some(origin.clone());
        }
        let Origin { file, source, .. } = self.config.as_ref()?;
        let source = match object {
            Object::TrafficSplit { index, .. } => source.value("trafficSplits")?.item(*index)?,
            Object::HttpRouteGroup { index, .. } => source.value("httpRouteGroups")?.item(*index)?,
            Object::Service { name } => source.value("services")?.value(name)?,
            _ => return None,
        };
        Some(Origin { file: file.clone(), object: object.to_string(), source: Rc::new(source.clone()) })
    }

    fn report(&mut self, origin: &Origin, field: &str, message: impl Into<String>) {
        self.diagnose(vec![origin.diagnostic(Severity::Error, field, message)]);
    }

    /// Adds errors and warnings that were found before the configuration is parsed.
    fn diagnose(&mut self, diagnostics: Vec<Diagnostic>) {
        for diagnostic in diagnostics {
            if diagnostic.severity == Severity::Warning {
                self.warnings.push(diagnostic);
                continue;
            }
            let Diagnostic { file, object, field, .. } = &diagnostic;
            self.reported.insert((file.clone(), object.clone(), field.clone()));
            self.diagnostics.push(diagnostic);
        }
    }

    fn is_reported(&self, file: &str, object: &str, field: &str) -> bool {
        self.reported.contains(&(file.into(), object.into(), field.into()))
    }
}

/// Returns the origin of entry `index` of a list of the whole configuration; `None` for the entries of the base, which come
/// first.
fn origin<'o>(whole: &Value, list: &str, origins: &'o [Origin], index: usize) -> Option<&'o Origin> {
    let all = whole.get(list).and_then(Value::as_array).map_or(0, Vec::len);
    origins.get((index + origins.len()).checked_sub(all)?)
}
