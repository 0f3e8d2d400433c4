"""The real part of the emulated machines: a shell each, behind a separate SSH server on loopback.

A node is a directory, the processes that were started in it, and a port. It is no sandbox: its commands run on this
machine as the user who runs the emulator.
"""
