"""Which rows are late, for the oracle: epochs and watermarks of a bounded run, by their definitions.

Only of sources that are not aligned, whose epochs have just so many records of each partition. What is made known to
DuckDB is, for each row of a source, the number of its epoch, and by which watermark it is judged: that of the epoch
before, the least of some sources.
"""

from itertools import combinations

NONE, END = -(2**63), 2**63 - 1  # watermarks before everything and behind everything, in nanoseconds
EPOCHS = "_epochs"


def declare(db, sources: list, records: int) -> None:
    """Sets the variables that [`judged_by`] and [`epoch`] name, where an epoch has so many records of a partition."""
    streams = {index: source for index, source in enumerate(sources) if source.event_time}
    epochs, watermarks = {}, {}
    for index, source in streams.items():
        epochs[index] = [offset // records + 1 for _, offset in source.places]
        rows = db.execute(f'SELECT _origin[2], epoch_ns("{source.event_time}") FROM {source.name}_all').fetchall()
        known = [(source.places[row], time) for row, time in rows if time is not None]
        watermarks[index] = watermarks_of(source, known, records)
    put(db, EPOCHS, [epochs.get(index, []) for index in range(len(sources))])
    for count in range(1, len(streams) + 1):
        for some in combinations(streams, count):
            least = [judged([watermarks[other] for other in some], epochs.get(index, [])) for index in range(len(sources))]
            put(db, name(some), least)


def watermarks_of(source, known: list, records: int) -> list[int]:
    """Behind epochs 0, 1, ...: the least of the partitions that have not ended; it never goes back."""
    last = [max(1, -(-count // records)) for count in source.counts]
    newest, found = [NONE] * len(last), [NONE]
    times: dict[int, list] = {}
    for (partition, offset), time in known:
        times.setdefault(offset // records + 1, []).append((partition, time))
    for epoch in range(1, max(last, default=0) + 1):
        for partition, time in times.get(epoch, []):
            newest[partition] = max(newest[partition], time - source.delay)
        open_ = [newest[partition] for partition, end in enumerate(last) if end > epoch]
        found.append(max(found[-1], min(open_, default=END)))
    return found


def judged(watermarks: list[list[int]], epochs: list[int]) -> list[int]:
    """For each row the least watermark behind the epoch before its own."""
    at = lambda marks, epoch: marks[epoch] if epoch < len(marks) else END
    return [min(at(marks, epoch - 1) for marks in watermarks) for epoch in epochs]


def sessions(db, found) -> None:
    """The tables that a [`Sessions`](oracle_dialect.Sessions) names: rows with their sessions, and late rows."""
    by_key: dict[tuple, list] = {}
    for origin, time, epoch, mark, *key in db.execute(found.rows()).fetchall():
        # Both zeros are one key.
        named = tuple(repr(value + 0.0 if isinstance(value, float) else value) for value in key)
        by_key.setdefault(named, []).append((epoch, time, origin, mark))
    put_in, late = [], []
    for rows in by_key.values():
        of_key, of_none = sessions_of(sorted(rows), *found.lengths)
        put_in += of_key
        late += of_none
    db.execute(f"CREATE TABLE _sessions{found.number} (_of BIGINT[], _first BIGINT, _end BIGINT)")
    db.execute(f"CREATE TABLE _late{found.number} (_of BIGINT[])")
    for table, rows in (("_sessions", put_in), ("_late", late)):
        if rows:
            values = ", ".join(f"({', '.join(map(str, row))})" for row in rows)
            db.execute(f"INSERT INTO {table}{found.number} VALUES {values}")


def sessions_of(rows: list, gap: int, allowed: int) -> tuple[list, list]:
    """Rows of one key: those of an epoch are merged with each other and with the sessions that are open, then judged."""
    done, open_, late = [], [], []
    for epoch in sorted({row[0] for row in rows}):
        arrived = [row for row in rows if row[0] == epoch]
        mark = arrived[0][3]
        done += [session for session in open_ if session[1] + gap + allowed < mark]
        parts = [(*session, True) for session in open_ if session[1] + gap + allowed >= mark]
        parts += [(time, time, [origin], False) for _, time, origin, _ in arrived]
        merged: list = []
        for first, last, origins, is_open in sorted(parts, key=lambda part: part[0]):
            if merged and first - merged[-1][1] <= gap:
                before = merged[-1]
                merged[-1] = (before[0], max(before[1], last), before[2] + origins, before[3] or is_open)
            else:
                merged.append((first, last, origins, is_open))
        open_ = [session[:3] for session in merged if session[3] or session[1] + gap + allowed >= mark]
        late += [(origin,) for session in merged if session[:3] not in open_ for origin in session[2]]
    return [(origin, first, last + gap) for first, last, origins in done + open_ for origin in origins], late


def put(db, variable: str, lists: list[list[int]]) -> None:
    db.execute(f"SET VARIABLE {variable} = CAST({lists} AS BIGINT[][])")


def name(sources) -> str:
    return "_judged_by" + "".join(f"_{index}" for index in sorted(sources))


def judged_by(sources, origin: str) -> str:
    """The watermark by which the row of an origin is judged, in nanoseconds; `sources` are those that it is made of."""
    return of_row(name(sources), origin)


def epoch(origin: str) -> str:
    return of_row(EPOCHS, origin)


def of_row(variable: str, origin: str) -> str:
    return f"getvariable('{variable}')[{origin}[1] + 1][{origin}[2] + 1]"
