"""Commands of the node, one file each; `reference_node/cli.py` mounts them as `olsim node ...`.

Rule: a command says which packages it misses before it reads anything.
"""

import importlib.util

from models.errors import InputError


def need_packages(*names: str) -> None:
    """Refuse a command whose packages are not installed.

    Raises
    ------
    InputError
        With the missing names and how to install them.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"the node needs {', '.join(missing)}: pip install 'olsim[node]'")
