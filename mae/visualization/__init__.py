"""Pictures, curves and reports, made of tensors, logs and numbers; knows no model."""
