"""Node groups as targets of operation requests: more or fewer nodes, another instance type, larger disks.

`tasks` determines what is to be done, from what stands and what is requested; `steps` does it, by the engine;
`provider` is the reconciler's side.
"""
