"""The demo of the merchants' system: its folder, its processes, its rounds. Imported by the command
line alone."""
