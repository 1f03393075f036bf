"""Optional dependencies: import them where they are used, and say what to install where they are absent."""

import importlib


def require(module, extra, purpose):
    """Import an optional module.

    Parameters
    ----------
    module : str
        Dotted name of the module.
    extra : str
        The extra of pwlnet that installs it.
    purpose : str
        What needs it, as the start of the error: "reading ONNX files".

    Returns
    -------
    module

    Raises
    ------
    ImportError
        The module is not installed; the message gives the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        message = f"{purpose} needs {name}, which can't be imported ({error}); pip install 'pwlnet[{extra}]'"
        raise ImportError(message, name=name) from error
