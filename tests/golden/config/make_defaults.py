"""Writes torchtitan_defaults.json: every key of TorchTitan's JobConfig with its default, flattened to dotted names.

Made with torchtitan 0.2.2, torch 2.11.0, Python 3.11:
    python tests/golden/config/make_defaults.py > tests/golden/config/torchtitan_defaults.json
"""

import json
from dataclasses import asdict

from torchtitan.config import JobConfig


def flatten(tree, prefix=""):
    for name, value in tree.items():
        key = f"{prefix}.{name}" if prefix else name
        if isinstance(value, dict):
            yield from flatten(value, key)
        else:
            yield key, value


print(json.dumps(dict(flatten(asdict(JobConfig()))), indent=1))
