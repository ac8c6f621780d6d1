import pytest

from mae.utils import errors


@pytest.mark.parametrize('name', ['ConfigError', 'DataError', 'CheckpointError'])
def test_they_are_value_errors(name):
    """So that a notebook may catch what is the user's to mend with one name."""
    assert issubclass(getattr(errors, name), ValueError)
