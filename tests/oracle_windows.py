"""Windows in GROUP BY and DISTINCT ON, as DuckDB computes them: arithmetic on nanoseconds since 1970 instead of slices and watermarks.

A window is a pair of columns, `_window_start` and `_window_end`, that every row gets for each window that holds it.
"""

import re
from decimal import Decimal

WINDOWS = ("tumble", "hop", "cumulate", "session")
EDGES = {"window_start": "_window_start", "window_end": "_window_end"}
UNITS = {
    "nanosecond": 1,
    "microsecond": 1000,
    "millisecond": 10**6,
    "second": 10**9,
    "minute": 60 * 10**9,
    "hour": 3600 * 10**9,
    "day": 86400 * 10**9,
    "week": 7 * 86400 * 10**9,
}


def nanos(tokens: list) -> int:
    """An INTERVAL of a fixed length: `INTERVAL '1 hour 30 minutes'`, `INTERVAL '5' MINUTE`."""
    word, text, *unit = tokens
    if word.upper() != "INTERVAL" or len(unit) > 1:
        raise ValueError(f"not the length of a window: {tokens}")
    parts = re.findall(r"([\d.]+)\s*([a-z]*)", " ".join([text[1:-1], *unit]).lower())
    return sum(int(Decimal(count) * UNITS[name.rstrip("s")]) for count, name in parts)


def floored(time: str, length: int) -> str:
    """The multiple of a length at or before a time; `%` has the sign of what is divided."""
    return f"({time} - (({time} % {length}) + {length}) % {length})"


def of_time(kind: str, time: str, lengths: list[int], still_open: str = "TRUE") -> str:
    """What stands in FROM behind everything else: a relation of the windows that hold a row, and are open to it."""
    time = f"epoch_ns({time})"
    if kind == "tumble":
        (size,) = lengths
        starts, end = f"[{floored(time, size)}]", f"_at + {size}"
        start = "_at"
    elif kind == "hop":
        slide, size = lengths
        first = f"{floored(f'({time} - {size})', slide)} + {slide}"
        starts, end = f"generate_series({first}, {floored(time, slide)}, {slide})", f"_at + {size}"
        start = "_at"
    else:
        step, size = lengths
        start = floored(time, size)
        starts, end = f"generate_series({floored(time, step)} + {step}, {start} + {size}, {step})", "_at"
    edges = f"make_timestamp_ns({start}) AS _window_start, make_timestamp_ns({end}) AS _window_end"
    kept = f"{time} IS NOT NULL AND {still_open.replace('_at_end', end)}"
    return f", LATERAL (SELECT {edges} FROM (SELECT unnest({starts}) AS _at) WHERE {kept}) AS _windows"


def sessions(source: str, where: str, time: str, gap: int, keys: list[str], alias: str) -> str:
    """The rows of a FROM, each with its session: one begins where the row before is farther away than the gap."""
    hidden = [f"_key{number}" for number in range(len(keys))]
    named = "".join(f", {key} AS {name}" for key, name in zip(keys, hidden))
    kept = f"{time} IS NOT NULL" + (f" AND ({where})" if where else "")
    rows = f"SELECT *, epoch_ns({time}) AS _time{named} FROM {source} WHERE {kept}"
    by = ", ".join(["1", *hidden])
    steps = f"SELECT *, CASE WHEN _time - lag(_time) OVER (PARTITION BY {by} ORDER BY _time) <= {gap} THEN 0 ELSE 1 END AS _begins FROM ({rows})"
    # Rows of the same time are peers: all of them have the sum with the one that begins.
    counted = f"SELECT *, sum(_begins) OVER (PARTITION BY {by} ORDER BY _time) AS _session FROM ({steps})"
    start = f"make_timestamp_ns(min(_time) OVER (PARTITION BY {by}, _session)) AS _window_start"
    end = f"make_timestamp_ns(max(_time) OVER (PARTITION BY {by}, _session) + {gap}) AS _window_end"
    return f"(SELECT *, {start}, {end} FROM ({counted})) AS {alias}"


def first_of_each(rows: str, keys: list[str], horizon: int | None, order: str) -> str:
    """The rows of a query (with `_origin`, and event time as `_time`) that are no duplicates.

    One is if a row that stayed, of the same key, is less than the horizon away in time; without a horizon however
    far. In this order, which is that of arrival: of origins where each key is in one partition.
    """
    hidden = ", ".join(keys)
    if horizon is None:
        rank = f"row_number() OVER (PARTITION BY {hidden} ORDER BY {order})"
        return f"SELECT * EXCLUDE ({hidden}, _time) FROM ({rows}) QUALIFY {rank} = 1"
    near = f"len(list_filter(kept, lambda one: abs(one.t - next[1].t) < {horizon})) > 0"
    kept = f"list_reduce(list([{{'o': _origin, 't': _time}}] ORDER BY {order}), lambda kept, next: CASE WHEN {near} THEN kept ELSE kept || next END)"
    lists = f"SELECT {kept} AS _kept FROM ({rows}) WHERE _time IS NOT NULL GROUP BY {hidden}"
    origins = f"SELECT unnest(list_transform(_kept, lambda one: one.o)) FROM ({lists})"
    return f"SELECT * EXCLUDE ({hidden}, _time) FROM ({rows}) WHERE _origin IN ({origins})"
