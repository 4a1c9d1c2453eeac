//! The parts of the command line that `traffic-split` and `traffic-split-controller` share: input files, options and output.

pub mod input;
pub mod options;
pub mod output;
pub mod report;
