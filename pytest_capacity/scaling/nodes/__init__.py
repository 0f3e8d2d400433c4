"""Node groups as targets of operation requests: more or fewer nodes, another instance type, larger disks.

`tasks` says what is to be done, from what stands and what is asked for; `steps` does it, by the engine; `provider` is
the reconciler's side.
"""
