//! Parses files of Kubernetes objects into one plugin configuration.

use crate::diagnostic::{Diagnostic, Severity};
use crate::document::{self, Document, Protocol};
use crate::source_map::SourceMap;
use crate::yaml::{self, LocatedValue, SyntaxError};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use traffic_split::{Configuration, Object, Problem, Rules, TrafficSplit};

/// A file of Kubernetes objects, or of a plugin configuration, with its content.
#[derive(Clone, Debug)]
pub struct InputFile {
    /// The name of the file in messages: one line.
    pub name: String,
    /// The content, or why the file cannot be read.
    pub content: Result<Vec<u8>, String>,
}

/// The number of objects in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileSummary {
    /// The name of the file.
    pub file: String,
    /// The number of TrafficSplits.
    pub traffic_splits: usize,
    /// The number of HTTPRouteGroups.
    pub http_route_groups: usize,
    /// The number of Services.
    pub services: usize,
    /// Kind and name of each ignored object.
    pub ignored: Vec<String>,
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
    /// The file of each TrafficSplit, by `namespace/name`.
    split_files: BTreeMap<String, String>,
}

/// Parses files of Kubernetes objects, YAML or JSON, into one plugin configuration. `config` is a file with a plugin
/// configuration to begin with: its keys stay, and the objects of the files are added.
///
/// # Errors
/// Every problem in any of the files; at least one.
pub fn load(files: &[InputFile], config: Option<&InputFile>) -> Result<Input, Vec<Diagnostic>> {
    let mut loader = Loader::default();
    if let Some(config) = config {
        loader.read_config(config);
    }
    for file in files {
        loader.read_file(file);
    }
    loader.finish()
}

/// Where an object of the configuration was read.
#[derive(Clone, Debug)]
struct Origin {
    file: String,
    object: String,
    source: Rc<SourceMap>,
}

#[derive(Default)]
struct Loader {
    base: Map<String, Value>,
    config: Option<Origin>,
    files: Vec<FileSummary>,
    diagnostics: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    /// The origin of each object with a namespace, by kind and name.
    objects: BTreeMap<String, Origin>,
    /// The origins of the splits from documents, which follow those of the base.
    splits: Vec<Origin>,
    groups: Vec<Origin>,
    services: BTreeMap<String, Origin>,
    protocols: BTreeMap<String, BTreeMap<u16, Protocol>>,
}

// === impl Input ===

impl Input {
    /// Returns the file of a TrafficSplit, by `namespace/name`.
    pub fn file_of_split(&self, name: &str) -> Option<&str> {
        self.split_files.get(name).map(String::as_str)
    }
}

// === impl Loader ===

impl Loader {
    fn read_config(&mut self, config: &InputFile) {
        let mut documents = self.read_documents(config);
        let Some(LocatedValue { value, source }) = documents.pop() else { return };
        let origin = Origin { file: config.name.clone(), object: String::new(), source: Rc::new(source) };
        match value {
            _ if !documents.is_empty() => {
                self.report(&origin, "", "has several documents; write one plugin configuration");
            }
            Value::Object(map) => self.base = map,
            _ => self.report(
                &origin,
                "",
                "is not a plugin configuration; write an object with the keys of docs/configuration.md",
            ),
        }
        self.config = Some(origin);
    }

    fn read_file(&mut self, input: &InputFile) {
        let documents = self.read_documents(input);
        if documents.is_empty() {
            return;
        }
        let mut summary = FileSummary { file: input.name.clone(), ..FileSummary::default() };
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
                self.add(object, source, number, &mut summary);
            }
        }
        self.files.push(summary);
    }

    /// Adds an object of a document.
    fn add(&mut self, object: Document, source: SourceMap, document_number: usize, summary: &mut FileSummary) {
        let source = Rc::new(source);
        let origin = |kind: &str, value: &Value| {
            let name = match document::name(value) {
                name if name.is_empty() => format!("(document {document_number})"),
                name => name,
            };
            Origin { file: summary.file.clone(), object: format!("{kind} {name}"), source: Rc::clone(&source) }
        };
        match object {
            Document::TrafficSplit(split) => {
                let origin = origin("TrafficSplit", &split);
                summary.traffic_splits += 1;
                if self.is_new(&origin) {
                    self.push("trafficSplits", split);
                    self.splits.push(origin);
                }
            }
            Document::HttpRouteGroup(group) => {
                let origin = origin("HTTPRouteGroup", &group);
                summary.http_route_groups += 1;
                if self.is_new(&origin) {
                    for (field, key) in document::unknown_match_conditions(&group) {
                        let conditions = document::MATCH_CONDITIONS.join(", ");
                        let message = format!("unknown condition, which is ignored; use {conditions}");
                        let field = format!("{field}.{key}");
                        let position = origin.source.key_position(&field);
                        let warning = origin.diagnostic(Severity::Warning, &field, message).at(Some(position));
                        self.warnings.push(warning);
                    }
                    self.push("httpRouteGroups", group);
                    self.groups.push(origin);
                }
            }
            Document::Service(service) => {
                let origin = origin("Service", &service);
                summary.services += 1;
                if self.is_new(&origin) {
                    self.add_service(&service, origin);
                }
            }
            Document::Other(what) => summary.ignored.push(what),
        }
    }

    /// Returns all documents of a file. Reports a file that cannot be read or is empty, and returns no documents.
    fn read_documents(&mut self, file: &InputFile) -> Vec<LocatedValue> {
        let error = |message: &str| Diagnostic::error(file.name.as_str(), "", "", message);
        let diagnostic = match &file.content {
            Err(why) => error(why),
            Ok(text) => match yaml::read(text) {
                Ok(documents) if documents.is_empty() => error("is empty; write at least one object"),
                Ok(documents) => return documents,
                Err(SyntaxError { position, message }) => error(&message).at(position),
            },
        };
        self.diagnostics.push(diagnostic);
        Vec::new()
    }

    /// Returns whether the object is new, and reports it if it is duplicated.
    fn is_new(&mut self, origin: &Origin) -> bool {
        let Some(first) = self.objects.get(&origin.object) else {
            // Without a namespace, two objects of one name may differ.
            if origin.object.contains('/') {
                self.objects.insert(origin.object.clone(), origin.clone());
            }
            return true;
        };
        let message = format!("is duplicated, first in {}:{}; remove one", first.file, first.source.position(""));
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
        let mut missing = false;
        for field in ["metadata.namespace", "metadata.name"] {
            if document::text(service, &format!("/{}", field.replace('.', "/"))).is_none() {
                self.report(&origin, field, "is missing");
                missing = true;
            }
        }
        let ports = match document::service_ports(service) {
            Ok(ports) => ports,
            Err(diagnostics) => {
                for (field, message) in diagnostics {
                    self.report(&origin, &field, message);
                }
                return;
            }
        };
        if missing {
            return;
        }
        let key = document::name(service);
        self.services.insert(key.clone(), origin);
        self.protocols.insert(key.clone(), document::service_protocols(service));
        let Some(ports) = ports else { return };
        let services = self.base.entry("services").or_insert(Value::Null);
        if services.is_null() {
            *services = json!({});
        }
        if let Some(services) = services.as_object_mut()
            && let Some(known) = services.entry(key).or_insert_with(|| json!({})).as_object_mut()
        {
            // The operator's setting takes precedence.
            known.entry("ports").or_insert_with(|| json!(ports));
        }
    }

    fn finish(mut self) -> Result<Input, Vec<Diagnostic>> {
        let value = Value::Object(std::mem::take(&mut self.base));
        let configuration = match Configuration::from_value(&value) {
            Ok(configuration) if self.diagnostics.is_empty() => configuration,
            Ok(_) => return Err(self.diagnostics),
            Err(problems) => {
                let diagnostics: Vec<_> =
                    problems.into_iter().map(|problem| self.locate(&value, Severity::Error, problem)).collect();
                self.diagnostics.extend(diagnostics);
                return Err(self.diagnostics);
            }
        };
        let rules = Rules::new(&configuration, None);
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.extend(rules.warnings().iter().map(|warning| self.locate(&value, Severity::Warning, warning.clone())));
        let split_file = |(index, split): (usize, &TrafficSplit)| {
            let origin = origin(&value, "trafficSplits", &self.splits, index).or(self.config.as_ref())?;
            Some((split.key(), origin.file.clone()))
        };
        let split_files = configuration.traffic_splits.iter().enumerate().filter_map(split_file).collect();
        Ok(Input { configuration, protocols: self.protocols, files: self.files, warnings, split_files })
    }

    /// Finds file, object and position of a problem of the whole configuration.
    fn locate(&self, whole: &Value, severity: Severity, problem: Problem) -> Diagnostic {
        let Problem { object, field, message } = problem;
        let origin = match &object {
            Object::TrafficSplit { index, .. } => origin(whole, "trafficSplits", &self.splits, *index),
            Object::HttpRouteGroup { index, .. } => origin(whole, "httpRouteGroups", &self.groups, *index),
            Object::Service { name } => self.services.get(name),
            _ => None,
        };
        if let Some(origin) = origin {
            return origin.diagnostic(severity, &field, message);
        }
        let Some(config) = &self.config else {
            return Diagnostic::new(severity, "all files together", object.to_string(), field, message);
        };
        let source = match &object {
            Object::TrafficSplit { index, .. } => {
                config.source.value("trafficSplits").and_then(|list| list.item(*index))
            }
            Object::HttpRouteGroup { index, .. } => {
                config.source.value("httpRouteGroups").and_then(|list| list.item(*index))
            }
            Object::Service { name } => config.source.value("services").and_then(|services| services.value(name)),
            _ => None,
        };
        let position = source.unwrap_or(&config.source).position(&field);
        Diagnostic::new(severity, config.file.as_str(), object.to_string(), field, message).at(Some(position))
    }

    fn report(&mut self, origin: &Origin, field: &str, message: impl Into<String>) {
        self.diagnostics.push(origin.diagnostic(Severity::Error, field, message));
    }
}

/// Returns the origin of entry `index` of a list of the whole configuration; `None` for the entries of the base, which come
/// first.
fn origin<'o>(whole: &Value, list: &str, origins: &'o [Origin], index: usize) -> Option<&'o Origin> {
    let all = whole.get(list).and_then(Value::as_array).map_or(0, Vec::len);
    origins.get((index + origins.len()).checked_sub(all)?)
}

// === impl Origin ===

impl Origin {
    /// Creates a diagnostic with the position of a field of the object.
    fn diagnostic(&self, severity: Severity, field: &str, message: impl Into<String>) -> Diagnostic {
        let position = self.source.position(field);
        Diagnostic::new(severity, self.file.as_str(), self.object.as_str(), field, message).at(Some(position))
    }
}

// === impl FileSummary ===

impl fmt::Display for FileSummary {
    /// `guide.yaml: 1 TrafficSplit, 3 Services`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.traffic_splits, "TrafficSplit"),
            (self.http_route_groups, "HTTPRouteGroup"),
            (self.services, "Service"),
        ];
        write!(f, "{}: ", self.file)?;
        let mut first = true;
        for (count, kind) in counts.into_iter().filter(|(count, _)| *count > 0) {
            let (comma, plural) = (if first { "" } else { ", " }, if count == 1 { "" } else { "s" });
            write!(f, "{comma}{count} {kind}{plural}")?;
            first = false;
        }
        if first { f.write_str("no TrafficSplit") } else { Ok(()) }
    }
}
