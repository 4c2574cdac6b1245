"""Data sets: from source files to a leave-one-out `Dataset`. Imports no other room."""
