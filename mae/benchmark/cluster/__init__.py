"""What a training run would need on many GPUs, estimated from its config; no GPU is needed.

`workload` counts what a step asks of a device, `machines` says what devices and networks give,
`layouts` puts the two together, and `plan` chooses. No figure of a GPU here has been measured.
"""
