"""The formats of files of interactions, one file each, found here by their registry."""
