"""Emulated clouds: a separate process that speaks the wire protocols of the real ones.

It shares no code with the rest of the package and nothing of the package uses it, except that it is started as a
process. One `World` decides what happens; the clouds' faces, a folder each, only translate (see `face`).
"""
