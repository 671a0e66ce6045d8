"""Tests of storage.errors: every error survives pickling and reads as one sentence."""

import inspect
import pickle

import pytest

from storage import errors
from storage.errors import CandidateError, FusionPriorError, InputError, UnknownName, unknown_name

CLASSES = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, Exception)]
CODED = (InputError, CandidateError)


@pytest.mark.parametrize("error_class", CLASSES)
def test_an_error_survives_pickling(error_class: type[Exception]) -> None:
    back = pickle.loads(pickle.dumps(error_class("street_01: expected 'a', got 'b'")))
    assert type(back) is error_class
    assert str(back) == "street_01: expected 'a', got 'b'"


@pytest.mark.parametrize("error_class", CODED)
def test_a_reason_code_survives_pickling(error_class: type[InputError]) -> None:
    back = pickle.loads(pickle.dumps(error_class("too small", "too_small")))
    assert (str(back), back.code) == ("too small", "too_small")


def test_one_class_catches_them_all() -> None:
    assert len(CLASSES) == 12
    assert all(issubclass(one, FusionPriorError) for one in CLASSES)


def test_errors_are_what_python_programs_expect() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(UnknownName, KeyError)
    assert issubclass(errors.SnapshotNotFound, errors.StoreError)
    assert issubclass(errors.SchemaMismatch, errors.StoreError)
    assert issubclass(errors.CommitConflict, errors.StoreError)
    assert issubclass(errors.StoreBusy, errors.StoreError)
    assert issubclass(errors.WriteFailed, errors.StoreError) and issubclass(errors.WriteFailed, OSError)


def test_an_unknown_name_is_told_the_nearest_ones() -> None:
    error = unknown_name("method", "laplacian_pyramd", ["average", "gff", "laplacian_pyramid", "ratio_pyramid"])
    assert str(error) == "unknown method 'laplacian_pyramd'; did you mean laplacian_pyramid, ratio_pyramid?"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    assert str(unknown_name("metric", "SSIM", ["vif", "ssim"])) == "unknown metric 'SSIM'; did you mean ssim?"
    assert str(unknown_name("metric", "mi", ["MI", "vif"])) == "unknown metric 'mi'; did you mean MI?"


def test_an_unknown_name_that_is_near_to_none_of_many_is_told_a_few() -> None:
    known = [f"q{number:02d}" for number in range(30)]
    assert str(unknown_name("metric", "zzz", known)) == f"unknown metric 'zzz'; known: {', '.join(known[:10])}, … and 20 more"


def test_an_unknown_name_that_is_near_to_none_is_told_all() -> None:
    assert str(unknown_name("metric", "zzz", ["vif", "ssim"])) == "unknown metric 'zzz'; known: ssim, vif"
