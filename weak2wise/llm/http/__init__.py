"""Models over HTTP: one endpoint, its replicas, one exchange, and what comes back."""
