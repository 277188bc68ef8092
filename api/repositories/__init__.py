"""All queries of the service: one module for each kind of thing, one `Store` for a transaction."""
