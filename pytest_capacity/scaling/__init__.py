"""Scaling while tests run: operation requests, and the reconciler that follows them to their end.

An operation request asks a *provider* (KubeDB, the run's node groups) to change a *target* (a database, a group). It
is created, returns at once, and is followed by the `Reconciler` in the keeper. Every step is an event in the journal.
"""
