"""A Kubernetes API server with KubeDB's kinds, and a stand-in for its operator.

What it does as a real one: schemas with pruning and defaults, admission rules, the status subresource,
resourceVersions and conflicts, generateName, selectors, pages, watches. What it has not: the real operator, which is
not published; the stand-in walks requests through the documented phases, one at a time for a database.
"""
