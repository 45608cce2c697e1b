//! Kubernetes objects as the decisions read them. Pure.
