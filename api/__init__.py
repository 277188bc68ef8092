"""The service: REST API, persistence, Python client and the command line."""
