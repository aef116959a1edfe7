"""Damaged and odd files of every format, in great number: nothing is lost in silence, and no process dies.

corpus     valid files, small, of many kinds, each with the rows that it holds
mutations  which bytes of a file are changed, and to what
child      runs cases in a process of its own, whose memory and time are limited
cases      gives cases to such processes and goes on behind one that a process died of
laws       what must hold of a damaged file, whatever the damage
"""
