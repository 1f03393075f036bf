"""How result datasets are compressed: what HDF5 has built in, and what hdf5plugin adds."""

from .._optional import require
from ..errors import InputError
from . import schema

_BUILT_IN = {
    "gzip": schema.CREATION,
    "lzf": {"shuffle": True, "compression": "lzf", "fletcher32": True},
    "none": {"fletcher32": True},
}
_PLUGINS = {  # the class of hdf5plugin, and its options
    "zstd": ("Zstd", {"clevel": 3}),
    "blosc": ("Blosc2", {"cname": "zstd", "clevel": 3, "filters": 1}),
}
NAMES = (*_BUILT_IN, *_PLUGINS)


def creation_options(name):
    """Give the options of ``create_dataset`` for a compression.

    Parameters
    ----------
    name : str
        One of NAMES. "zstd" and "blosc" need hdf5plugin, for reading too.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        There is no such compression.
    ImportError
        It needs hdf5plugin.
    """
    if name in _BUILT_IN:
        return dict(_BUILT_IN[name])
    if name not in _PLUGINS:
        raise InputError(f"compression is {name!r}; give one of {', '.join(NAMES)}")
    kind, options = _PLUGINS[name]
    plugin = getattr(load_plugin(name), kind)(**options)
    return {"shuffle": kind == "Zstd", "fletcher32": True, **plugin}


def load_plugin(name):
    """Import hdf5plugin, which tells HDF5 how to read and write a compression; nothing for those that are built in."""
    if name in _PLUGINS:
        return require("hdf5plugin", "compression", f"compression {name!r}")
    return None
