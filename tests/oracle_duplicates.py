"""SELECT DISTINCT ON in DuckDB's SQL: the first row of each key by origin, within a horizon of event time.

What DuckDB has under this name knows no horizon: so the rows of a key are gone through one by one, in the order of
their origins, and each is kept unless one that was kept is near. Exact as long as nothing is late.
"""

import re


def resolved(key: list, items: list[list]) -> list:
    """What an expression of DISTINCT ON means: first a name or number of the SELECT list, else columns of the input."""
    if len(key) == 1 and isinstance(key[0], str):
        if re.fullmatch(r"\d+", key[0]):
            item = items[int(key[0]) - 1]
            return item[:-2] if len(item) > 2 and str(item[-2]).upper() == "AS" else item
        for item in items:
            if len(item) > 2 and str(item[-2]).upper() == "AS" and item[-1].lower() == key[0].lower():
                return item[:-2]
    return key


def kept(rows: str, keys: list[str], time: str | None, horizon_ns: int | None) -> str:
    """The rows of `rows`, a SELECT list and what stands behind it, that are kept; they have a column `_origin`."""
    select, behind = rows.split("\0")
    named = [f"{key} AS _k{index}" for index, key in enumerate(keys)]
    names = ", ".join(f"_k{index}" for index in range(len(keys)))
    if horizon_ns is None:
        first = f"QUALIFY row_number() OVER (PARTITION BY {names} ORDER BY _origin) = 1"
        return f"SELECT * EXCLUDE ({names}) FROM ({select}, {', '.join(named)} {behind}) {first}"
    near = f"len(list_filter(kept, lambda other: abs(other.t - one[1].t) < {horizon_ns})) > 0"
    reduced = (
        "list_reduce(list([{'t': epoch_ns(_t), 'o': _origin}] ORDER BY _origin), "
        f"lambda kept, one: CASE WHEN {near} THEN kept ELSE list_concat(kept, one) END)"
    )
    origins = f"SELECT unnest(list_transform({reduced}, lambda one: one.o)) FROM input GROUP BY {names}"
    return (
        f"WITH input AS (SELECT * FROM ({select}, {time} AS _t, {', '.join(named)} {behind}) WHERE _t IS NOT NULL) "
        f"SELECT * EXCLUDE (_t, {names}) FROM input WHERE _origin IN ({origins})"
    )
