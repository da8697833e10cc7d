"""Who asks in the claim about a migration, and when: a sample of many users, the shape of a day."""

import hashlib
import random
from bisect import bisect_right
from itertools import accumulate

TENANT = "default"
"""Of the harness's key."""
PARTS = 10_000
"""Users are told apart to a hundredth of a percent."""
PEAK_PER_S = 120.0
"""In the busiest hour."""
HOURS = (
    12, 8, 5, 4, 4, 6, 12, 25, 50, 80, 95, 100,
    85, 75, 88, 96, 98, 90, 72, 60, 52, 42, 30, 18,
)  # fmt: skip
"""What is asked in each hour of a day, of the busiest one in percent."""


def part_of(user: str) -> int:
    """In which part a user is: a canary of `p` percent has the first `100 * p`. Reckoned anew."""
    name = f"{TENANT}\0user\0{user}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "big") % PARTS


def sample(population: int, count: int, rng: random.Random) -> list[str]:
    """A systematic sample of so many users: every n-th of all, by the part in which they are.

    Its shares are those of the whole population to within one user, so that few requests show
    what all users would get.
    """
    salt = rng.getrandbits(32)
    everyone = sorted((f"{salt:08x}-{number}" for number in range(population)), key=part_of)
    users = [everyone[int((number + 0.5) * population / count)] for number in range(count)]
    rng.shuffle(users)
    return users


def day(requests: int) -> list[float]:
    """When each request of a day is asked, in seconds; the day is as long as its peak allows."""
    hour_s = requests * max(HOURS) / (sum(HOURS) * PEAK_PER_S)
    edges = [*accumulate(HOURS, initial=0)]
    times_s = []
    for number in range(requests):
        at = (number + 0.5) * edges[-1] / requests
        hour = bisect_right(edges, at) - 1
        times_s.append((hour + (at - edges[hour]) / HOURS[hour]) * hour_s)
    return times_s
