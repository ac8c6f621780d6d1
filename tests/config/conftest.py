import pytest


@pytest.fixture
def write(tmp_path):
    """Writes a config file below the test's folder; returns its path."""

    def write_config(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write_config
