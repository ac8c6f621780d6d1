def pytest_addoption(parser):
    parser.addoption(
        '--update-golden',
        action='store_true',
        help='write the golden files anew: say in the commit what changed the numbers',
    )
