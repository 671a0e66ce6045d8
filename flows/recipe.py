"""The recipe: what a user asks for, from a TOML file, flow parameters or the command line, checked whole before any work."""

import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from prior import registry
from prior.criterion import check_metrics, parse_criterion
from prior.evaluate import find_metrics
from prior.pairs import Source
from prior.published import PREFIX
from prior.select import Policy
from storage.errors import InputError, UnknownName

Task = Literal["infrared-visible", "medical", "multi-focus", "multi-exposure"]
Keep = Literal["winners", "all"]

DEFAULT_METHODS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"infrared-visible": ("fast",), "medical": ("fast",), "multi-focus": ("fast",), "multi-exposure": ("fast",)}
)


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceBlock(_Block):
    """One `[[source]]`: two folders of pictures, and how to pair and read them."""

    a: Path
    b: Path
    name: str = Field("", pattern=r"^[^/\\]*$")
    task: Task = "infrared-visible"
    published: Path | None = None
    published_licence: str | dict[str, str] = ""
    pattern: str = ""
    licence: str = ""
    range: Literal["dtype", "percentile"] | tuple[float, float] = "dtype"
    resize: Literal["", "a", "b"] = ""
    a_modality: str = ""
    b_modality: str = ""
    subject: str = ""
    methods: tuple[str, ...] | None = None

    @field_validator("a", "b", "published")
    @classmethod
    def _make_absolute(cls, folder: Path | None) -> Path | None:
        try:
            # a worker of an existing cluster runs in another folder
            return folder and folder.expanduser().absolute()
        except RuntimeError:
            raise ValueError("there is no such user's home; write the whole path") from None

    @field_validator("subject")
    @classmethod
    def _check_subject(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from None
        if pattern and groups != 1:
            raise ValueError("expected exactly one group, the subject in the pair's key, such as '^([0-9]+)_'")
        return pattern

    def to_source(self) -> Source:
        """The same for the packages below."""
        fields = self.model_dump(exclude={"range", "methods", "subject", "published_licence"})
        return Source(**fields, value_range=self.range)

    def find_published_licence(self, method: str) -> str:
        """The licence of a published method's results; empty where the recipe does not say."""
        if isinstance(self.published_licence, str):
            return self.published_licence
        return self.published_licence.get(method.removeprefix(PREFIX), "")


class HandPicked(_Block):
    """A winner set by a person, with the reason."""

    method: str
    reason: str = Field(min_length=1)


class Recipe(_Block):
    """Everything that decides what a snapshot holds. A recipe without sources asks for the embedded example pairs."""

    source: tuple[SourceBlock, ...] = ()
    methods: tuple[str, ...] | None = None
    parameters: dict[str, dict[str, Any]] = {}
    criterion: str = "diff-if"
    metrics: tuple[str, ...] = ()
    keep: Keep = "winners"
    max_shift: Annotated[float, Field(ge=0)] | None = None
    exclude: tuple[str, ...] = ()
    winners: dict[str, HandPicked] = {}
    allow_copies: bool = False
    max_failures: float = Field(0.5, ge=0, le=1)
    time_limit: float = Field(300, gt=0)
    time_limits: dict[str, Annotated[float, Field(gt=0)]] = {}

    def policy(self) -> Policy:
        """How winners are picked."""
        by_hand = {pair_id: (one.method, one.reason) for pair_id, one in self.winners.items()}
        return Policy(parse_criterion(self.criterion), self.allow_copies, by_hand)

    def metric_names(self) -> tuple[str, ...]:
        """Every metric that is stored: the standard ones, those asked for, and those the criterion reads."""
        criterion = parse_criterion(self.criterion)
        try:
            return tuple(one.name for one in find_metrics((*self.metrics, *criterion.metrics)))
        except UnknownName:
            check_metrics(criterion, {*registry.metrics(), *self.metrics}, "")  # a misspelt profile reads as a metric
            raise

    def methods_of(self, source: SourceBlock) -> tuple[str, ...]:
        """The live methods that run on a source's pairs, sorted."""
        for names in (source.methods, self.methods):
            if names is not None:
                return registry.resolve_methods(names)
        return registry.resolve_methods(DEFAULT_METHODS[source.task])

    def limit_of(self, method: str) -> float:
        """The time limit of a method in seconds."""
        return self.time_limits.get(method, self.time_limit)


def read_recipe(path: Path) -> dict[str, Any]:
    """A recipe file as plain values; relative folders are taken from where the file lies.

    Raises:
        InputError: the file cannot be read, or is no TOML.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"recipe {path} cannot be read: {error}") from None
    blocks = content.get("source", [])
    for block in blocks if isinstance(blocks, list) else []:
        for name in ("a", "b", "published"):
            if isinstance(block, dict) and isinstance(block.get(name), str) and not block[name].startswith("~"):
                block[name] = str(path.parent / block[name])
    return content


def make_recipe(values: Mapping[str, Any], origin: str = "recipe") -> Recipe:
    """A recipe from plain values, checked whole: fields, patterns, names of methods and metrics, criterion.

    Args:
        values: the fields of a recipe.
        origin: where they come from, for the message.

    Raises:
        InputError: a field is unknown or wrong, or no source has any candidate; the message names it and what was expected.
        UnknownName: a method or a metric that nothing is registered under.
    """
    recipe = _read_fields(values, origin, ())
    _check_candidates(recipe, origin)
    return recipe


def _read_fields(values: Mapping[str, Any], origin: str, given: Collection[str]) -> Recipe:
    """A recipe, checked but for its candidates; a wrong field of those `given` as options is called as it was typed."""
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{_name_field(first['loc'], origin, given)}: {first['msg']}, got {first['input']!r}") from None
    _check_names(recipe, origin)
    return recipe


def _name_field(place: tuple[int | str, ...], origin: str, given: Collection[str]) -> str:
    """A wrong field as whoever gave it knows it: an option, such as --max-shift, or a place in a file."""
    if place[0] not in given:
        return f"{origin}: {'.'.join(map(str, place))}"
    option = place[2] if place[0] == "source" and len(place) > 2 else place[0]
    return f"--{str(option).replace('_', '-')}"


def _check_names(recipe: Recipe, origin: str) -> None:
    recipe.metric_names()
    for block in recipe.source:
        recipe.methods_of(block)
        block.to_source()
    registry.resolve_methods(recipe.methods or ())
    by_hand = (one.method for one in recipe.winners.values() if not one.method.startswith(PREFIX))
    for name in (*recipe.time_limits, *by_hand):
        registry.find_method(name)
    for name, parameters in recipe.parameters.items():
        known = registry.find_method(name).parameters
        wrong = sorted(set(parameters) - set(known))
        if wrong:
            raise InputError(f"{origin}: method {name} has no parameter {wrong[0]!r}; it has: {', '.join(known) or 'none'}")
    names = [block.name for block in recipe.source]
    if len(names) > 1 and (len(set(names)) < len(names) or "" in names):
        raise InputError(f"{origin}: several sources need a name each, all different, got {names}")


def _check_candidates(recipe: Recipe, origin: str) -> None:
    """Refuse a recipe whose snapshot could only be empty."""
    if recipe.source:
        asked = any(block.published or recipe.methods_of(block) for block in recipe.source)
    else:
        asked = recipe.methods is None or bool(registry.resolve_methods(recipe.methods))
    if not asked:
        raise InputError(
            f"{origin}: no method and no published results, so that no pair could have a winner; "
            "name methods or a set of them, such as fast or standard, or give a folder of published results"
        )


def collect_recipe(recipe: str | Path | None = None, **given: Any) -> Recipe:
    """A recipe from a file, from single values, or from both; a value that is given replaces what the file says.

    Args:
        recipe: the TOML file; None or empty for none.
        given: fields of the recipe and of one source (`a`, `b` …); None or empty where nothing is given. `methods` must not be empty.

    Raises:
        InputError, UnknownName: see `make_recipe`; also where only one of the two folders is given.
    """
    if given.get("methods") is not None and not given["methods"]:
        # neither the default nor "none" is what somebody meant for certain
        raise InputError(
            "methods is empty; name methods or a set of them, such as fast or standard, or none for the published results alone, "
            "or leave it out for what the recipe says, else fast"
        )
    values = read_recipe(Path(recipe)) if recipe else {}
    stated = {name: value for name, value in given.items() if value not in (None, "", [], ())}
    block = {name: stated.pop(name) for name in SourceBlock.model_fields if name in stated and name != "methods"}
    if block and not {"a", "b"} <= set(block):
        raise InputError(
            f"{', '.join(sorted(block))} given without the folders of both modalities; give a and b, or put them into the recipe"
        )
    sources = {"source": [block]} if block else {}
    origin = str(recipe) if recipe else "request"
    made = _read_fields(values | stated | sources, origin, {*stated, *sources})
    if "methods" in stated:  # they run on every source, whatever the file says of single ones
        made = made.model_copy(update={"source": tuple(block.model_copy(update={"methods": None}) for block in made.source)})
    _check_candidates(made, origin)
    return made
