"""What the tool costs in time, against an emulated EC2 at 150 ms a call. Run: ``python -m benchmarks``."""

from __future__ import annotations
