"""Benchmarks of pwlnet, run by asv; ``make bench`` runs each once.

``ASV_SKIP_SLOW=1`` leaves out the large networks and the compilation from nothing. ``PWLNET_DATA_DIR`` adds the public
networks that lie there (names: ``pwlnet.datasets.names()``).
"""
