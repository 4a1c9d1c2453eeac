#!/usr/bin/env python3
"""A second implementation of the sticky pick, written from the documentation of `filter/core/src/routing/rendezvous.rs`.

Compares hashes, scores (both to the bit) and picks with the vectors in rendezvous.json. Needs the package xxhash."""

import json
import pathlib
import struct
import sys

import xxhash


def ln(x):
    """Returns the natural logarithm of 0 < x <= 1 as FreeBSD's msun computes it; math.log differs in the last bit."""
    high, low = struct.unpack(">II", struct.pack(">d", x))
    # x = 2^k (1 + f), with 1 + f between sqrt(2)/2 and sqrt(2).
    high += 0x3FF00000 - 0x3FE6A09E
    k = (high >> 20) - 0x3FF
    high = (high & 0xFFFFF) + 0x3FE6A09E
    f = struct.unpack(">d", struct.pack(">II", high, low))[0] - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (0.3999999999940941908 + w * (0.2222219843214978396 + w * 0.1531383769920937332))
    odd = z * (0.6666666666666735130 + w * (0.2857142874366239149 + w * (0.1818357216161805012 + w * 0.1479819860511658591)))
    half = 0.5 * f * f
    return s * (half + (odd + even)) + k * 1.90821492927058770002e-10 - half + f + k * 6.93147180369123816490e-01


def hash_of(split, backend, value):
    return xxhash.xxh3_64_intdigest(split.encode() + b"\0" + backend.encode() + b"\0" + value)


def score(hashed, billionths):
    u = ((hashed >> 11) + 0.5) / 2.0**53
    return -ln(u) / float(billionths)


def main():
    vectors = json.loads(pathlib.Path(__file__).with_suffix(".json").read_text())
    failed = 0
    for number, vector in enumerate(vectors):
        value = bytes.fromhex(vector["value"])
        scores = []
        for backend in vector["backends"]:
            billionths = int(backend["weight"].removesuffix("n"))
            hashed = hash_of(vector["split"], backend["service"], value)
            found = {"hash": f"{hashed:016x}"}
            if billionths > 0:
                scored = score(hashed, billionths)
                scores.append((scored, backend["service"]))
                found["score"] = struct.pack(">d", scored).hex()
            for key, found in found.items():
                if backend[key] != found:
                    failed += 1
                    print(f"vector {number}, {backend['service']}: {key} {found}, not {backend[key]}")
        if min(scores)[1] != vector["pick"]:
            failed += 1
            print(f"vector {number}: {min(scores)[1]}, not {vector['pick']}")
    # The last line has the format of cargo's tests, so that build.sh counts both.
    passed = len(vectors) if failed == 0 else 0
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed; 0 ignored")
    sys.exit(failed > 0)


main()
