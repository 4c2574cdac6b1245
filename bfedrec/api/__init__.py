"""The Python interface: runs, sweeps, tables and figures as objects, frames and pictures.

Its names are those of `import bfedrec`. Only `bfedrec.cli`, which is a command line over it, may
import it.
"""
