//! A session's Pod, Service and Secret as they should be. Pure: spec and installation in, objects out.
