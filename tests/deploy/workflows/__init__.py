"""Workflows of Google Cloud, as far as this project uses them: read, checked and run, since nothing runs them offline.

Written from the public description of the syntax and the standard library. What that leaves open is refused here: an
expression that would mean one thing or another does not run.
"""
