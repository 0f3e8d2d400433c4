"""The keeper: the one process of a run that makes cloud calls, and how pytest speaks with it."""
