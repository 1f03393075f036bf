"""Results for other programs: ``tables`` reads flat columns, ``mixin`` makes DataFrames, Arrow tables and files of them."""
