"""Tests of storage.licences: what is known to allow commercial use, and what is said where something is not."""

import pytest

from storage.licences import SPDX, Claim, allows_commercial_use, describe_refusals, find_refusals, find_spdx

ALLOWED = (
    *(
        "MIT",
        "mit",
        "MIT License",
        "The MIT Licence",
        "MIT-0",
        "Apache-2.0",
        "Apache License, Version 2.0",
        "Apache 2.0",
        "ISC",
        "Unlicense",
    ),
    *("BSD-3-Clause", "BSD 3-Clause License", "BSD-2-Clause-Patent", "0BSD", "CC0-1.0", "CC0", "CC-BY-4.0", "CC BY 4.0", "CC-BY-3.0-AT"),
    *("CC BY-SA 4.0", "GPL-3.0-or-later", "GPL-3.0+", "GPL v3", "LGPL-2.1-only", "AGPL-3.0", "MPL-2.0", "ODbL-1.0", "public domain"),
    *(
        "MIT OR PolyForm-Noncommercial-1.0.0",
        "MIT AND CC-BY-4.0",
        "GPL-2.0-only WITH Classpath-exception-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "GPL-2.0-only WITH Linux-syscall-note OR CC-BY-NC-4.0",
        "MIT (made by fusion-prior)",
    ),
)
REFUSED = (
    *("", "  ", "licence", "unknown", "none", "No licence", "proprietary", "research only", "academic use", "PolyForm-Noncommercial-1.0.0"),
    *("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC BY-NC 4.0", "CC-BY-NC", "CC-BY-4.0-NC", "CC-BY-ND-4.0", "CC BY-NC-ND", "BUSL-1.1"),
    *("MIT (non-commercial)", "MIT, research only", "MIT AND CC-BY-NC-4.0", "MIT WITH Commons-Clause", "Apache-2.0 with Commons Clause"),
    *("MIT WITH no-commercial-exception", "GPL-3.0-or-later WITH Non-Commercial-Exception", "MIT WITH ", "GPL-2.0-only WITH exception"),
    *("non-MIT", "BSD-3-Clause-No-Military-License", "research OR academic", "MIT\nfor research", "free for academics, else GPL-3.0"),
)


@pytest.mark.parametrize("text", ALLOWED)
def test_what_allows_commercial_use_is_known(text: str) -> None:
    assert allows_commercial_use(text)


@pytest.mark.parametrize("text", REFUSED)
def test_what_does_not_say_so_allows_nothing(text: str) -> None:
    assert not allows_commercial_use(text)


@pytest.mark.parametrize("text", ["PolyForm-Noncommercial-1.0.0", "polyform-noncommercial-1.0.0", "MIT AND PolyForm-Noncommercial-1.0.0"])
def test_what_a_user_states_is_taken_at_their_word(text: str) -> None:
    assert allows_commercial_use(text, ["PolyForm-Noncommercial-1.0.0"])
    assert not allows_commercial_use(text, ["PolyForm-Noncommercial"])


def test_a_whole_text_can_be_stated() -> None:
    text = "bought OR rented AND paid, licence 12"
    assert not allows_commercial_use(text)
    assert allows_commercial_use(text, [text])


@pytest.mark.parametrize("empty", ["", " ", "the licence"])
def test_silence_cannot_be_stated(empty: str) -> None:
    assert not allows_commercial_use("", [empty])


def test_ids_are_spelled_as_spdx_does() -> None:
    assert [find_spdx(text) for text in ("mit", "cc by-nc 4.0", "MIT License", "home-made", "")] == ["MIT", "CC-BY-NC-4.0", "MIT", "", ""]
    assert [find_spdx(one) for one in SPDX] == list(SPDX)


def test_refusals_name_the_licence_what_stands_under_it_and_the_pairs() -> None:
    free, closed, silent = Claim("MIT", "method gff"), Claim("CC-BY-NC-4.0", "the pictures of brain"), Claim("", "method published:X")
    claims = {"p1": [free, closed], "p2": [free], "p3": [closed, silent], "p4": [closed], "p5": [closed]}
    refusals = find_refusals(claims)
    assert [(one.licence, one.subjects, one.pair_ids) for one in refusals] == [
        ("", ("method published:X",), ("p3",)),
        ("CC-BY-NC-4.0", ("the pictures of brain",), ("p1", "p3", "p4", "p5")),
    ]
    message = describe_refusals(refusals, 5)
    assert "no licence stated (method published:X) on 1 of 5 pairs: p3;" in message
    assert "'CC-BY-NC-4.0' (the pictures of brain) on 4 of 5 pairs: p1, p3, p4 and 1 more." in message
    assert "--only-allowed" in message and "--allow" in message and "\n" not in message
    assert "--only-allowed" not in describe_refusals(refusals, 4) and "nothing would be left" in describe_refusals(refusals, 4)
    assert [one.licence for one in find_refusals(claims, ["CC-BY-NC-4.0"])] == [""]
    assert find_refusals({"p2": [free]}) == ()
