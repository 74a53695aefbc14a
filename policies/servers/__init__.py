"""Policy servers for other libraries' environments; each script runs without real2sim (see docs/policies.md)."""
