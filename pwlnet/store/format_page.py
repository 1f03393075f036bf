"""Generate the page about the store's format, ``docs/store_format.md``, from ``schema.py``.

python -m pwlnet.store.format_page > docs/store_format.md
"""

import sys

from . import live_read, schema
from .container import layout
from .provenance import provenance_schema

_INTRODUCTION = """\
# The store's format

Version {version}. Generated from `pwlnet/store/schema.py` by `python -m pwlnet.store.format_page`; do not edit.

A store is one file with a network and any number of results: HDF5 in a [container with checksums](#container). Once closed, it
can be read by any HDF5 tool of version 1.10 or later ([other programs](#other-programs)), and annotated
([annotations and copies](#annotations-and-copies)). While a program writes to it, or after one was killed, use pwlnet, or
`resume` and close it first ([reading while a program writes](#reading-while-a-program-writes)). Numbers are little-endian.
{legend}

- A reader MUST refuse a file whose `pwlnet-format` is not `{name}`, and a greater major version.
- A reader MUST ignore rows after the last row of `{commits}`: a batch exists when its commit does.
- A reader MAY ignore kinds of results, datasets and attributes that are not listed here: a greater minor version may have more.
- A reader SHOULD compare what it reads with the checksums of the container, and MUST apply its patches if there are any.
- A reader of a file without a valid container SHOULD compare a batch with its SHA-256 in `{commits}` before it uses its rows.
- A writer MUST write a batch's rows and its commit so that a reader sees both or neither, and MUST keep the container valid.
- A writer MUST NOT append to a file without a valid container.
- A writer MUST be alone: it holds an exclusive lock (`flock`) on the file.
- A file without `/lines` and `{commits}` holds a network only (`Network.save`).
- The datasets of a kind other than lines MAY be absent as long as it has no rows.

Row i of a ragged array is `x[offsets[i] : offsets[i + 1]]`; offsets start with 0 and never decrease.
"""

_ATTRIBUTES = """\
## Root attributes

These are attributes of the root group and, again, of `/network`, since h5copy leaves out those of the root. A reader uses the
latter if the root has no `pwlnet-format`.

| name | meaning | since |
|---|---|---|
"""

_CONTAINER = """\
## Container

| section | bytes | content |
|---|---|---|
| header | 0 to {last} | `89 50 57 4c 0d 0a 1a 0a`, one line of text, superblocks at {offsets[0]} and {offsets[1]}, else zeros |
| HDF5 | {header} to `hdf5_end` | superblock of version 2, checksums in all messages and indexes but those of annotations |
| trailer | `trailer_at`, `trailer_size` bytes | checksums and patches; directly after the HDF5 content in a closed file |

The header is the user block of HDF5. A superblock of the container: `sequence`, `hdf5_end`, `trailer_at`, `trailer_size`
(`<u8`), the CRC-32 of the trailer, and the CRC-32 of these 36 bytes (`<u4`; CRC-32 as in zlib). The superblock with the greater
`sequence` is valid; it is the first one if its `sequence` is even. Both are equal in a closed file.

A trailer: `PWLSEAL\\n`, number of pages n and number of patches m (`<u8`), m times offset and length of a patch (`<u8`), n
times the CRC-32 of a page (`<u4`), the bytes of the patches. Pages have {page} bytes and are counted from the start of the
file; the header, and all bytes from `hdf5_end` on, are excluded. Patches are bytes of the HDF5 content: a reader replaces what
it reads by them, a writer writes them into the file before anything else; doing so twice is harmless.

To commit, a writer writes what lies after `hdf5_end`, and a trailer with everything that changes before it, to unpublished
bytes; flushes; overwrites the older superblock; flushes; writes the patches into the file. Whenever it is stopped, the file is
in the state of its last commit. A superblock or a trailer that does not match its checksum is damage, not an older state.
"""

_ANNOTATIONS = """\
## Annotations and copies

Attributes, groups and datasets with names that are not listed here may be added to a closed store by any HDF5 program. That
program does not know the container and removes its checksums, so they are added again in the end:

    with h5py.File("lines.h5", "r+") as file:
        file.attrs["note"] = "images 0 to 99 of the test set"
        file["breakpoints/t"].attrs["unit"] = "share of the line"

    pwlnet repair lines.h5 --yes

`pwlnet repair` (`pwlnet.store.repair`) checks the whole content and keeps the annotations. A store without a container
(annotated, opened `r+`, or copied by h5copy or h5repack) can also be read as it is:

- Valid container: every page is compared with its checksum when it is read.
- No valid container, but the file ends exactly where its HDF5 content ends: `open` issues `UnverifiedStoreWarning`. The network
  is compared with its digest, and every batch with its SHA-256 before any of its rows is returned. `resume` refuses the file.
  `repair` checks all batches, copies the file with its annotations, and adds the checksums.
- Anything else is damaged or cut off: `ChecksumError` or `StoreError`, on opening or when damaged pages are read. `repair`
  writes the batches before the first damaged one to a new store, without annotations.

Plain HDF5 ends a file exactly at the end of its content when it closes it, and so removes the trailer; a store has its trailer
after that end at any time. A changed byte does not change the size of a file, so damage is never taken for an edit. Without a
container, no digest covers root attributes and annotations: only HDF5's own checksums protect them.

After h5copy of the whole root group, the store is in the only group that holds `network`. If the HDF5 content is not as pwlnet
writes it (h5copy, h5repack), `repair` copies the objects, but no object references; if h5repack removed the chunks, it writes
the batches to a new store, without annotations.
"""

_COMMITS = """\
## Commits

`{commits}` has one row per batch, with the fields

| field | dtype | meaning |
|---|---|---|
| `kind` | {kind} | the kind of result, as in the headings above |
| `first`, `last` | {axes} | rows from, and to (not included), along the axes of the kind, in their order; others are 0 |
| `sha256` | {sha256} | hex digits, of the batch's rows |
| `time` | {time} | UTC, ISO 8601 |

The SHA-256 covers the datasets of the kind, in the order above: for each the text `path:dtype:shape;`, then the bytes.
Offsets are shifted by one row: those of a batch are rows `first + 1` to `last + 1`. Chunks have HDF5's own checksum
(fletcher32), too.

A long line MAY be appended in chunks: batches with rows of breakpoints and flips, but no line; the batch with the line, and the
end of its range of breakpoints, comes last. Until then the attribute `{resume_state}` of `/breakpoints` MAY hold what its
writer needs to continue, a JSON object, and readers MUST NOT count these rows. The same holds for a large plane: batches with
rows of polygons, corners and vertices, but no plane; the attribute is one of `/polygons`. The vertices of a polygon are in its
chunk or in one before.

Regions in n dimensions: the row of an enumeration, which says what was requested, is committed first, then batches of regions,
and last its row of `/enumeration_ends`; only then does the next enumeration begin. So the regions of enumeration k are the
`n_rows[k]` rows after those of the enumerations before; those of the last one, while it has no end, are all that follow, and
readers MAY use them. Until the end, the attribute `{resume_state}` of `/enumerations` MAY hold what its writer needs to
continue after the last batch, a JSON object. The dimension \\* of a dataset of regions is 0 if the enumerations do not have
that column, and all enumerations of a store have the same columns and equally many free inputs (`lower` < `upper`).

A facet of a region lies on the hyperplane where neuron `/facets/neuron` changes its state, to `/facets/state` on the other
side. Negative numbers are sides of the domain: -1 - (2 d + s) is the lower (s = 0) or upper (s = 1) bound of input d, and
-1 - (2 D + m) is half-space m of the polytope (rows of `/polytopes`, from the enumeration's first one). The number of neurons
stands for a cut between classes: the state is the class on the other side.

The digest of a store's content (`RegionStore.digest`) is the SHA-256 of all rows of all kinds in the same form, offsets with
their 0. It does not depend on batches, chunks or compression.
"""

_VERSIONS = """\
## Versions

The format has a version of its own, `major.minor`, in the attribute `pwlnet-format-version`; it does not follow that of pwlnet.

- A new minor version MAY add kinds of results, with new datasets, and attributes. Everything else stays as it was, digests too,
  so programs for an older minor version read all that they know.
- Whatever changes a dataset or a kind of a released version (its name, dtype, dimensions, order or meaning, a new dataset in
  it, what its digest covers), a commit or the container, needs a new major version.
- pwlnet reads stores of every version up to its own, and of later minor versions. A greater major version is refused with
  `FormatVersionError`, which names both. It writes its own version only, and appends to stores of its own major version.
- For each released version a store with results of all kinds is kept in `tests/store/kept`, with the digests of all that is in
  it. It is never made again, and each later pwlnet must read it bit for bit (`tests/store/test_kept_stores.py`).
"""

_COMPRESSION = """\
## Compression

| `compression` | filters of HDF5 | needs | bytes per segment | written, 10^6/s | read, 10^6/s |
|---|---|---|---|---|---|
| `gzip` (default) | shuffle, gzip of level 1, fletcher32; byte planes that would not shrink are stored | | 10.9 | 1.5 | 6.8 |
| `lzf` | shuffle, lzf, fletcher32 | h5py | 12.0 | 2.1 | 5.7 |
| `none` | fletcher32 | | 33.1 | 3.5 | 11.2 |
| `zstd` | shuffle, Zstandard of level 3 (filter 32015), fletcher32 | hdf5plugin | 10.9 | 2.0 | 7.9 |
| `blosc` | Blosc2 with shuffle and Zstandard of level 3 (filter 32026), fletcher32 | hdf5plugin | 10.7 | 1.7 | 10.6 |

Chunks have {chunk} KiB before compression, along the first axis. Measured (`python -m tests.store.measure choices`, two shared
processors): 1.4 million segments of 4000 lines on the shipped digits network with convolutions, ends and summaries included;
t and neuron alone are 16 bytes per segment. The others gain a few percent or some speed; gzip is what every HDF5 reads. With
chunks of 64 KiB gzip writes 1.0, with 1024 KiB 1.6 million segments per second; sizes differ by less than 5 %. Whole chunks
are read for a single line.

A large store (`python -m tests.store.measure scale`; gzip; 10^6 lines with 10^8 segments in batches of 2^20 breakpoints; two
shared processors), each step in a process of its own; *as a multiple*: of the seconds of np.save and np.load of the
same arrays, in the same run; t and neuron alone, raw, are 16 bytes:

| step | 10^6 segments/s | seconds | as a multiple | bytes per segment | peak MiB |
|---|---|---|---|---|---|
| write and commit (`append_lines`) | 3.7 | 27.0 | 8.2 of np.save | 8.9 (0.55 of raw) | 302 |
| read (`batches`) | 11.1 | 9.0 | 11.6 of np.load | | 271 |
| verify | 4.7 | 21.3 | 27.6 of np.load | | 336 |
| table of segments, in chunks | 8.9 | 11.2 | 14.6 of np.load | | 193 |
| export to Parquet (Zstandard) | 4.7 | 21.5 | | 15.0 | 414 |
| np.save, and fsync | 30.4 | 3.3 | 1 | 29.1 (1.82 of raw) | 208 |
| np.load, from the page cache | 130 | 0.77 | 1 | | 129 |

One line of the 10^6, anywhere (200 drawn, file open, 204 MiB): 6.8 ms in the median, 17.9 ms at most. Three runs on the same
machine, beside other programs, differ by up to a factor of two (write 2.3 to 3.7, read 6.1 to 13, verify 3.0 to 5.9; a line
4.7 to 8.4 ms).

Regions (`python -m tests.store.measure_regions`; gzip; 10^7 drawn regions with two words of a pattern, three inputs and six
facets each, 96 bytes raw; two shared processors beside other programs, so up to twice as fast on an idle machine), each step in
a process of its own:

| step | 10^6 regions/s | raw MB/s | bytes per region | peak MiB |
|---|---|---|---|---|
| write and commit (`append_regions`) | 0.48 to 0.69 | 46 to 66 | 32.3 (0.34 of raw) | 174 |
| read (`RegionRows.blocks`) | 1.5 to 3.5 | 142 to 336 | | 337 |
| verify | 2.0 | 197 | | 199 |
| table of facets, in chunks | 2.9 | 274 | | 279 |
| compare with what is stored, on resuming | 0.7 to 1.6 | 67 to 158 | | 173 |

One region of the 10^7, anywhere: 5.4 ms in the median, 24 ms at most.
"""

_GROWING = """\
## Reading while a program writes

`pwlnet.store.open` reads a store that another program writes to. It shows the batches that were finished when it was opened;
`RegionStore.refresh()` moves on to those finished since. Rows of finished batches never change, but HDF5's records about them
do: they share pages with what a commit changes. Every page is compared with the checksum of the state that was opened, so a
mixture of two states is never read; if a commit came in between, the same rows are read again from the newest state, up to
{retries} times in about a second. Only then, and in `verify`, which compares every byte of one state, an error says that the
store has grown while it was read.

HDF5's own single-writer/multiple-reader mode (SWMR) is not used: it allows no new datasets while a file is read, and after a
kill its files need `h5clear` and may be incomplete. A writer holds a lock that HDF5 respects, so other programs are
refused (h5py: `unable to lock file`, with `swmr=True`, too) until the store is closed. Those that disable locks
(`HDF5_USE_FILE_LOCKING=FALSE`, `locking=False`) may read an incomplete commit.
"""

_OTHERS = """\
## Other programs

`RegionStore.to_dataframe`, `iter_dataframes`, `to_arrow`, `to_xarray` and `export` (`pwlnet export STORE OUT.parquet`, also
.arrow, .csv, .geojson and .nc) make tables; `pip install 'pwlnet[export]'`. The tables of segments, of flips, and of lines with
`wide=True` hold every bit of the lines. Activation patterns of lines are not stored; `patterns=True` rebuilds those of all or
of chosen segments.

The tables of polygons with `patterns=True`, of corners, and of vertices and planes with `wide=True` hold every bit of the
planes but for their outlines. The tables of regions with `patterns=True` and `wide=True`, of facets, and of region vertices
hold every bit of the regions. Polygons have a column with a list of their coordinates, u and v in turn, and `classes=True` adds
the largest output at the mean of the corners. A .geojson file is a FeatureCollection of polygons with the properties `plane`,
`polygon`, `area` and `n_corners` (and `class`, and `pattern` in hexadecimal digits); the coordinates are (u, v).

A row of `/polygons/pattern` has the states of the neurons of one op after the other, those of each op from a new word on. A
state takes 1, 2, 4, 8 or 16 bits, as few as hold all states of its op, the lowest bits of a word first. States: ReLU,
LeakyReLU: 0 inactive, 1 active; Clip: 0 lower, 1 linear, 2 upper; MaxPool: number of the largest tap in the window, by rows.

The file itself, once closed, is HDF5 after a user block of {header} bytes, which HDF5 finds by itself. In Python, without
pwlnet:

    with h5py.File("lines.h5") as file:
        a, b = file["breakpoints/offsets"][17:19]          # line 17
        t = file["breakpoints/t"][a:b]
    with h5py.File("planes.h5") as file:
        r = file["polygons/offsets"][2] + 5                # polygon 5 of plane 2
        a, b = file["corners/offsets"][r : r + 2]
        uv = file["vertices/uv"][()][file["vertices/offsets"][2] + file["corners/vertex"][a:b]]
    with h5py.File("regions.h5") as file:
        r = file["enumeration_ends/n_rows"][:2].sum() + 5  # region 5 of enumeration 2
        a, b = file["facets/offsets"][r : r + 2]
        neurons = file["facets/neuron"][a:b]

In a shell, `h5dump -d /breakpoints/t -s 0 -c 4 lines.h5` prints

    DATASET "/breakpoints/t" {{
       DATATYPE  H5T_IEEE_F64LE
       DATASPACE  SIMPLE {{ ( 69220 ) / ( H5S_UNLIMITED ) }}
       SUBSET {{
          START ( 0 );
          STRIDE ( 1 );
          COUNT ( 4 );
          BLOCK ( 1 );
          DATA {{
          (0): 0, 0.00165872, 0.0044957, 0.00726224
          }}
       }}
    }}

`tests/store/test_other_readers.py` compares every result dataset bit by bit, as read by pwlnet, with h5py, with h5dump (run
with 1.10.8), and with JavaScript (run with h5wasm 0.10.3, HDF5's C library as WebAssembly). All three agree. Two readers that
do not use HDF5's library cannot read this version of its format: pyfive 1.3 in Python lists the datasets, but "cannot yet read
HDF5 files with layout class 4"; jsfive 0.4 in JavaScript finds an "unsupported superblock version".
"""

_PROVENANCE = """\
## Provenance

A JSON object; its JSON schema is `pwlnet/store/provenance.schema.json`. It has

| name | meaning |
|---|---|
"""


def format_page():
    """Generate the page.

    Returns
    -------
    str
        Markdown.
    """
    version = ".".join(str(n) for n in schema.VERSION)
    fields = {name: f"`{schema.COMMIT[name].str[1:]}`" for name in ("kind", "sha256", "time")}
    width = schema.COMMIT_AXES
    legend = schema.__doc__[schema.__doc__.index("Legend: ") + 8 :].strip().replace("``*``", "\\*")
    provenance = provenance_schema()["properties"]
    container = {"last": layout.HEADER_SIZE - 1, "header": layout.HEADER_SIZE, "page": layout.PAGE}
    container["offsets"] = layout.SUPERBLOCK_OFFSETS
    introduction = {"version": version, "name": schema.FORMAT, "commits": schema.COMMITS, "legend": legend}
    return "\n".join(
        [
            _INTRODUCTION.format(**introduction),
            _ATTRIBUTES + "\n".join(f"| `{a.name}` | {a.meaning} | {a.since} |" for a in schema.ATTRIBUTES),
            "",
            _PROVENANCE + "\n".join(f"| `{name}` | {_meaning(entry)} |" for name, entry in provenance.items()),
            _table("Network", schema.NETWORK),
            _table("Labels of the network (not part of its digest)", schema.NETWORK_LABELS),
            *(_table(f"Results: {name} (axes {', '.join(kind.axes)})", kind.stored) for name, kind in schema.KINDS.items()),
            "",
            _COMMITS.format(commits=schema.COMMITS, resume_state=schema.RESUME_STATE, axes=f"`<i8[{width}]`", **fields),
            _VERSIONS,
            _COMPRESSION.format(chunk=schema.CHUNK_BYTES // 1024),
            _GROWING.format(retries=live_read.MAX_RETRIES),
            _OTHERS.format(header=layout.HEADER_SIZE),
            _ANNOTATIONS,
            _CONTAINER.format(**container).rstrip(),
            "",
        ]
    )


def _meaning(entry):
    """Return the description of an entry of the provenance, or the names in it."""
    return entry.get("description") or ", ".join(f"`{name}`" for name in entry["required"])


def _table(title, datasets):
    """Format a heading and a row per dataset."""
    head = f"\n## {title}\n\n| path | dtype | dimensions | meaning | since |\n|---|---|---|---|---|"
    rows = (f"| `{d.path}` | {_dtype(d)} | {_dims(d)} | {d.meaning} | {d.since} |" for d in datasets)
    return "\n".join([head, *rows])


def _dtype(dataset):
    return "UTF-8" if dataset.dtype == "text" else f"`{dataset.dtype}`"


def _dims(dataset):
    return " x ".join(dataset.dims).replace("*", "\\*")


if __name__ == "__main__":
    sys.stdout.write(format_page())
