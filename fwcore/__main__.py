"""``python -m fwcore``: the command line."""

import sys

from fwcore.cli import main

sys.exit(main())
