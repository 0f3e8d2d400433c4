"""The allocation view over HTTP: the REST API of Blazar's specification, and a page for people."""

from __future__ import annotations
