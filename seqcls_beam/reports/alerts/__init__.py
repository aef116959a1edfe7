"""What a person should act on: each kind of alert is one function, numbers of a manifest → an `Alert` or None.

Thresholds are constants of the modules, with their reasons; docs/report.md lists them.
"""
