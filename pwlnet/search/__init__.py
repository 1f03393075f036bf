"""Search for inputs at which the outputs meet a condition: falsification, confirmation, branch and bound."""
