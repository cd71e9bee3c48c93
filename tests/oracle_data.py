"""Random sources with random records, for the oracle: NULLs, ties, limits, Unicode, times before 1970, broken records."""

import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

BIG = 2**63 - 1
TEXTS = ["a", "B", "ab", "aB1", "", " ", "é", "日本語", "naïve", "🚗", "12", "-5", "x y z", "a%b", "it's", "A", "b", '"q"', "a\\b"]
EPOCH = datetime(1970, 1, 1)
AHEAD = (datetime(2031, 5, 1) - EPOCH) // timedelta(microseconds=1)


@dataclass
class Column:
    name: str
    kind: str
    bound: int = 0  # of integers: no value is further from zero
    sums: str = ""  # of doubles: 'exact' sums round nowhere, 'positive' ones do not cancel out
    fuzzy: bool = False
    few: bool = False  # whether values repeat often
    nulls: bool = True
    options: str = ""
    path: str = ""
    draw: object = None
    time: str = ""  # of a time attribute: 'time', or the 'start' or 'end' of windows


@dataclass
class Source:
    name: str
    columns: list[Column]
    rows: list[str] = field(default_factory=list)  # lines of JSON, in order
    partitions: int = 1
    # Of one with event time: how far records may be behind those before them, and for each record its place in time
    # and its event. The records of an event are in one partition, so that their order does not depend on epochs.
    delay: int = 0
    timed: list[tuple[int, int]] = field(default_factory=list)
    # Of a table: the columns of its key, and for each record a number that those of the same key share. They are in one
    # partition and in order, also in `shuffled`: the last one counts.
    keys: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    options: str = ""
    declared: int | None = None  # the delay that is declared, if it is another one

    def statement(self) -> str:
        columns = ",\n".join(f"    {c.name} {c.kind}{c.options}" for c in self.columns)
        if self.delay:
            delay = self.delay if self.declared is None else self.declared
            columns += f",\n    WATERMARK FOR ts AS ts - INTERVAL '{delay} microseconds'"
        if self.keys:
            columns += f",\n    PRIMARY KEY ({', '.join(self.keys)})"
        kind = "TABLE" if self.keys else "SOURCE"
        options = f"connector = 'kafka', topic = '{self.name}'{self.options}"
        return f"CREATE {kind} {self.name} (\n{columns}\n) WITH ({options});\n"

    def write(self, folder: Path) -> None:
        if self.keys:
            return self.write_events(folder, list(zip(self.places, self.rows)), self.partitions)
        if self.delay:
            return self.write_events(folder, [(event, row) for (_, event), row in zip(self.timed, self.rows)], self.partitions)
        self.write_lines(folder, [self.rows[part :: self.partitions] for part in range(self.partitions)])

    def write_shuffled(self, folder: Path, source: random.Random) -> None:
        """The same records in another order, over other partitions."""
        if self.keys:
            return self.write_events(folder, list(zip(self.places, self.rows)), source.randrange(1, 5))
        if self.delay:
            return self.write_late(folder, source)
        rows = self.rows.copy()
        source.shuffle(rows)
        cuts = sorted(source.randrange(len(rows) + 1) for _ in range(source.randrange(4)))
        self.write_lines(folder, [rows[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(rows)])])

    def write_late(self, folder: Path, source: random.Random) -> None:
        """As late as they may be, and no later: in each partition of a watermark that none of them is behind."""
        found = arrivals(source, [(*timed, row) for timed, row in zip(self.timed, self.rows)], self.delay)
        self.write_events(folder, [(event, row) for _, event, row in found], source.randrange(1, 5))

    def write_events(self, folder: Path, rows: list[tuple[int, str]], count: int) -> None:
        self.write_lines(folder, [[row for event, row in rows if event % count == part] for part in range(count)])

    def write_lines(self, folder: Path, parts: list[list[str]]) -> None:
        (folder / self.name).mkdir(parents=True)
        for number, part in enumerate(parts):
            (folder / self.name / f"{number}.jsonl").write_text("".join(f"{row}\n" for row in part))


def columns(r: random.Random) -> list[Column]:
    moments = [time_of(r) for _ in range(12)]
    words = [word(r) for _ in range(8)]
    columns = [
        Column("k", "TEXT", few=True, draw=lambda: r.choice(TEXTS[:6])),
        Column("site", "BIGINT", bound=3, few=True, draw=lambda: r.randrange(-3, 4)),
        Column("n", "BIGINT", bound=1000, draw=lambda: integer(r, r.randrange(-1000, 1001))),
        Column("big", "BIGINT", bound=BIG, draw=lambda: extreme(r)),
        Column("small", "INT", bound=2**31, draw=lambda: r.choice([0, 1, -1, 2**31 - 1, -(2**31), r.randrange(-99, 99)])),
        Column("d", "DOUBLE", sums="exact", draw=lambda: r.choice([-0.0, 0.0, 0.5, r.randrange(-8000, 8000) / 8])),
        Column("w", "DOUBLE", sums="positive", draw=lambda: r.random() * 10.0 ** r.randrange(-5, 9)),
        Column("b", "BOOLEAN", few=True, draw=lambda: r.choice([True, False, "true", 0])),
        Column("s", "TEXT", draw=lambda: r.choice(TEXTS) if r.random() < 0.7 else r.choice(words)),
        Column("t", "TIMESTAMP", draw=lambda: written(r, r.choice(moments) if r.random() < 0.5 else time_of(r))),
        Column('"at Time"', "TIMESTAMP", few=True, draw=lambda: written(r, r.choice(moments[:4]))),
        Column("day", "DATE", few=True, draw=lambda: (EPOCH + timedelta(days=r.randrange(-400, 400))).date().isoformat()),
        Column("j", "JSON", draw=lambda: document(r)),
    ]
    kept = [column for column in columns if r.random() < 0.75]
    for column in kept:
        column.nulls = r.random() < 0.7
        if column.kind != "JSON" and r.random() < 0.1:
            column.path = "in.ner"
            column.options = f" PATH 'in.{column.name.strip(chr(34))}'"
        if not column.nulls and r.random() < 0.3:
            column.options += " NOT NULL"
        if column.kind == "BIGINT" and r.random() < 0.1:
            column.options += " DEFAULT 2"
    r.shuffle(kept)
    return [Column("id", "BIGINT", bound=1 << 20, options=" NOT NULL"), *kept]


def source(r: random.Random, name: str) -> Source:
    drawn = columns(r)
    count = r.choice([0, 1, 20, 60, 60, 60, 90, 90, 120, 120])
    rows = [record(r, drawn, number) for number in r.sample(range(1000), count)]
    return Source(name, drawn, rows, r.choice([1, 1, 2, 3]))


def timed_source(r: random.Random, name: str, step: int) -> Source:
    """One with event time, of about `step` microseconds between records, and with as much disorder as it declares."""
    now = {}
    column = Column("ts", "TIMESTAMP", options=" NOT NULL", nulls=False, time="time")
    column.draw = lambda: written(r, now["time"])
    if r.random() < 0.1:
        column.options, column.nulls = "", True
    event = Column("event", "BIGINT", bound=1000, options=" NOT NULL", nulls=False, few=True, draw=lambda: now["event"])
    drawn = columns(r)
    for added in (column, event):
        drawn.insert(r.randrange(1, len(drawn) + 1), added)
    delay = r.choice([1, step // 2, 3 * step, 10 * step, 40 * step])
    numbers = r.sample(range(1000), r.choice([0, 1, 30, 60, 80, 120, 120, 120, 160, 160, 200, 240]))
    some = r.choice([5, 40, 1000])
    timed = [(time, r.randrange(some), number) for time, number in zip(moments(r, len(numbers), step), numbers)]
    arriving, rows = arrivals(r, timed, delay), []
    for time, event, number in arriving:
        # A clock that is years ahead: a dead letter, which moves nothing.
        now.update(time=time if r.random() < 0.99 else AHEAD, event=event)
        rows.append(record(r, drawn, number))
    return Source(name, drawn, rows, r.choice([1, 1, 2, 3, 4]), delay, [(time, event) for time, event, _ in arriving])


def table(r: random.Random, name: str) -> Source:
    """A table, of whose keys some are replaced and some deleted."""
    key = {}
    by_id = Column("id", "BIGINT", bound=16, few=True, nulls=False, draw=lambda: key["id"])
    by_text = Column("k", "TEXT", few=True, nulls=False, draw=lambda: key["k"])
    drawn = r.choice([[by_id], [by_id], [by_text], [by_id, by_text]])
    others = [column for column in columns(r)[1:] if column.name != "k"]
    rows, places = [], []
    for _ in range(r.choice([0, 3, 20, 40, 60])):
        key.update(id=r.randrange(-3, 12), k=r.choice(TEXTS[:6]))
        places.append((key["id"] + 3) * 8 * (by_id in drawn) + TEXTS.index(key["k"]) * (by_text in drawn))
        if r.random() < 0.15:
            rows.append(json.dumps({"op": "delete"} | {column.name: key[column.name] for column in drawn}))
        else:
            rows.append(record(r, [*drawn, *others], None))
    return Source(name, [*drawn, *others], rows, r.choice([1, 1, 2, 3]), keys=[column.name for column in drawn], places=places)


def moments(r: random.Random, count: int, step: int) -> list[int]:
    """Times with ties, gaps, and many at the ends of windows."""
    # Not beyond the clock of the runs.
    first = datetime.fromisoformat(r.choice(["2025-10-01T10:00:00", "1969-12-31T23:58:30", "2024-02-28T23:30:00", "2000-01-01"]))
    at, times = (first - EPOCH) // timedelta(microseconds=1), []
    for _ in range(count):
        at += r.choice([0, 1, step // 3, step, step, 2 * step, r.randrange(3 * step), 20 * step if r.random() < 0.2 else step])
        times.append(at - at % (5 * step) if r.random() < 0.2 else at)
    return times


def arrivals(r: random.Random, timed: list[tuple], delay: int) -> list[tuple]:
    """What begins with a time, in an order in which nothing is more than the delay behind something before it."""
    return sorted(timed, key=lambda one: one[0] + r.randrange(delay + 1))


def record(r: random.Random, columns: list[Column], number: int | None) -> str:
    """A record with the number as its first column, if there is one."""
    if r.random() < 0.02:
        return r.choice(['{"id": ', '{"id": 1.5}', "[]", '{"k": "no id"}'])
    values: dict = {} if number is None else {"id": number}
    inner: dict = {}
    for column in columns if number is None else columns[1:]:
        name = column.name.strip('"')
        target = inner if column.path else values
        if not column.nulls or r.random() < 0.8:
            target[name] = column.draw()
        elif r.random() < 0.5:
            target[name] = None
    if inner:
        values["in"] = inner
    return json.dumps(values, ensure_ascii=r.random() < 0.5, separators=(",", ":"))


def integer(r: random.Random, value: int):
    return r.choice([value, value, value, str(value), float(value)])


def extreme(r: random.Random) -> int:
    return r.choice([BIG, -BIG - 1, BIG - r.randrange(3), 0, 2**53 + 1, r.randrange(-BIG, BIG), 10**18])


def word(r: random.Random) -> str:
    return "".join(r.choice("abcXYZ 019éüж漢🚗") for _ in range(r.randrange(1, 9)))


def time_of(r: random.Random) -> int:
    """Microseconds since 1970: DuckDB computes with no less."""
    day = r.choice([-400_000, -1, 0, 1, 19_000, 20_000, r.randrange(-30_000, 30_000)])
    return day % 90_000 * 86_400_000_000 * (1 if day >= 0 else 0) - (day < 0) * r.randrange(10**15) + r.choice(
        [0, 0, 1, 500_000, r.randrange(86_400_000_000)]
    )


def written(r: random.Random, micros: int):
    moment = EPOCH + timedelta(microseconds=micros)
    if micros % 1000 == 0 and r.random() < 0.3:
        return micros // 1000
    text = moment.isoformat(timespec="microseconds")
    if r.random() < 0.2:
        return (moment + timedelta(hours=2)).isoformat(timespec="microseconds") + "+02:00"
    return text + r.choice(["Z", ""])


def document(r: random.Random):
    leaf = lambda: r.choice([None, True, 1, -2.5, "x", "é", [1, 2], {"b": 1}, ""])
    return r.choice([{"a": leaf(), "b": {"c": leaf()}}, {"a": leaf()}, {}, [leaf(), leaf()], 7, "text"])
