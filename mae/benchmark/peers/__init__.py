"""One file a peer; each offers `step`, `finetune`, ... : its variants, by the switch they set."""
