"""The fetch table: a local folder first, then the cache, then a download; checksums always; image sets."""

import gzip
import hashlib
import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from pwlnet import datasets
from pwlnet.errors import ChecksumError, ConversionError, InputError, MissingDataError

NAME, CONTENT = "nets/small.nnet", b"some bytes"


def entry(name, content, **fields):
    sha256 = hashlib.sha256(content).hexdigest()
    origin = {
        "repo": "owner/repo",
        "commit": "c0ffee",
        "path": "a folder/small.nnet",
        "licence": "MIT",
        "local_only": None,
    }
    return datasets.DataFile(name=name, sha256=sha256, size=len(content), **(origin | fields))


@pytest.fixture
def table(monkeypatch, tmp_path):
    """A table of one file, an empty local folder and an empty cache."""
    rows = {NAME: entry(NAME, CONTENT)}
    monkeypatch.setattr(datasets, "_table", lambda: rows)
    monkeypatch.setenv("PWLNET_DATA_DIR", str(tmp_path / "local"))
    monkeypatch.setenv("PWLNET_CACHE_DIR", str(tmp_path / "cache"))
    return rows


@pytest.fixture
def downloads(monkeypatch):
    """Answers of the network, by address; an address that is missing is offline. Returns the log of requests."""
    pooch = pytest.importorskip("pooch")
    answers, log = {}, []

    def download(self, url, output_file, pooch):
        log.append(url)
        if url not in answers:
            raise OSError("no network")
        Path(output_file).write_bytes(answers[url])

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", download)
    log.append(answers)
    return log


def put(tmp_path, content, name=NAME, where="local"):
    path = tmp_path / where / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_shipped_table_is_sorted_and_complete():
    names = datasets.names()
    assert names == sorted(names)
    assert len(names) > 200
    for name in names:
        file = datasets.describe(name)
        assert len(file.sha256) == 64
        assert file.size > 0
        assert file.licence
        assert (file.address is None) == (file.local_only is not None)
        assert file.local_only or (len(file.commit) == 40 and file.repo.count("/") == 1)


def test_names_are_filtered_by_prefix():
    assert datasets.names("acasxu/nnet/") == [n for n in datasets.names() if n.startswith("acasxu/nnet/")]
    assert len(datasets.names("acasxu/nnet/")) == 45


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(InputError, match=r"name is 'mnist/kw/mnist_kv.onnx', .* nearest is 'mnist/kw/mnist_kw.onnx'"):
        datasets.fetch("mnist/kw/mnist_kv.onnx")


def test_addresses_are_built_from_repository_commit_and_path():
    address = "https://raw.githubusercontent.com/owner/repo/c0ffee/a%20folder/small.nnet"
    assert entry(NAME, CONTENT).address == address


def test_the_local_folder_comes_first(table, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    path = put(tmp_path, CONTENT)
    assert datasets.fetch(NAME) == path


def test_a_local_file_with_other_bytes_is_refused_with_both_digests(table, tmp_path):
    put(tmp_path, b"other bytes")
    digests = f"{hashlib.sha256(b'other bytes').hexdigest()}, but {NAME} must have {table[NAME].sha256}"
    with pytest.raises(ChecksumError, match=digests):
        datasets.fetch(NAME)


def test_what_is_not_local_is_downloaded_once(table, downloads, tmp_path):
    answers = downloads[0]
    answers[table[NAME].address] = CONTENT
    path = datasets.fetch(NAME)
    assert path == tmp_path / "cache" / NAME
    assert path.read_bytes() == CONTENT
    assert datasets.fetch(NAME) == path
    assert downloads[1:] == [table[NAME].address]


def test_a_download_with_other_bytes_is_refused(table, downloads):
    downloads[0][table[NAME].address] = b"moved"
    with pytest.raises(ChecksumError, match=r"no longer gives the bytes of nets/small.nnet, whose SHA-256 is"):
        datasets.fetch(NAME)


def test_without_a_network_the_error_says_what_is_missing_and_from_where(table, downloads, monkeypatch):
    with pytest.raises(MissingDataError, match=r"it is not in PWLNET_DATA_DIR=.*downloaded from https://raw.*\(OSError\)"):
        datasets.fetch(NAME)
    monkeypatch.delenv("PWLNET_DATA_DIR")
    with pytest.raises(MissingDataError, match="PWLNET_DATA_DIR is not set, and it can't be downloaded"):
        datasets.fetch(NAME)


def test_a_file_without_an_origin_is_local_only(table):
    table[NAME] = entry(NAME, CONTENT, repo=None, commit=None, path=None, local_only="it was made for pwlnet")
    assert table[NAME].address is None
    with pytest.raises(MissingDataError, match="it was made for pwlnet, so it can't be downloaded; set PWLNET_DATA_DIR"):
        datasets.fetch(NAME)


def test_without_pooch_the_error_says_what_to_install(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"downloading nets/small.nnet .* pip install 'pwlnet\[data\]'"):
        datasets.fetch(NAME)


# Images.


def idx(array):
    """An idx.gz file."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def images(table, tmp_path):
    """Two images in the form of each set."""
    rng = np.random.default_rng(0)
    gray, color = rng.integers(0, 256, (2, 28, 28)), rng.integers(0, 256, (2, 3, 32, 32))
    files = {
        "images/mnist/t10k-images-idx3-ubyte.gz": idx(gray),
        "images/mnist/t10k-labels-idx1-ubyte.gz": idx(np.array([7, 2])),
        "images/fashion/t10k-images-idx3-ubyte.gz": idx(gray),
        "images/fashion/t10k-labels-idx1-ubyte.gz": idx(np.array([9, 2, 1])),
        "images/cifar10/cifar10_labels.js": f"var labels={json.dumps([0] * 50000 + [3, 8])};\n".encode(),
    }
    for name, content in files.items():
        put(tmp_path, content, name)
        table[name] = entry(name, content)
    return gray, color


def test_mnist_images_have_one_channel(images):
    found, labels = datasets.load_images("mnist")
    np.testing.assert_array_equal(found, images[0][:, None])
    assert (found.dtype, labels.dtype, labels.tolist()) == (np.uint8, np.int64, [7, 2])


def test_cifar_images_come_from_rows_of_pixels_and_test_labels_from_the_end(images, table, tmp_path):
    picture = pytest.importorskip("PIL.Image")
    name = "images/cifar10/cifar10_batch_50.png"
    rows = images[1].transpose(0, 2, 3, 1).reshape(2, 1024, 3).astype(np.uint8)
    path = put(tmp_path, b"", name)
    picture.fromarray(rows).save(path)
    table[name] = entry(name, path.read_bytes())
    found, labels = datasets.load_images("cifar10")
    np.testing.assert_array_equal(found, images[1])
    assert (found.dtype, labels.tolist()) == (np.uint8, [3, 8])


def test_labels_that_do_not_fit_the_images_are_refused(images, table, tmp_path):
    name = "images/fashion/t10k-labels-idx1-ubyte.gz"
    path = put(tmp_path, idx(np.array([9])), name)
    table[name] = entry(name, path.read_bytes())
    with pytest.raises(ConversionError, match="has 1 labels for 2 images"):
        datasets.load_images("fashion")


@pytest.mark.parametrize(("name", "split"), [("imagenet", "test"), ("mnist", "valid")])
def test_unknown_image_sets_and_splits_are_refused(name, split):
    with pytest.raises(InputError, match=f"name and split are '{name}' and '{split}'; image sets are 'mnist'"):
        datasets.load_images(name, split=split)
