"""Benchmarks of pwlnet, run by asv; ``make bench`` runs each of them once.

``ASV_SKIP_SLOW=1`` (the default of ``make bench``) omits the large networks, the largest sizes and the compilation with an
empty cache. ``PWLNET_DATA_DIR`` adds the public networks in that folder (names: ``pwlnet.datasets.names()``).
"""
