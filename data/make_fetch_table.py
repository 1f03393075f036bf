"""Make pwlnet/_fetch_table.json from a manifest of data files.

    python data/make_fetch_table.py MANIFEST.json [OUT.json]

The manifest has a list ``files`` of entries ``file`` (the name), ``repo``, ``commit``, ``path``, ``sha256``, ``size``
and ``licence``. An entry whose bytes are not those at its origin (made for pwlnet, converted, put together from parts
or cut from a larger file) can only be read from a local folder; the table says why.
"""

import json
import sys
from pathlib import Path

GITHUB = "https://github.com/"
CUT = {"images/fashion/train10k-labels-idx1-ubyte.gz": "it is the first 10000 labels of the file at its origin"}
OUT = Path(__file__).resolve().parent.parent / "pwlnet" / "_fetch_table.json"


def why_local(entry):
    """Why a file can't be had from its origin byte by byte; None where it can."""
    if not (entry.get("repo") and entry.get("commit") and entry.get("path")):
        return "it was made for pwlnet"
    if not entry["repo"].startswith(GITHUB):
        return f"its origin is {entry['repo']}"
    if "(" in entry["path"] or "{" in entry["path"] or "*" in entry["path"]:
        return "it was put together from several files of its origin"
    if entry.get("derived_from_sha256"):
        return "it was converted from a file in another format"
    return CUT.get(entry["file"])


def row(entry):
    """One row of the table."""
    repo = entry.get("repo")
    return {
        "name": entry["file"],
        "repo": repo and repo.removeprefix(GITHUB),
        "commit": entry.get("commit"),
        "path": entry.get("path"),
        "sha256": entry["sha256"],
        "size": entry["size"],
        "licence": entry["licence"],
        "local_only": why_local(entry),
    }


def main(manifest, out=OUT):
    """Write the table, one row a line."""
    rows = sorted((row(entry) for entry in json.loads(Path(manifest).read_text())["files"]), key=lambda r: r["name"])
    Path(out).write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")
    print(f"{out}: {len(rows)} files, {sum(r['local_only'] is not None for r in rows)} of them local only")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
