"""From datasets to a dataset: what runs and theory say in numbers; nothing here draws or words an answer."""
