//! The composition root of a node: config, pipeline, ingress, egress.
