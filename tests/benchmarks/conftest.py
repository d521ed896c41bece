"""Benchmarks of a test's own, and their pictures."""

import pytest

from benchmarks import benchmark as registry


@pytest.fixture
def known(monkeypatch):
    """Registers benchmarks for this test alone."""
    monkeypatch.setattr(registry, "_known", dict(registry.catalogue()))
    monkeypatch.setattr(registry, "_defaults", dict(registry._defaults))

    def register(*benchmarks, **options):
        registry.register(*benchmarks, **options)
        registry.catalogue.cache_clear()

    yield register
    registry.catalogue.cache_clear()


@pytest.fixture
def tiny(known):
    """The benchmark `tiny`, known by its name."""
    from tiny_benchmarks import TINY

    known(TINY)
    return TINY


@pytest.fixture
def folder(tmp_path):
    """All pictures of `tiny`."""
    from tiny_benchmarks import fill

    return fill(tmp_path / "pictures")


@pytest.fixture(scope="session")
def flow():
    """The generator of the package."""
    from rewardkit.generators.pipelines import load

    return load("shapes-flow", device="cpu")


@pytest.fixture
def killed(monkeypatch):
    """`killed(module, name, n)`: the n-th call of what a module names ends the process.

    `after` lets that call do its work first.
    """

    class Killed(BaseException):
        pass

    def arm(module, name, n, after=False):
        calls, whole = [], getattr(module, name)

        def call(*args, **options):
            calls.append(1)
            if len(calls) == n and not after:
                raise Killed
            done = whole(*args, **options)
            if len(calls) == n:
                raise Killed
            return done

        monkeypatch.setattr(module, name, call)
        return Killed

    return arm
