//! Tests of the documentation: its commands print the output on the pages, and its files, links, constants and tests
//! exist.

mod commands;
mod modules;
mod page;
mod references;
