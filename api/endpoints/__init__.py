"""The REST surface under /v1: thin, one module for each resource."""
