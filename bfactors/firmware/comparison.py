"""Whether a charger lists one root in two stores. Knows neither store by name."""

from collections.abc import Iterable, Sequence

from bfactors.certificate_hash import HashData, Reading


def in_both(
    ours: Sequence[HashData], theirs: Sequence[HashData], known: Iterable[Sequence[HashData]] = ()
) -> tuple[HashData, ...]:
    """Those of `ours` that `theirs` holds too, each once.

    A charger may name a root by one hash algorithm here and by another there, which nobody can compare: `known` are roots
    with all their names, through which such a pair is found.
    """
    there = _readings(theirs)
    for names in known:
        synonyms = _readings(names)
        if synonyms & there:
            there |= synonyms
    found = (name for name in ours if there.intersection(name.readings()))
    return tuple(dict.fromkeys(found))


def _readings(names: Iterable[HashData]) -> set[Reading]:
    return {reading for name in names for reading in name.readings()}
