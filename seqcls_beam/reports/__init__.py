"""Manifests, and a bounded look at rows → pages for people.

    found.py      what a folder holds, and what it held before
    sample.py     some rows of a labelling, read from a few of its parts
    alerts/       what a person should act on
    classify.py … a manifest → what its page says
    pages.py      what a page is made of
    charts.py     numbers → shapes of a picture
    rendering.py  a page → HTML that needs nothing beside it
    writing.py    which pages of a folder are written, and where

Nothing here decides anything: a run is published before its page is made, and is the same without it.
"""
