"""Luma and chroma: split as OpenCV splits them, joined without losing luma or hue."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from prior.arrays import Chroma, Image, Picture, choose_chroma, chroma, is_colour, join, luma, to_image

LEVELS = [0, 1, 84, 127, 128, 171, 254, 255]
CUBE: Picture = np.array(list(itertools.product(LEVELS, repeat=3)), np.uint8).reshape(16, 32, 3)
"""Every mixture of dark, middle and bright channels, saturated ones included."""

PICTURES = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


def draw(seed: int, *shape: int) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def paint(*pixel: int) -> Picture:
    """A colour picture of one pixel."""
    return np.array([[pixel]], np.uint8)


def colour_of(picture: Picture) -> Chroma:
    """The colour differences of a picture that has colour."""
    colour = chroma(picture)
    assert colour is not None
    return colour


def weigh(picture: Picture) -> NDArray[np.float64]:
    """Luma in float64, not rounded."""
    return picture.astype(np.float64) @ [0.299, 0.587, 0.114]


# Luma.


def test_luma_is_opencv_bgr2gray_on_float32_rounded() -> None:
    picture = draw(0, 300, 400, 3)
    bgr = picture[:, :, ::-1].astype(np.float32)
    np.testing.assert_array_equal(luma(picture), np.rint(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)).astype(np.uint8))


@settings(deadline=None, derandomize=True)
@given(picture=PICTURES)
def test_luma_is_the_nearest_level(picture: Picture) -> None:
    grey = luma(picture)
    assert grey.dtype == np.uint8 and grey.shape == picture.shape[:2]
    assert np.abs(grey - weigh(picture)).max() <= 0.5 + 1e-4


def test_luma_of_the_primaries() -> None:
    pixels = {(255, 0, 0): 76, (0, 255, 0): 150, (0, 0, 255): 29, (255, 255, 255): 255, (0, 0, 0): 0, (255, 255, 0): 226}
    assert {pixel: int(luma(paint(*pixel))[0, 0]) for pixel in pixels} == pixels


def test_grey_is_returned_as_it_is() -> None:
    grey = draw(1, 7, 5)
    assert luma(grey) is grey
    assert chroma(grey) is None
    assert not is_colour(grey) and is_colour(CUBE)


def test_equal_channels_have_that_luma_and_no_colour() -> None:
    levels = np.arange(256, dtype=np.uint8)[None, :]
    picture = np.repeat(levels[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(luma(picture), levels)
    np.testing.assert_allclose(colour_of(picture), 0, atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 3)], ids=["grey", "colour"])
def test_an_image_is_luma_from_0_to_1(shape: tuple[int, ...]) -> None:
    picture = draw(2, *shape)
    image = to_image(picture)
    assert image.dtype == np.float32 and image.shape == (6, 8)
    np.testing.assert_array_equal(np.rint(image * np.float32(255)).astype(np.uint8), luma(picture))
    assert to_image(np.array([[0, 255]], np.uint8)).tolist() == [[0, 1]]


# Split and join.


@settings(max_examples=200, deadline=None, derandomize=True)
@given(picture=PICTURES)
def test_what_is_split_is_joined_again(picture: Picture) -> None:
    joined = join(to_image(picture), chroma(picture))
    assert joined.dtype == np.uint8
    assert np.abs(joined.astype(int) - picture).max() <= 1


def test_saturated_colours_are_joined_again() -> None:
    assert np.abs(join(to_image(CUBE), chroma(CUBE)).astype(int) - CUBE).max() <= 1


def test_grey_is_joined_by_rounding() -> None:
    image = np.array([[0, 0.2, 0.5, 0.999, 1]], np.float32)
    assert join(image, None).tolist() == [[0, 51, 128, 255, 255]]
    grey = draw(3, 20, 30)
    np.testing.assert_array_equal(join(to_image(grey), None), grey)


def pair_up(seed: int) -> tuple[Image, Chroma]:
    """A fused luma, and colour differences that have nothing to do with it."""
    image = np.random.default_rng(seed).random(CUBE.shape[:2], np.float32)
    image[0], image[1] = 0, 1
    return image, colour_of(np.random.default_rng(seed).permutation(CUBE))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_joining_keeps_the_fused_luma(seed: int) -> None:
    image, colour = pair_up(seed)
    off = np.abs(luma(join(image, colour)).astype(int) - join(image, None))
    assert off.max() <= 1
    assert (off == 0).mean() > 0.99


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_joining_keeps_the_hue(seed: int) -> None:
    image, colour = pair_up(seed)
    joined = colour_of(join(image, colour)).astype(np.float64)
    strength = (colour.astype(np.float64) ** 2).sum(axis=2)
    share = np.clip((joined * colour).sum(axis=2) / np.maximum(strength, 1), 0, 1)  # how much of the colour is left
    assert np.abs(joined - share[:, :, None] * colour).max() <= 1.5


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_joining_takes_no_more_colour_away_than_the_cube_asks_for(seed: int) -> None:
    image, colour = pair_up(seed)
    green = -(0.299 * colour[:, :, 0] + 0.114 * colour[:, :, 1]) / 0.587
    whole = np.rint(255.0 * image[:, :, None]) + np.dstack([colour[:, :, 0], green, colour[:, :, 1]])
    fits = ((whole >= 0) & (whole <= 255)).all(axis=2)
    joined = join(image, colour)
    assert np.abs(joined[fits] - whole[fits]).max() <= 0.51
    at_the_end = (joined[~fits] == 0) | (joined[~fits] == 255)
    assert at_the_end.any(axis=1).all(), "a colour was taken away although there was room"
    assert 0.05 < fits.mean() < 0.95


def test_colour_that_does_not_fit_is_taken_away_and_never_clipped() -> None:
    red = colour_of(paint(255, 0, 0))
    for value, level in ((0, 0), (1, 255)):
        extreme = join(np.full((1, 1), value, np.float32), red)
        assert np.abs(extreme.astype(int) - level).max() <= 1 and luma(extreme)[0, 0] == level
    brighter = join(np.full((1, 1), 0.6, np.float32), red)[0, 0]
    assert brighter[0] == 255 and brighter[1] == brighter[2] > 0
    assert abs(int(luma(brighter[None, None])[0, 0]) - 153) <= 1


# Where the colour of a fused image comes from.


def test_colour_comes_from_the_source_that_has_it() -> None:
    grey, colour = draw(4, 16, 32), CUBE
    assert choose_chroma(grey, grey) == ("none", None)
    for pair, policy in (((colour, grey), "a"), ((grey, colour), "b")):
        chosen, found = choose_chroma(*pair)
        assert chosen == policy and found is not None
        np.testing.assert_array_equal(found, colour_of(colour))


def test_of_two_colours_the_stronger_one_counts_more() -> None:
    a, b = paint(200, 100, 50), paint(90, 100, 150)
    of_a, of_b = colour_of(a)[0, 0], colour_of(b)[0, 0]
    policy, mixed = choose_chroma(a, b)
    assert policy == "weighted" and mixed is not None and mixed.dtype == np.float32
    expected = (abs(of_a) * of_a + abs(of_b) * of_b) / (abs(of_a) + abs(of_b))
    np.testing.assert_allclose(mixed[0, 0], expected, rtol=1e-5)
    assert mixed[0, 0, 0] > 0.5 * (of_a[0] + of_b[0]), "the reddish source has the stronger red"


def test_colour_beside_none_is_kept_and_none_beside_none_stays_none() -> None:
    plain = paint(120, 120, 120)
    for pair in ((paint(200, 100, 50), plain), (plain, paint(200, 100, 50))):
        _, mixed = choose_chroma(*pair)
        assert mixed is not None
        np.testing.assert_allclose(mixed, colour_of(paint(200, 100, 50)), atol=1e-3)
    _, mixed = choose_chroma(paint(0, 0, 0), paint(0, 0, 0))
    assert mixed is not None and not mixed.any()


@settings(deadline=None, derandomize=True)
@given(picture=PICTURES)
def test_two_equal_colours_are_that_colour(picture: Picture) -> None:
    _, mixed = choose_chroma(picture, picture)
    assert mixed is not None
    np.testing.assert_allclose(mixed, colour_of(picture), atol=1e-3)


def test_inputs_may_be_read_only_views_and_are_left_alone() -> None:
    wide = draw(5, 40, 60, 3)
    kept = wide.copy()
    view = wide[::2, ::-3]
    view.setflags(write=False)
    same = np.ascontiguousarray(view)
    np.testing.assert_array_equal(luma(view), luma(same))
    image, (policy, colour) = to_image(view), choose_chroma(view, luma(view))
    assert policy == "a" and colour is not None
    for one in (image, colour):
        one.setflags(write=False)
    np.testing.assert_array_equal(join(image, colour), join(to_image(same), chroma(same)))
    np.testing.assert_array_equal(wide, kept)
