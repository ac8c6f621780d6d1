"""Pictures, curves and reports, made of tensors, logs and numbers, not of models."""
