"""Pictures of a model, its results, its data and its schedule: `mae picture KIND`."""
