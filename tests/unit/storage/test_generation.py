"""Generations are never the same, and tell where their files lie."""

from aisle.storage.generation import FILES_PER_FOLDER, Generations, payload_folder, payload_path


def test_generations_differ() -> None:
    engines = [Generations(bytes([0, 0, 0, number])) for number in (1, 1, 2)]
    made = [make() for engine in engines for make in [engine.for_inline, engine.for_file] * 50]
    assert len(set(made)) == len(made)
    assert {len(generation) for generation in made} == {16}


def test_folders_fill_one_after_the_other() -> None:
    engine = Generations(b"\x00\x00\x00\x07")
    folders = [payload_folder(engine.for_file()) for _ in range(3 * FILES_PER_FOLDER)]
    assert len(set(folders)) == 3
    assert len(set(folders[:FILES_PER_FOLDER])) == 1


def test_a_path_tells_the_generation() -> None:
    generation = Generations(b"\x00\x00\x00\x07").for_file()
    path = payload_path(generation)
    assert path.split("/")[0] == "data"
    assert path.split("/")[-1] == generation.hex()


def test_short_lived_processes_do_not_share_one_folder() -> None:
    folders = {payload_folder(Generations(number.to_bytes(4, "big")).for_file()) for number in range(1, 1001)}
    assert len(folders) > 900
