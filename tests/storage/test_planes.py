"""Tests of storage.planes: pictures to planes and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from storage.planes import stack, unstack

Pictures = dict[str, NDArray[np.uint8]]
NAMES = st.one_of(st.text(min_size=1, max_size=12), st.sampled_from(["a", "winner", "published:v1.2", "a.red", "a.grey", ".", "..", "x."]))


@st.composite
def draw_pictures(draw: st.DrawFn) -> Pictures:
    """Grey and colour pictures of one size, under any names."""
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    shapes = st.sampled_from([(height, width), (height, width, 3)])
    pictures = shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape))
    return draw(st.dictionaries(NAMES, pictures, min_size=1, max_size=5))


@given(draw_pictures())
def test_pictures_come_back_as_they_were(pictures: Pictures) -> None:
    planes, names = stack(pictures)
    assert planes.flags.c_contiguous
    assert planes.dtype == np.uint8
    assert planes.shape[0] == len(names) == len(set(names)) == sum(1 if one.ndim == 2 else 3 for one in pictures.values())
    back = unstack(planes, names)
    assert list(back) == list(pictures)
    for name, picture in pictures.items():
        assert back[name].flags.c_contiguous
        np.testing.assert_array_equal(back[name], picture)


def test_the_names_say_picture_and_channel() -> None:
    _, names = stack({"a": np.zeros((2, 2), np.uint8), "published:v1.2": np.zeros((2, 2, 3), np.uint8)})
    assert names == ("a.grey", "published:v1.2.red", "published:v1.2.green", "published:v1.2.blue")


def test_channels_are_in_the_order_of_their_names() -> None:
    colour = np.dstack([np.full((2, 3), level, np.uint8) for level in (10, 20, 30)])
    planes, _ = stack({"winner": colour})
    assert planes[:, 0, 0].tolist() == [10, 20, 30]


def test_pictures_of_two_sizes_cannot_be_stacked() -> None:
    with pytest.raises(ValueError, match="same shape"):
        stack({"a": np.zeros((2, 2), np.uint8), "b": np.zeros((2, 3), np.uint8)})
