"""A run as its logs show it: progress while it trains, its page, and the page of several."""
