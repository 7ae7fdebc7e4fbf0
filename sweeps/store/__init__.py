"""One Zarr store for each sweep, which xarray opens at any moment: how its bytes lie is known in this folder alone.

Its groups are `simulation`, `theory` and `status`. Every array has the grid's axes first, in chunks of one cell (times
one block of replicates), so that a task owns the chunks it writes and no chunk has two writers. A task's status is
written after its results. Metadata is consolidated in the root after every change of shape, so that a reader changes
from the old shape to the new one in a single step. Only the driver changes metadata; workers write chunks.

A store of many cells has the chunks of neighbours in shards, whose only writer is the driver; its workers append to
logs of their own, below `logs`, and the driver merges these into the shards.

Its modules from the lowest to the highest: `patience` and `conditions`; `remote` and `claims`; `objects`, `location`
and `lock`; `places` and `chunks`; `shards` and `logs`; `merging` and `keeping`; `single`, `sharded` and `settings`;
`metadata`; `layout`; `consistency`; `migration` and `description`; `lifecycle`; `survey`, `writing` and `selection`;
`integrity`.
"""

from sweeps.store.claims import StoreTaken
from sweeps.store.description import find_broken, restore
from sweeps.store.integrity import Damage, Fault, find_damage, mend, starts_not_finite
from sweeps.store.layout import DONE, FAILED, PENDING, settings_for, stored_size
from sweeps.store.lifecycle import TARGET, WANTED, Store, may_have_shards, open_root
from sweeps.store.lock import Lease, is_driven, only_driver, remark_of_driver
from sweeps.store.merging import damaged_records, waiting_bytes
from sweeps.store.metadata import SETTINGS
from sweeps.store.objects import orphans
from sweeps.store.places import CELL, TIED, columns, is_asked
from sweeps.store.selection import drop, redo, solve_with
from sweeps.store.settings import is_of_code, settings_of
from sweeps.store.survey import (
    Lacking,
    facts,
    failures,
    is_done,
    lacking,
    missing,
    read_simulation,
    read_theory,
    states,
    theory_lacking,
)
from sweeps.store.writing import write_results, write_status

__all__ = [
    "CELL",
    "DONE",
    "FAILED",
    "PENDING",
    "SETTINGS",
    "TARGET",
    "TIED",
    "WANTED",
    "Damage",
    "Fault",
    "Lacking",
    "Lease",
    "Store",
    "StoreTaken",
    "columns",
    "damaged_records",
    "drop",
    "facts",
    "failures",
    "find_broken",
    "find_damage",
    "is_asked",
    "is_done",
    "is_driven",
    "is_of_code",
    "lacking",
    "may_have_shards",
    "mend",
    "missing",
    "only_driver",
    "open_root",
    "orphans",
    "read_simulation",
    "read_theory",
    "redo",
    "remark_of_driver",
    "restore",
    "settings_for",
    "settings_of",
    "solve_with",
    "starts_not_finite",
    "states",
    "stored_size",
    "theory_lacking",
    "waiting_bytes",
    "write_results",
    "write_status",
]
