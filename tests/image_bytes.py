"""Images as the bytes of a file."""

import io


def encode(image, kind='JPEG', **kwargs):
    """In Pillow's format `kind`, with its options of saving."""
    stream = io.BytesIO()
    image.save(stream, kind, **kwargs)
    return stream.getvalue()
