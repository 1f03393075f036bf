"""Print ``pwlnet/__init__.pyi``, which tells type checkers where the public names are: python -m tests.typing.make_stub."""

import pwlnet

HEADER = '''"""Public names of pwlnet, for type checkers: ``__init__.py`` loads each one on first use.

Printed by ``python -m tests.typing.make_stub``; tests/test_types.py compares it with the tables of ``__init__.py``.
"""

'''


def stub():
    """Return the text of the stub: one import for each public name, and ``__all__``."""
    lines = [f"from . import {name} as {name}" for name in sorted(pwlnet._MODULES)]
    homes = {"__version__": "_version", **pwlnet._HOMES}
    lines += [f"from .{home} import {name} as {name}" for name, home in sorted(homes.items(), key=lambda item: item[::-1])]
    names = "".join(f'    "{name}",\n' for name in pwlnet.__all__)
    return HEADER + "\n".join(lines) + f"\n\n__all__ = [\n{names}]\n"


if __name__ == "__main__":
    print(stub(), end="")
