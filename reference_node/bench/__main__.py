"""`python -m reference_node.bench`: the bench with torch, numpy and safetensors alone."""

import sys

from reference_node.bench.run import main

sys.exit(main())
