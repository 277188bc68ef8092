"""Databases of earlier versions, as SQL."""
