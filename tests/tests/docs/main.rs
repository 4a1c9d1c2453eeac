//! The documentation is true: its commands run and print what the pages show, and the files, links, constants and tests
//! that it names exist.

mod commands;
mod modules;
mod page;
mod references;
