"""Writes vectors.json: golden vectors of the assignment algorithm "hrw1", computed without Serin's code.

Needs Python 3 and the package xxhash. `python generate.py > vectors.json` must give the committed file.
"""
import json
import math
import xxhash

MASK = (1 << 64) - 1


def x(text):
    return xxhash.xxh3_64_intdigest(text.encode(), seed=0)


def mix(n):
    n ^= n >> 33
    n = n * 0xFF51AFD7ED558CCD & MASK
    n ^= n >> 33
    n = n * 0xC4CEB9FE1A85EC53 & MASK
    return n ^ (n >> 33)


def u(n):
    return (n >> 11) * 2.0**-53


def draw(unit, salt, traffic, variants):
    h = xxhash.xxh3_64_intdigest(unit.encode(), seed=x(salt))
    scores = {
        v["name"]: -math.log(((mix(h ^ x("variant:" + v["name"])) >> 11) + 0.5) * 2.0**-53) / v["weight"]
        for v in variants
    }
    return u(mix(h ^ x("enrol"))) < traffic, min(scores, key=scores.get)


def slot(unit, kind, name):
    return 100.0 * u(mix(xxhash.xxh3_64_intdigest(unit.encode(), seed=x(kind + ":" + name))))


UNITS = [f"u-{i}" for i in range(40)] + ["0", "42", "-7", "18446744073709551615", "Zoë", "日本", "a" * 300, " ", "u-1\n"]
SPLITS = [
    ("support_reply_tone", 1.0, [("control", 50), ("friendly", 50)]),
    ("support_reply_tone", 0.3, [("control", 50), ("friendly", 50)]),
    ("canary", 1.0, [("control", 0.95), ("candidate", 0.05)]),
    ("three arms", 0.999, [("a", 1), ("b", 2), ("c", 3)]),
    ("Ünïcode", 1.0, [("x", 1e-3), ("y", 1e3), ("z", 7)]),
    ("eight", 1.0, [(f"v{i}", i + 1) for i in range(8)]),
]
cases = []
for salt, traffic, pairs in SPLITS:
    variants = [{"name": name, "weight": weight} for name, weight in pairs]
    units = []
    for unit in UNITS:
        enrolled, variant = draw(unit, salt, traffic, variants)
        units.append({"unit": unit, "enrolled": enrolled, "variant": variant})
    cases.append({"salt": salt, "traffic": traffic, "variants": variants, "units": units})
slots = [
    {"unit": unit, "layer": slot(unit, "layer", "support"), "holdout": slot(unit, "holdout", "2027-h1"),
     "bucket": xxhash.xxh3_64_intdigest(unit.encode(), seed=x("bucket")) % 1024}
    for unit in UNITS
]
print(json.dumps({"algorithm": "hrw1", "buckets": 1024, "layer": "support", "holdout": "2027-h1", "slots": slots,
                  "cases": cases}, ensure_ascii=False, indent=1))
