"""What `docs/look.py` says of a site without a browser: its links, and where there is no site."""

import look
import pytest


@pytest.fixture(autouse=True)
def _site(tmp_path, monkeypatch):
    monkeypatch.setattr(look, 'SITE', tmp_path)


def test_links_that_lead_nowhere_are_named(tmp_path):
    good = '<a href="b.html#here">1</a> <a href="https://a.b/c">2</a> <a href="#top" id="top">3</a>'
    bad = '<a href="c.html">4</a> <a href="b.html#there">5</a> <img src="no.png">'
    (tmp_path / 'a.html').write_text(good)
    (tmp_path / 'b.html').write_text(f'<h1 id="here">b</h1>{bad}')
    assert [*look.broken_links([tmp_path / 'a.html'])] == []
    assert [*look.broken_links([tmp_path / 'b.html'])] == [
        'b.html: c.html leads nowhere',
        'b.html: b.html#there has no such place',
        'b.html: no.png leads nowhere',
    ]


def test_a_site_that_is_not_built_is_one_line():
    with pytest.raises(SystemExit, match=r'error: no such page in .*; the site is built by: make'):
        look.main([])


def test_a_browser_that_is_missing_is_one_line(tmp_path):
    (tmp_path / 'a.html').write_text('')
    out = ['--out', str(tmp_path / 'look')]
    with pytest.raises(SystemExit, match=r'error: no-such-browser: the browser has ended'):
        look.main(['--browser', 'no-such-browser', *out])


def test_a_page_that_redirects_is_not_looked_at(tmp_path):
    (tmp_path / 'index.html').write_text('<meta http-equiv="refresh" content="0; url=a.html">')
    with pytest.raises(SystemExit, match=r'error: no such page in'):
        look.main(['index.html'])
