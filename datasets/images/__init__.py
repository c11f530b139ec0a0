"""Images: rendered from known factors, and loaders of the published disentanglement data."""
