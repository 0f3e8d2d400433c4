"""The allocation view over HTTP: the REST API "Resource Allocation" as it is specified, and a page for people."""

from __future__ import annotations
