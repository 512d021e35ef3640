"""Fault injection: which events a detector finds in real normal sound, and which it makes up.

make bench-events DATA=recordings/machines
"""
