"""What images there are: one source a file, and how folders and tables are indexed."""
