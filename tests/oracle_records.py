"""Records to rows, for the oracle: the rules of docs/sql.md once more, written for clarity and not for speed."""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path

import oracle_csv
import oracle_windows
from oracle_dialect import JSON_MARK

# Small inputs are cut as a whole in the first epoch, 20 ms after the clock at which golden runs start.
EPOCH = timedelta(milliseconds=20)
CLOCK = datetime(2025, 11, 1) + EPOCH
DEPTH_MAX = 128
RECORD_BYTES_MAX = 1 << 20
DOUBLE_MAX = float.fromhex("0x1.fffffffffffffp+1023")
SCALE = {"epoch_s": 10**9, "epoch_ms": 10**6, "epoch_us": 10**3, "epoch_ns": 1}
UNITS = {"s": 1, "second": 1, "m": 60, "minute": 60, "h": 3600, "hour": 3600, "day": 86400}
MISSING = object()
NULL_OF_JSON = object()  # in a field of CSV, where a missing value is none


class Rejected(Exception):
    """The record becomes a dead letter."""


class Number(str):
    """A number as it is written."""


@dataclass
class Column:
    name: str
    kind: str
    path: list[str]
    metadata: str | None
    not_null: bool
    default: object
    computed: str | None


class Source:
    """What the oracle knows of a CREATE SOURCE; `text` is what stands behind its name."""

    def __init__(self, name: str, text: str):
        body, _, options = text.rpartition("WITH (")
        self.name = name
        self.options = options_of(options)
        self.csv = oracle_csv.Dialect.of(self.options, header=self.options.get("connector") == "file")
        self.columns: list[Column] = []
        self.checks: list[str] = []
        self.event_time: str | None = None
        self.delay = 0
        self.primary_key: list[str] = []  # of a table
        # Number of file and record of each good record, and the number of records of each file.
        self.places: list[tuple[int, int]] = []
        self.counts: list[int] = []
        for item in items(body[body.index("(") + 1 : body.rindex(")")]):
            if check := re.match(r"CHECK\s*\((.*)\)$", item, re.DOTALL):
                self.checks.append(check[1])
            elif watermark := re.match(r'WATERMARK FOR\s+("[^"]+"|\w+)\s.*(INTERVAL.*)', item, re.DOTALL):
                self.event_time = watermark[1].strip('"')
                self.delay = oracle_windows.nanos(re.findall(r"'[^']*'|\w+", watermark[2]))
            elif key := re.match(r"PRIMARY\s+KEY\s*\((.*)\)$", item, re.DOTALL):
                self.primary_key = [name.strip(' "') for name in key[1].split(",")]
            else:
                self.columns.append(column(item))
                if re.search(r"\sPRIMARY\s+KEY\b", item):
                    self.primary_key = [self.columns[-1].name]
                self.checks += [in_brackets(item[check.end() :]) for check in re.finditer(r"\sCHECK\s*(?=\()", item)]

    def rows(self, folder: Path, epoch_records: int | None = None):
        """The values of every good record, in the order of origins; of a run whose epochs have so many of a file."""
        path = folder / self.name
        self.limit = nanos(CLOCK) + seconds(self.options.get("max_future", "5 minutes")) * 10**9
        files = sorted(path.iterdir()) if path.is_dir() else [path.with_suffix(".csv" if self.csv else ".jsonl")]
        for number, file in enumerate(files):
            content = file.read_bytes()
            found = oracle_csv.records(content, self.csv) if self.csv else lines(content)
            self.header = found.pop(0) if found and self.csv and self.csv.header else None
            topic = str(file.relative_to(folder))
            self.counts.append(len(found))
            for offset, line in enumerate(found):
                known = {"topic": topic, "partition": 0, "offset": offset, "headers": "{}"}
                known["ingestion_time"] = nanos(CLOCK + EPOCH * (offset // epoch_records if epoch_records else 0))
                try:
                    row = self.row(line, known)
                except Rejected:
                    continue
                self.places.append((number, offset))
                yield row

    def row(self, line: bytes, known: dict) -> list:
        if len(line) > int(self.options.get("max_record_bytes", RECORD_BYTES_MAX)):
            raise Rejected("too large")
        record, text = self.of_csv(line) if self.csv else parsed(line)
        if self.primary_key and self.operation(record) == "delete":
            keys = {column.name: self.value(column, record, text, known) for column in self.columns if self.is_key(column)}
            if None in keys.values():
                raise Rejected("a key is NULL")
            return [*(keys.get(column.name) for column in self.columns), True]
        values = [self.value(column, record, text, known) for column in self.columns]
        for column, value in zip(self.columns, values):
            if value is None and not column.computed and (column.not_null or self.is_key(column)):
                raise Rejected(f"{column.name} is NULL")
            if column.name == self.event_time and value is not None and value > self.limit:
                raise Rejected("ahead of the clock")
        return [*values, False] if self.primary_key else values

    def is_key(self, column: Column) -> bool:
        return column.name in self.primary_key

    def operation(self, record: dict) -> str:
        """What a record does to its key."""
        if any(column.path == ["op"] for column in self.columns):
            return "update"
        found = record.get("op")
        if found not in (None, "insert", "update", "delete"):
            raise Rejected(f"{found} is nothing that can be done to a row")
        return found or "update"

    def value(self, column: Column, record: dict, text: str, known: dict):
        if column.computed:
            return None
        if column.metadata:
            value = text if column.metadata == "payload" else known.get(column.metadata)
            return JSON_MARK + value if column.kind == "JSON" and value is not None else value
        found = record
        for name in column.path:
            found = found.get(name, MISSING) if isinstance(found, dict) else MISSING
        value = None if found is MISSING or found is None else self.coerced(found, column.kind)
        return column.default if value is None else value

    def of_csv(self, line: bytes) -> tuple[dict, str]:
        """The fields by the names of their columns; one that is NULL is missing."""
        try:
            text = line.decode()
            columns = [column.name for column in self.columns if not column.metadata and not column.computed]
            names = [name for name, _ in oracle_csv.fields(self.header.decode(), self.csv)] if self.header else columns
            found = oracle_csv.fields(text, self.csv)
        except (UnicodeDecodeError, oracle_csv.Malformed) as error:
            raise Rejected(str(error)) from error
        if len(found) != len(names) or any(names.count(name) > 1 for name in columns):
            raise Rejected("not the fields of the header")
        kinds = {column.name: column.kind for column in self.columns}
        record = {}
        for name, (content, quoted) in zip(names, found):
            content = content if kinds.get(name) == "TEXT" else content.strip(" \t")
            if (not quoted and content == self.csv.null) or (content == "" and kinds.get(name) != "TEXT"):
                continue
            record[name] = parsed_value(content) if kinds.get(name) == "JSON" else content
            if record[name] is None:
                record[name] = NULL_OF_JSON
        return record, text

    def coerced(self, value, kind: str):
        if value is NULL_OF_JSON:
            return JSON_MARK + "null"
        if kind == "JSON":
            return JSON_MARK + json.dumps(unmarked(value), separators=(",", ":"))
        if isinstance(value, (dict, list)):
            raise Rejected("not a plain value")
        if kind == "TEXT":
            return json.dumps(value) if isinstance(value, bool) else str(value)
        if kind == "BOOLEAN":
            named = {"true": True, "false": False, "0": False, "1": True}
            if value == "":
                return None
            if str(value).lower() not in named:
                raise Rejected(f"{value} is no boolean")
            return named[str(value).lower()]
        if isinstance(value, bool):
            raise Rejected("a boolean is no number")
        if value == "":
            return None
        if kind == "TIMESTAMP":
            return self.time(value)
        if kind == "DATE":
            return self.day(value)
        if kind == "DOUBLE":
            double = float(checked(value))
            if abs(double) >= DOUBLE_MAX and abs(decimal(value)) > Decimal(DOUBLE_MAX):
                raise Rejected("beyond DOUBLE")
            return double
        number = decimal(value)
        bits = 63 if kind == "BIGINT" else 31
        if number != int(number) or not -(2**bits) <= number < 2**bits:
            raise Rejected(f"{value} is no {kind}")
        return int(number)

    def day(self, value: str) -> str:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            raise Rejected(f"{value} is no day")
        try:
            return datetime.fromisoformat(value).date().isoformat()
        except ValueError as error:
            raise Rejected(str(error)) from error

    def time(self, value: str) -> int:
        shape = r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d(?::?\d\d)?)?)?$"
        if found := re.match(shape, value):
            date, clock, fraction, zone = found.groups()
            try:
                moment = datetime.fromisoformat(f"{date} {clock or '00:00:00'}")
            except ValueError as error:
                raise Rejected(str(error)) from error
            digits = re.sub(r"\D", "", zone or "").ljust(4, "0")
            shift = (int(digits[:2]) * 60 + int(digits[2:])) * (-1 if (zone or "").startswith("-") else 1)
            return nanos(moment - timedelta(minutes=shift)) + int((fraction or "0")[:9].ljust(9, "0"))
        scaled = decimal(value) * SCALE[self.options.get("timestamp_format", "epoch_ms")]
        return int(scaled.to_integral_value("ROUND_FLOOR"))


def options_of(text: str) -> dict[str, str]:
    found = re.findall(r"([\w.-]+)\s*=\s*'((?:[^']|'')*)'", text)
    return {name: value.replace("''", "'") for name, value in found}


def items(text: str) -> list[str]:
    """Cuts at commas outside of brackets and quotes."""
    parts, depth = [""], 0
    for token in re.findall(r"'[^']*'|\"[^\"]*\"|.", text, re.DOTALL):
        depth += (token == "(") - (token == ")")
        if token == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return [part.strip() for part in parts]


def column(item: str) -> Column:
    name, kind = re.match(r'("[^"]+"|\w+)\s+(\w+)', item).groups()
    name = name.strip('"')
    path = re.search(r"PATH\s+'([^']+)'", item)
    metadata = re.search(r"METADATA FROM\s+'([^']+)'", item)
    default = re.search(r"DEFAULT\s+('[^']*'|\w+)", item)
    value = json.loads(default[1].lower().replace("'", '"')) if default else None
    way = path[1].split(".") if path else [name]
    computed = re.match(r'(?:"[^"]+"|\w+)\s+\w+(?:\s+NOT NULL)?\s+AS\s+(.*)$', item, re.DOTALL)
    not_null, metadata = "NOT NULL" in item, metadata[1] if metadata else None
    return Column(name, kind, way, metadata, not_null, value, computed[1] if computed else None)


def in_brackets(text: str) -> str:
    """What stands in the brackets with which a text begins."""
    level = 0
    for at, character in enumerate(text):
        level += (character == "(") - (character == ")")
        if level == 0:
            return text[1:at]
    raise ValueError(f"brackets do not match: {text}")


def lines(data: bytes) -> list[bytes]:
    """One record per line; blank lines are none."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    return [line.removesuffix(b"\r") for line in data.split(b"\n") if line.strip()]


def parsed(line: bytes) -> tuple[dict, str]:
    try:
        text = line.decode()
        record = json.loads(text, parse_int=Number, parse_float=Number, parse_constant=refused)
        if "\\u" in text:
            json.dumps(record, ensure_ascii=False).encode()  # fails on half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise Rejected(str(error)) from error
    brackets = text.count("{") + text.count("[")
    if not isinstance(record, dict) or (brackets > DEPTH_MAX and depth(text) > DEPTH_MAX):
        raise Rejected("not an object, or nested too deeply")
    return record, text


def parsed_value(text: str):
    try:
        return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=refused)
    except (ValueError, RecursionError) as error:
        raise Rejected(str(error)) from error


def refused(constant: str):
    raise ValueError(f"{constant} is not JSON")


def depth(text: str) -> int:
    deepest = level = 0
    for bracket in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text):
        level += (bracket in "[{") - (bracket in "]}")
        deepest = max(deepest, level)
    return deepest


def unmarked(value):
    if isinstance(value, Number):
        return json.loads(value)
    if isinstance(value, dict):
        return {name: unmarked(inner) for name, inner in value.items()}
    return [unmarked(inner) for inner in value] if isinstance(value, list) else value


def checked(text: str) -> str:
    if not re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", text):
        raise Rejected(f"{text} is no number")
    return text


def decimal(text: str) -> Decimal:
    try:
        return Decimal(checked(text))
    except InvalidOperation as error:
        raise Rejected(f"{text} is no number") from error


def nanos(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1)
    return ((since.days * 86400 + since.seconds) * 10**6 + since.microseconds) * 1000


def seconds(duration: str) -> int:
    """`5 minutes`, `1 hour`, `10s`."""
    count, unit = re.match(r"(\d+)\s*(\w+)", duration).groups()
    return int(count) * (UNITS.get(unit) or UNITS[unit.rstrip("s")])
