#!/usr/bin/env python3
"""Random dataflows in event time of whose records some are late, for the oracle.

    oracle_late.py write SEED COUNT FOLDER
    oracle_late.py coverage SEED TESTS COUNT

As oracle_event_time.py. Partitions are not aligned, so that epochs have as many records as the run says, and
oracle_lateness.py knows which rows are late.
"""

import sys
import oracle_data
import oracle_event_time
import oracle_generator
from oracle_generator import Query, Relation


class Late(oracle_event_time.EventTime):
    # There are fewer of them, and some features are seldom.
    FEATURES = {name: least // 2 for name, least in oracle_event_time.EventTime.FEATURES.items()}
    FEATURES |= {"interval_exists": 0, "window_having": 0, "window_of_lookup": 0, "late": 10}

    def sources(self) -> list[oracle_data.Source]:
        sources = super().sources()
        for source in sources:
            if source.delay:
                source.options = ", scan.watermark.alignment.max-drift = 'unbounded'"
                source.declared = self.pick([1, source.delay // 10 + 1, source.delay // 3 + 1])
        return sources

    def union_of_times(self, pool: list[Relation], depth: int) -> Query:
        """Of rows that come with their records, or of such that come when they are due: what is late is known of these."""
        records = [relation for relation in pool if relation.origin]
        due = [relation for relation in pool if not relation.origin and not {"lookup_exists", "lookup_in"} & relation.features]
        return super().union_of_times(due if due and self.chance(0.4) else records or due or pool, depth)

    def late_rows(self, query: Query, name: str) -> str:
        return f"late({name})" if query.judges else ""


if __name__ == "__main__":
    sys.exit(oracle_generator.main(Late))
