"""How often drift is named, for unchanged recordings, other recorders, noise, rooms and faults."""
