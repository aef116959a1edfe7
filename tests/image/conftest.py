"""The image, built once."""

from collections.abc import Iterator

import pytest

from tests.image.container import Image, Store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Images of these tests, and what they are made from."""
    made = Store(tmp_path_factory.mktemp("images"))
    try:
        made.stand_in()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="session")
def image(store: Store) -> Image:
    """The image as the Dockerfile has it by default: torch with CUDA."""
    return store.build("seqcls-beam")
