"""The stand-in for CuPy: what it refuses, what it counts, and that it offers what CuPy offers."""

import copy
import inspect
import json
import operator
import pickle
import sys

import array_api_compat
import numpy as np
import pytest

from freezeviz import backend
from tests.standin_cupy import (
    SURFACE,
    HazardError,
    HostTrafficError,
    host_reads,
    installed,
    ndarray,
    on_device_only,
)
from tests.standin_cupy.read_surface import read_surface

HOST = np.arange(6.0).reshape(2, 3)


@pytest.fixture
def standin():
    with installed() as cupy:
        yield cupy


# ---------------------------------------------------------------- against CuPy itself


def test_it_offers_what_the_installed_cupy_offers():
    pytest.importorskip("cupy")
    real = read_surface()
    if real["version"].split(".")[:2] == SURFACE["version"].split(".")[:2]:
        assert json.loads(json.dumps(real)) == SURFACE
    # Another version: what it has under a name takes at least the options that ours takes.
    for part in ("cupy", "linalg"):
        for name, text in SURFACE[part]["functions"].items():
            other = real[part]["functions"].get(name)
            if text is not None and other is not None:
                assert names(text) <= names(other), name


def names(text):
    scope = {}
    exec(f"def f{text}: ...", scope)
    return set(inspect.signature(scope["f"]).parameters)


def test_it_offers_nothing_that_cupy_does_not(standin):
    known = {*SURFACE["numpy"], "ndarray", "ufunc", "linalg", "fft", "cuda"}
    known |= {*SURFACE["cupy"]["functions"], *SURFACE["cupy"]["ufuncs"]}
    assert {name for name in vars(standin) if not name.startswith("_")} <= known
    public = {name for name in vars(ndarray) if not name.startswith("_")}
    assert public <= set(SURFACE["members"])
    for special in ("__index__", "__array_namespace__", "__array_interface__", "__contains__"):
        assert special not in SURFACE["members"]
        assert not hasattr(ndarray, special)


def test_every_method_of_cupys_takes_cupys_options(standin):
    for name, text in SURFACE["methods"].items():
        method = getattr(ndarray, name, None)
        if method is not None and not hasattr(method, "__wrapped__"):
            assert names(text) >= set(inspect.signature(method).parameters) - {"args", "kwargs"}


def test_streams_events_and_pinned_memory_take_cupys_options(standin):
    cuda, cupyx = standin.cuda, sys.modules["cupyx"]
    for kind, members in SURFACE["streams"].items():
        ours = getattr(cuda, kind)
        public = {name for name in vars(ours) if not name.startswith("_")}
        assert public <= set(members) | {"run", "happen"}, kind  # those two are the stand-in's
        for name, text in members.items():
            if text is not None:
                assert plain_names(getattr(ours, name)) == names(text), (kind, name)
    assert plain_names(cupyx.empty_pinned) == names(SURFACE["pinned"]["empty_pinned"])


def plain_names(function):
    return set(inspect.signature(function).parameters)


# ---------------------------------------------------------------- in CuPy's place


def test_it_stands_in_cupys_place_within_the_block_only():
    before = sys.modules.get("cupy"), vars(array_api_compat).get("cupy")
    with installed() as cupy:
        x = cupy.asarray(HOST)
        assert sys.modules["cupy"] is cupy
        assert type(x).__module__ == "cupy"
        assert array_api_compat.is_cupy_array(x)
        assert backend.is_array(x)
        assert not isinstance(x, np.ndarray)
        assert backend.array_namespace(x).__name__ == "array_api_compat.cupy"
    assert (sys.modules.get("cupy"), vars(array_api_compat).get("cupy")) == before
    with installed() as again:
        assert again is cupy


# ---------------------------------------------------------------- refusals

REFUSED = {
    "an array of NumPy's on the right": (lambda cp, x: x + HOST, TypeError, "Unsupported type"),
    "an array of NumPy's on the left": (lambda cp, x: HOST * x, TypeError, "Unsupported type"),
    "one in place": (lambda cp, x: x.__iadd__(HOST), TypeError, "Unsupported type"),
    "one in a comparison": (lambda cp, x: x < HOST, TypeError, "Unsupported type"),
    "one in a function": (lambda cp, x: np.where(x > 1, x, HOST), TypeError, "Unsupported type"),
    "one among several": (lambda cp, x: cp.concatenate([x, HOST]), TypeError, "Unsupported type"),
    "one that is written": (lambda cp, x: operator.setitem(x, ..., HOST), ValueError, "non-scalar"),
    "a list": (lambda cp, x: x * [1.0, 2.0, 3.0], TypeError, "NotImplemented"),
    "becoming an array of NumPy's": (lambda cp, x: np.asarray(x), TypeError, "Implicit conversion"),
    "being an index": (lambda cp, x: range(cp.asarray(3)), TypeError, "integer"),
    "where= of a ufunc": (lambda cp, x: np.add(x, x, where=True), TypeError, "Wrong arguments"),
    "where= of a sum": (lambda cp, x: np.sum(x, where=x > 1), TypeError, "where"),
    "initial= of a maximum": (lambda cp, x: x.max(initial=0.0), TypeError, "initial"),
    "mode= of take": (lambda cp, x: np.take(x, [0], mode="clip"), TypeError, "mode"),
    "a kind of sort": (lambda cp, x: np.sort(x, kind="mergesort"), ValueError, "stable"),
    "out= of NumPy's": (lambda cp, x: np.add(x, x, out=HOST.copy()), TypeError, "Output"),
    "a name it does not have": (lambda cp, x: cp.vecdot, AttributeError, "vecdot"),
    "NumPy's name for it": (lambda cp, x: np.unstack(x), TypeError, "no implementation"),
    "objects": (lambda cp, x: cp.asarray(["a"]), ValueError, "Unsupported dtype"),
    "a plain condition": (lambda cp, x: cp.where(True, x, x), AttributeError, "astype"),
    "being a key": (lambda cp, x: {x: 1}, TypeError, "unhashable"),
    "more than one as a truth value": (lambda cp, x: bool(x), ValueError, "ambiguous"),
    "an assignment to no flag of its own": (
        lambda cp, x: setattr(x.flags, "writeable", False) or x.flags["WRITEABLE"],
        KeyError,
        "WRITEABLE",
    ),
    "the scatter_add that is going away": (
        lambda cp, x: sys.modules["cupyx"].scatter_add(x, 0, 1.0),
        DeprecationWarning,
        "cupy.add.at",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_refuses(what, standin):
    call, kind, message = REFUSED[what]
    with pytest.raises(kind, match=message):
        call(standin, standin.asarray(HOST))


# ---------------------------------------------------------------- manners


def test_scalars_keep_the_dtype_as_numpys_promotion_has_it(standin):
    x = standin.ones(3, dtype="float32")
    assert (x * 2.5).dtype == (2 * x).dtype == np.float32
    assert (x * np.float64(2.5)).dtype == (np.float64(2.5) * x).dtype == np.float64


def test_reductions_and_entries_are_arrays_on_the_device(standin):
    x = standin.asarray(HOST)
    for value in (x.sum(), x[0, 1], x.max(axis=0)[1], next(iter(x[0])), standin.allclose(x, x)):
        assert type(value) is ndarray
        assert value.shape == ()


def test_indices_out_of_bounds_wrap(standin):
    x = standin.asarray([1.0, 2.0, 3.0])
    at = standin.asarray([3, 1, -4])
    np.testing.assert_array_equal(x[at].get(), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(x.take(at).get(), [1.0, 2.0, 3.0])


def test_fresh_memory_holds_no_zeros(standin):
    assert np.isnan(standin.empty(3).get()).all()
    assert standin.empty_like(standin.asarray([1, 2])).get().all()


def test_floating_point_trouble_is_silent(standin):
    x = standin.asarray([0.0, 1e300])
    assert np.isinf((1.0 / x).get()[0])
    x *= 1e300
    assert np.isinf(x.get()[1])


def test_views_share_memory_and_know_their_base(standin):
    x = standin.asarray(HOST)
    row = x[1]
    assert x.base is None
    assert row.base is x
    assert row.data.ptr == x.data.ptr + x.strides[0]
    row += 1.0
    assert x.get()[1, 0] == HOST[1, 0] + 1.0
    assert HOST[1, 0] == 3.0
    assert copy.deepcopy(x).data.ptr != x.data.ptr
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(x)).get(), x.get())


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda x: float(x.sum()), "float"),
        (lambda x: int(x.sum()), "int"),
        (lambda x: bool(x.any()), "bool"),
        (lambda x: x.sum().item(), "item"),
        (lambda x: x.get(), "get"),
        (lambda x: x.tolist(), "tolist"),
        (lambda x: f"{x}", "format"),
        (lambda x: backend.to_numpy(x), "get"),
        (lambda x: x[x > 1.0], "mask"),
        (lambda x: operator.setitem(x, x > 1.0, 0.0), "mask"),
        (lambda x: x.nonzero(), "nonzero"),
        (lambda x: np.unique(x), "unique"),
        (lambda x: backend.array_namespace(x).sign(x), "mask"),
    ],
)
def test_waiting_for_the_device_is_counted(call, what, standin):
    x = standin.asarray(HOST)
    with host_reads() as reads:
        call(x)
    assert len(reads) == 1
    assert what in reads[0]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda cp, x: float(x.sum()), "waits for the device: float in test_standin.py"),
        (lambda cp, x: x[x > 1.0], "waits for the device: an index that is a mask"),
        (lambda cp, x: cp.asarray(HOST), "gives the device an array: asarray in test_standin.py"),
        (lambda cp, x: x.take([0, 1], axis=1), "gives the device an array: take"),
        (lambda cp, x: x[[0, 1]], "gives the device an array: an index"),
    ],
)
def test_traffic_between_host_and_device_can_be_forbidden(call, said, standin):
    x = standin.asarray(HOST)
    with on_device_only():
        np.tanh(x @ x.T) * 2.0, x[:, 0], standin.asarray(1.0), standin.zeros(3)
        with pytest.raises(HostTrafficError, match=said):
            call(standin, x)
    call(standin, x)


def test_work_on_the_device_is_not_counted(standin):
    x = standin.asarray(HOST)
    with host_reads() as reads:
        y = np.tanh(x @ x.T)[:, 0] + x[standin.asarray([0, 1]), 0]
        standin.add.at(y, standin.asarray([0, 0]), 1.0)
        len(y), y.shape, y.sum(), np.where(y > 0, y, 0.0), standin.asarray(HOST)
    assert reads == []


# ---------------------------------------------------------------- streams and pinned memory


def pinned(values):
    host = sys.modules["cupyx"].empty_pinned(len(values), float)
    host[...] = values
    return host


def sent(cp, host, stream):
    """Copy pinned memory to the device, on a stream that waits for the memory's former users."""
    there = cp.empty(host.shape, host.dtype)
    stream.wait_event(cp.cuda.get_current_stream().record())
    there.set(host, stream=stream)
    return there, stream.record()


def test_a_copy_from_pinned_memory_is_made_when_somebody_waits_for_it(standin):
    stream, host = standin.cuda.Stream(non_blocking=True), pinned([1.0, 2.0])
    with on_device_only():
        there, copied = sent(standin, host, stream)
    assert not copied.done
    assert np.isnan(there.get()).all()  # who does not wait computes with garbage
    with on_device_only():
        standin.cuda.get_current_stream().wait_event(copied)
    assert copied.done
    np.testing.assert_array_equal(there.get(), [1.0, 2.0])


def test_pinned_memory_that_is_written_before_its_copy_is_made_spoils_it(standin):
    stream, host = standin.cuda.Stream(non_blocking=True), pinned([1.0, 2.0])
    there, copied = sent(standin, host, stream)
    host[0] = 9.0
    with host_reads() as reads:
        copied.synchronize()
    assert len(reads) == 1
    np.testing.assert_array_equal(there.get(), [9.0, 2.0])


def test_a_copy_into_memory_that_may_be_in_use_is_refused(standin):
    stream, host = standin.cuda.Stream(non_blocking=True), pinned([1.0, 2.0])
    early = standin.cuda.get_current_stream().record()
    there = standin.empty(2, float)
    stream.wait_event(early)
    with pytest.raises(HazardError, match="handed out"):
        there.set(host, stream=stream)


def test_numbers_for_pinned_memory_come_when_their_event_is_waited_for(standin):
    host, stream = pinned([7.0, 7.0]), standin.cuda.get_current_stream()
    x = standin.asarray([1.0, 2.0])
    with on_device_only():
        x.get(stream=stream, out=host, blocking=False)
        there = stream.record()
        x += 1.0  # behind the copy
    np.testing.assert_array_equal(host, [7.0, 7.0])
    with pytest.raises(HostTrafficError), on_device_only():
        there.synchronize()
    there.synchronize()
    np.testing.assert_array_equal(host, [1.0, 2.0])
    np.testing.assert_array_equal(x.get(), [2.0, 3.0])


def test_memory_that_is_not_pinned_is_copied_at_once_and_makes_the_host_wait(standin):
    x, plain = standin.asarray([1.0, 2.0]), np.zeros(2)
    with host_reads() as reads:
        x.get(stream=standin.cuda.get_current_stream(), out=plain, blocking=False)
    assert len(reads) == 1
    with pytest.raises(HostTrafficError), on_device_only():
        x.set(plain, stream=standin.cuda.Stream(non_blocking=True))
