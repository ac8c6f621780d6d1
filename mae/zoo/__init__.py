"""Published weights: the index, downloads, and the formats of other libraries."""
