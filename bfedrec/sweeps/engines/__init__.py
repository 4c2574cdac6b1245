"""The engines of this project, a file each. A new file here is found by its place."""
