"""Clouds in a box: a process of its own that speaks the wire of the real ones.

It shares no code with the rest of the package and nothing of the package uses it, except that it is started as a
process. One `World` decides what happens; the clouds' faces, a folder each, only translate (see `face`).
"""
