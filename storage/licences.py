"""Licences: which of them allow commercial use, so that an export for it can refuse what does not.

What is known stands in a table of families. Everything else is refused, also where nobody said anything: silence is no permission. Licences
that forbid derivatives (CC-BY-ND) are not in the table, for a fused picture is one. This reads texts; it gives no legal advice.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

FAMILIES = (
    # Permissive, of code.
    r"mit(-0)?|isc|zlib|x11|0bsd|ncsa|hpnd|wtfpl|unlicense|bsl-1\.0|psf-2\.0|python-2\.0(\.1)?|ms-pl",
    r"bsd(-[0-4]-clause(-(clear|patent|attribution|views))?)?",
    r"apache(-[\d.]+)?",
    # Of code that stays open: selling what was made with it is allowed.
    r"(gnu-)?[al]?gpl(-?v?\d(\.\d)?)?(-only|-or-later|\+)?",
    r"(mpl|epl|eupl|artistic|cecill)(-\d(\.\d)?)?",
    # Of pictures and tables.
    r"cc0(-1\.0)?|cc-pddc|cc-pdm-1\.0|pddl(-1\.0)?|public-domain",
    r"cc-by(-sa)?(-\d\.\d(-(at|au|de|igo|jp|nl|uk|us))?)?",
    r"odbl(-1\.0)?|odc-by(-1\.0)?|cdla-(permissive|sharing)-\d\.\d|ogl-uk-\d\.\d|etalab-2\.0",
    # Texts of this project's own.
    r"mit-\(made-by-fusion-prior\)",
)
"""Regular expressions of normalised texts: SPDX ids and what people write in their place."""

SPDX = (
    *("MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Unlicense", "MPL-2.0", "CC0-1.0", "PDDL-1.0", "ODbL-1.0", "ODC-By-1.0"),
    *("CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-ND-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0"),
    *("GPL-2.0-only", "GPL-3.0-only", "GPL-3.0-or-later", "LGPL-3.0-only", "AGPL-3.0-only", "PolyForm-Noncommercial-1.0.0"),
)
"""Ids as SPDX spells them, allowed or not: those that an export names by their address."""

EXCEPTIONS = (
    *("Autoconf-exception-2.0", "Autoconf-exception-3.0", "Autoconf-exception-generic", "Autoconf-exception-macro", "Bison-exception-2.2"),
    *("Bootloader-exception", "Classpath-exception-2.0", "CLISP-exception-2.0", "eCos-exception-2.0", "FLTK-exception"),
    *("Font-exception-2.0", "freertos-exception-2.0", "GCC-exception-2.0", "GCC-exception-2.0-note", "GCC-exception-3.1"),
    *("gnu-javamail-exception", "GPL-3.0-linking-exception", "GPL-3.0-linking-source-exception", "GPL-CC-1.0", "GStreamer-exception-2005"),
    *("GStreamer-exception-2008", "i2p-gpl-java-exception", "LGPL-3.0-linking-exception", "Libtool-exception", "Linux-syscall-note"),
    *("LLVM-exception", "OCaml-LGPL-linking-exception", "OCCT-exception-1.0", "OpenJDK-assembly-exception-1.0", "Qt-GPL-exception-1.0"),
    *("Qt-LGPL-exception-1.1", "Qwt-exception-1.0", "SHL-2.0", "SHL-2.1", "Swift-exception", "u-boot-exception-2.0"),
    *("Universal-FOSS-exception-1.0", "WxWindows-exception-3.1", "cryptsetup-OpenSSL-exception", "openvpn-openssl-exception"),
    *("stunnel-exception", "vsftpd-openssl-exception", "x11vnc-openssl-exception"),
)
"""What may follow `WITH`, as SPDX spells it: terms that allow more than the licence before them. Any other may forbid something."""

_SPELLED = {one.casefold(): one for one in SPDX}
_EXCEPTIONS = frozenset(one.casefold() for one in EXCEPTIONS)
_KNOWN = re.compile("|".join(f"(?:{family})" for family in FAMILIES))
_NOISE = re.compile(r",?\s*\bversion\b|(?<![\w])the\b|\blicen[cs]e\b")


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """One licence that a pair stands under.

    Attributes:
        licence: the text as it was given, empty where nobody said.
        subject: whose it is, such as "method gff".
    """

    licence: str
    subject: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A licence that is not known to allow commercial use.

    Attributes:
        licence: its text, empty where nobody said.
        subjects: what stands under it.
        pair_ids: the pairs that rest on these, in order.
    """

    licence: str
    subjects: tuple[str, ...]
    pair_ids: tuple[str, ...]


def normalise(text: str) -> str:
    """A licence as the table names it: lower case, words joined by `-`, without "the", "licence" and "version"."""
    bare = _NOISE.sub(" ", text.casefold())
    return re.sub(r"[\s_-]+", "-", bare).strip("-")


def allows_commercial_use(text: str, allowed: Collection[str] = ()) -> bool:
    """Whether a licence is known to allow commercial use, of derivatives too.

    Args:
        text: an SPDX id, an SPDX expression without parentheses (`MIT OR GPL-3.0-only`), or what people write in its place.
        allowed: texts that somebody stated to allow it.
    """
    stated = {normalise(one) for one in allowed} - {""}
    if normalise(text) in stated:
        return True
    choices = re.split(r"\s+OR\s+", text)
    return any(all(_allows(part, stated) for part in re.split(r"\s+AND\s+", choice)) for choice in choices)


def find_spdx(text: str) -> str:
    """The SPDX id that a text stands for; empty where it is none of `SPDX`."""
    return _SPELLED.get(normalise(text), "")


def find_refusals(claims: Mapping[str, Sequence[Claim]], allowed: Collection[str] = ()) -> tuple[Refusal, ...]:
    """Every licence that is not known to allow commercial use, with the pairs that rest on it.

    Args:
        claims: by pair.
        allowed: texts that somebody stated to allow it.
    """
    verdicts = {text: allows_commercial_use(text, allowed) for text in {one.licence for many in claims.values() for one in many}}
    refused = [(one, pair_id) for pair_id, many in claims.items() for one in many if not verdicts[one.licence]]
    return tuple(
        Refusal(
            licence,
            tuple(sorted({one.subject for one, _ in refused if one.licence == licence})),
            tuple(sorted({pair_id for one, pair_id in refused if one.licence == licence})),
        )
        for licence in sorted({one.licence for one, _ in refused})
    )


def describe_refusals(refusals: Sequence[Refusal], total: int) -> str:
    """Which licences stand in the way, on how many of `total` pairs, and what can be done, as one message."""
    parts = [
        f"{_quote(one.licence)} ({_list_some(one.subjects)}) on {len(one.pair_ids)} of {total} pairs: {_list_some(one.pair_ids)}"
        for one in refusals
    ]
    is_all = len({pair_id for one in refusals for pair_id in one.pair_ids}) == total
    remedy = "Without these pairs nothing would be left; state" if is_all else "Leave these pairs out with --only-allowed, or state"
    return (
        f"not known to allow commercial use: {'; '.join(parts)}. {remedy} with "
        '--allow "LICENCE" that one allows it; where none is stated, write it into the recipe (licence, published_licence) and build again'
    )


def _allows(text: str, stated: Collection[str]) -> bool:
    base, joined, exception = text.partition(" WITH ")
    if joined and normalise(exception) not in _EXCEPTIONS:
        return False  # a condition more, not one less
    found = normalise(base)
    return found in stated or _KNOWN.fullmatch(found) is not None


def _quote(licence: str) -> str:
    return repr(licence) if licence.strip() else "no licence stated"


def _list_some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
