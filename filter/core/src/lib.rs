//! SMI TrafficSplit: plugin configuration → rules → decision.
