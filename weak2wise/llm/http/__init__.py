"""Models over HTTP: an endpoint, its replicas, one exchange, and the parsing of replies."""
