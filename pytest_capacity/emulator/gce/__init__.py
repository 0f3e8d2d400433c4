"""Compute Engine's REST API (v1)."""
