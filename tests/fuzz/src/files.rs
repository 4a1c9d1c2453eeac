//! Files that people write: Kubernetes objects as YAML or JSON, and the plugin configuration of `--config`.

use crate::{configuration, message};
use traffic_split_envoy::{InputFile, LoadOptions, load, plugin_config};

/// Parses a file as Kubernetes objects and as a plugin configuration. Accepted input is a valid configuration, and every
/// message is one line.
pub fn files(data: &[u8]) {
    let file = InputFile { name: "input.yaml".to_owned(), content: Ok(data.to_vec()) };
    let mut strict = LoadOptions::default();
    strict.namespace = Some("default".to_owned());
    let mut lenient = LoadOptions::default();
    lenient.allow_unknown_fields = true;
    for options in [strict, lenient] {
        check(std::slice::from_ref(&file), None, &options);
    }
    check(&[], Some(&file), &LoadOptions::default());
}

fn check(files: &[InputFile], config: Option<&InputFile>, options: &LoadOptions) {
    match load(files, config, options) {
        Ok(input) => {
            configuration::check(&input.configuration);
            assert!(plugin_config(&input.configuration).ends_with("}\n"));
            input.warnings.iter().for_each(message::check);
        }
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty(), "a file is refused without a message");
            diagnostics.iter().for_each(message::check);
        }
    }
}
