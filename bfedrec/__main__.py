"""`python -m bfedrec`: the command line, as `bfedrec`."""

import sys

from bfedrec.cli.main import main

sys.exit(main())
