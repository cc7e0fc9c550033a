"""`python -m aisle.node` is `aisnode`."""

import sys

from aisle.node.main import main

sys.exit(main())
