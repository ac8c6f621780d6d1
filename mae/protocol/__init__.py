"""Many runs of the tools as one plan: in parallel, resumed if killed, with one table."""

PROTOCOLS = ('knn', 'linear', 'partial', 'finetune', 'scratch', 'few-shot')
