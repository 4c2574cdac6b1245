"""`python -m bfedrec`: the command line, as `bfedrec`."""

import sys

from bfedrec.cli import main

sys.exit(main())
