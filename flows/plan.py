"""The plan of a build: which pairs there are, which candidates they have, and what of it is still to be done.

Everything is found by content key: what a key covers decides the number, and what it does not cover (paths, the number of workers,
the time of day) does not. So a build that is started again, or for one method more, does only what is missing.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from flows.recipe import Recipe, SourceBlock
from flows.work import CandidateTask, PairTask
from prior import registry
from prior.evaluate import fail
from prior.pairs import Inspection, PairRef, flag_duplicates, scan
from prior.published import Gathered, PublishedFile, gather, index_methods, inspect_published
from prior.select import Choice, Policy, select
from storage import journal, tables
from storage.errors import InputError
from storage.journal import Entry
from storage.repository import IMAGES, Store, array_path, find_head
from storage.schema import EXCLUDED, OK, PAIRS, SCHEMA_VERSION, PairRow, ScoreRow
from storage.snapshot import Snapshot, read_snapshot
