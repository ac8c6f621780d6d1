"""Many runs of the tools as one: side by side, continued where they were cut, in one table."""

PROTOCOLS = ('knn', 'linear', 'partial', 'finetune', 'scratch', 'few-shot')
