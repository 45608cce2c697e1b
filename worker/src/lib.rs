//! One session: audio in, transcript out. Knows nothing of Kubernetes.
